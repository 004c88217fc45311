"""Applications for membership in the database."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from minervas_admission.store.database import Connection
from minervas_core.errors import Code, InvalidEnrolment, TransientFault

MAX_PENDING = 1_000
"""Applications that may wait for a decision at once: strangers can not fill the disk.

What members sign has as much room again, so that strangers can not keep them from new keys either.
"""

KIND_JOIN = "join"
KIND_ADDITION = "add"

ROTATED_GATEWAY_KEY = "new gateway key"
"""Purpose under which `rotations` claims a gateway's new key."""

FORGOTTEN = "its data was deleted"
"""What whoever still asks for the state of a forgotten application is told."""

REPLACE = "replace"
"""Kind of an application for new keys of a member whose node was lost."""
ROTATE = "rotate"
"""Kind of a member's request to replace keys that it has."""

SIGNED_KINDS = (KIND_ADDITION, ROTATE)
"""Kinds that a member's wallet signs: whatever becomes of them, nobody else can have sent them."""


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """An application and where it stands."""

    id: str
    member: str
    name: str
    contact: str
    content: bytes
    fingerprint: str
    token_hash: str
    remote_address: str
    received_ms: int
    state: str
    """pending, approving, approved, rejected, revoked, or left."""
    reason: str
    decided_ms: int | None
    kind: str = KIND_JOIN
    """join or replace: an `Application`; add: an `Addition` of a member; rotate: a `SignedRotation` of a member."""
    forgotten_ms: int | None = None
    """When its personal data was deleted: name, contact, address and content are empty then."""

    @property
    def approval(self) -> str:
        """Kind of the decision that approves it."""
        return "approve" if self.kind == KIND_JOIN else self.kind


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A public key that a member brings."""

    key_id: str
    purpose: str


async def insert_application(connection: Connection, row: ApplicationRow, claims: list[KeyClaim]) -> None:
    """Store a new application with its claims on name and keys.

    Raises:
        InvalidEnrolment: ``member_exists`` if the name is or ever was taken, or a replacement waits already;
            ``key_reused`` for a key in use.
    """
    try:
        await _insert(connection, row)
    except psycopg.errors.UniqueViolation as error:
        if row.kind in (REPLACE, ROTATE):
            raise InvalidEnrolment(
                Code.MEMBER_EXISTS,
                "New keys of this member wait for a decision already; call the operator",
                member=row.member,
            ) from error
        raise InvalidEnrolment(
            Code.MEMBER_EXISTS,
            "This member id is taken, waits for a decision, or was used before; member ids are never used again",
            member=row.member,
        ) from error
    for claim in claims:
        if not await _claim(connection, row, claim):
            raise _reused(claim)


async def insert_addition(connection: Connection, row: ApplicationRow, claims: list[KeyClaim]) -> None:
    """Store an addition with its claims on keys; a gateway that the member has keeps its keys.

    Raises:
        TransientFault: ``not_ready`` if an addition of this member waits already.
        InvalidEnrolment: ``key_reused`` for a key that is or was in use for anything else.
    """
    try:
        await _insert(connection, row)
    except psycopg.errors.UniqueViolation as error:
        raise TransientFault(
            Code.NOT_READY, "Another addition of this member waits for a decision", member=row.member
        ) from error
    for claim in claims:
        if not await _claim(connection, row, claim) and not await _is_own(connection, row.member, claim):
            raise _reused(claim)


async def _insert(connection: Connection, row: ApplicationRow) -> None:
    async with connection.transaction():
        await connection.execute(
            """
            INSERT INTO applications (id, member, name, contact, content, fingerprint, token_hash, remote_address,
                                      received_ms, state, kind)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', %s)
            """,
            (
                row.id,
                row.member,
                row.name,
                row.contact,
                row.content,
                row.fingerprint,
                row.token_hash,
                row.remote_address,
                row.received_ms,
                row.kind,
            ),
        )


async def insert_adopted(connection: Connection, application_id: str, member: str, reason: str, now_ms: int) -> None:
    """Enter the application of a member of whom only the chain is known, without any personal data."""
    await connection.execute(
        """
        INSERT INTO applications (id, member, name, contact, content, fingerprint, token_hash, remote_address,
                                  received_ms, state, reason, decided_ms, kind, forgotten_ms)
        VALUES (%(id)s, %(member)s, '', '', '', '', '', '', %(now_ms)s, 'approved', %(reason)s, %(now_ms)s, %(kind)s,
                %(now_ms)s)
        """,
        {"id": application_id, "member": member, "reason": reason, "now_ms": now_ms, "kind": KIND_JOIN},
    )


async def is_member_id_free(connection: Connection, member: str) -> bool:
    """Whether nobody has, had, or waits for a member id."""
    cursor = await connection.execute(
        "SELECT 1 FROM applications WHERE member = %s AND kind = %s AND state <> 'rejected'", (member, KIND_JOIN)
    )
    return await cursor.fetchone() is None


def _reused(claim: KeyClaim) -> InvalidEnrolment:
    return InvalidEnrolment(
        Code.KEY_REUSED,
        "A key of this application is or was in use; every service of every member makes its own",
        key=claim.purpose,
    )


async def _is_own(connection: Connection, member: str, claim: KeyClaim) -> bool:
    """Whether this member has claimed the key for this very purpose; a gateway's may have come with a rotation."""
    purposes = [claim.purpose, *([ROTATED_GATEWAY_KEY] if claim.purpose.startswith("gateway key ") else [])]
    cursor = await connection.execute(
        "SELECT 1 FROM claimed_keys WHERE key_id = %s AND member = %s AND purpose = ANY(%s)",
        (claim.key_id, member, purposes),
    )
    return await cursor.fetchone() is not None


