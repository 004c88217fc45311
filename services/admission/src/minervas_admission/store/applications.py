"""Applications for membership in the database."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from minervas_admission.store.database import Connection
from minervas_core.errors import Code, InvalidEnrolment

JOIN = "join"
"""Kind of an application for a new membership."""
REPLACE = "replace"
"""Kind of an application for new keys of a member whose node was lost."""
ROTATE = "rotate"
"""Kind of a member's request to replace keys that it has."""


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
    kind: str = JOIN
    """join, replace, or rotate."""


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
        await _claim(connection, row, claim)


async def _claim(connection: Connection, row: ApplicationRow, claim: KeyClaim) -> None:
    cursor = await connection.execute(
        """
        INSERT INTO claimed_keys (key_id, member, purpose, application) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (claim.key_id, row.member, claim.purpose, row.id),
    )
    if cursor.rowcount == 0:
        raise InvalidEnrolment(
            Code.KEY_REUSED,
            "A key of this application is or was in use; every service of every member makes its own",
            key=claim.purpose,
        )


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


async def find_pending_of_member(connection: Connection, member: str) -> ApplicationRow | None:
    """The application for a member id that waits for a decision."""
    async with connection.cursor(row_factory=class_row(ApplicationRow)) as cursor:
        await cursor.execute("SELECT * FROM applications WHERE member = %s AND state = 'pending'", (member,))
        return await cursor.fetchone()


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