async def _claim(connection: Connection, row: ApplicationRow, claim: KeyClaim) -> bool:
    """Claim a key; returns whether it was free."""
    cursor = await connection.execute(
        """
        INSERT INTO claimed_keys (key_id, member, purpose, application) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (claim.key_id, row.member, claim.purpose, row.id),
    )
    return cursor.rowcount == 1


async def claim_consortium_keys(connection: Connection, claims: list[KeyClaim], *, member: str) -> None:
    """Keep the consortium's own keys from being used by a member."""
    for claim in claims:
        await connection.execute(
            "INSERT INTO claimed_keys (key_id, member, purpose) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (claim.key_id, member, claim.purpose),
        )


async def find_application(connection: Connection, application_id: str) -> ApplicationRow | None:
    """An application by its id."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute("SELECT * FROM applications WHERE id = %s", (application_id,))
        return await cursor.fetchone()


async def lock_application(connection: Connection, application_id: str) -> ApplicationRow | None:
    """An application by its id, kept from being decided by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute("SELECT * FROM applications WHERE id = %s FOR UPDATE", (application_id,))
        return await cursor.fetchone()


async def pending_of_member(connection: Connection, member: str) -> list[ApplicationRow]:
    """What waits for a decision under a member id, oldest first: a member may have asked for several things."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute(
            "SELECT * FROM applications WHERE member = %s AND state = 'pending' ORDER BY received_ms, id", (member,)
        )
        return await cursor.fetchall()


async def pending_applications(connection: Connection) -> list[ApplicationRow]:
    """Applications that wait for a decision, oldest first."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute("SELECT * FROM applications WHERE state = 'pending' ORDER BY received_ms, id")
        return await cursor.fetchall()


async def count_pending(connection: Connection) -> int:
    """How many applications wait for a decision."""
    cursor = await connection.execute("SELECT count(*) FROM applications WHERE state = 'pending'")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def check_room(connection: Connection, *, signed: bool) -> None:
    """Check that one more may wait: of what members signed, or of what anybody may send.

    Raises:
        TransientFault: ``rate_limited``.
    """
    cursor = await connection.execute(
        "SELECT count(*) FROM applications WHERE state = 'pending' AND (kind = ANY(%s)) = %s",
        (list(SIGNED_KINDS), signed),
    )
    row = await cursor.fetchone()
    if row and row[0] >= MAX_PENDING:
        raise TransientFault(Code.RATE_LIMITED, "Too many applications wait for a decision", limit=MAX_PENDING)


async def count_under_way(connection: Connection) -> int:
    """How many applications wait for a decision or are being approved."""
    cursor = await connection.execute("SELECT count(*) FROM applications WHERE state IN ('pending', 'approving')")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def set_application_state(
    connection: Connection, application_id: str, state: str, *, reason: str = "", decided_ms: int | None = None
) -> None:
    """Move an application on. A rejection frees its name and its keys."""
    await connection.execute(
        "UPDATE applications SET state = %s, reason = %s, decided_ms = coalesce(%s, decided_ms) WHERE id = %s",
        (state, reason, decided_ms, application_id),
    )
    if state == "rejected":
        await connection.execute("DELETE FROM claimed_keys WHERE application = %s", (application_id,))


async def end_waiting_applications(
    connection: Connection, member: str, state: str, *, reason: str, now_ms: int
) -> None:
    """End everything of a member that waits for a decision or is being carried out: its membership has ended.

    Its keys stay claimed, as all that a member ever had or asked for.
    """
    await connection.execute(
        """
        UPDATE applications SET state = %s, reason = %s, decided_ms = coalesce(decided_ms, %s)
        WHERE member = %s AND state IN ('pending', 'approving')
        """,
        (state, reason, now_ms, member),
    )


async def applications_of(connection: Connection, member: str) -> list[ApplicationRow]:
    """All applications for a member id, oldest first; those that were rejected may come from different people."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute("SELECT * FROM applications WHERE member = %s ORDER BY received_ms, id", (member,))
        return await cursor.fetchall()


async def keys_of_application(connection: Connection, application_id: str) -> list[KeyClaim]:
    """The public keys that an application has claimed."""
    async with connection.cursor(row_factory=class_row(KeyClaim)) as cursor:
        await cursor.execute(
            "SELECT key_id, purpose FROM claimed_keys WHERE application = %s ORDER BY purpose, key_id",
            (application_id,),
        )
        return await cursor.fetchall()


async def rejected_applications(connection: Connection, before_ms: int, limit: int) -> list[ApplicationRow]:
    """Applications that were rejected before a time and still have personal data, oldest first."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute(
            """
            SELECT * FROM applications WHERE state = 'rejected' AND forgotten_ms IS NULL AND decided_ms < %s
            ORDER BY decided_ms LIMIT %s FOR UPDATE
            """,
            (before_ms, limit),
        )
        return await cursor.fetchall()


async def forget_application(connection: Connection, application_id: str, now_ms: int) -> None:
    """Delete an application's personal data; its id stays, so that the same bytes again are no new application."""
    await connection.execute(
        """
        UPDATE applications SET name = '', contact = '', remote_address = '', content = '', reason = %s,
            forgotten_ms = %s
        WHERE id = %s
        """,
        (FORGOTTEN, now_ms, application_id),
    )
