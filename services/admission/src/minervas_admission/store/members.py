"""Members in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from minervas_admission.store.database import Connection
from minervas_admission.store.presence import end_presence
from minervas_core.errors import Code, LocalFault

ENDED = ("revoked", "left")
"""States of a membership that has ended for ever."""


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member and where it stands."""

    member: str
    application: str
    """Id of the application that its node was granted on: that of its admission, or of its newest replacement."""
    state: str
    """approving, active, revoked, or left."""
    approved_ms: int
    ended_ms: int | None
    end_reason: str
    suspended_ms: int | None
    """When its vote was taken away; None while it has it."""


@dataclass(frozen=True, slots=True)
class MemberOverview:
    """A member as the operator sees it."""

    member: str
    application: str
    name: str
    """Empty once its personal data was deleted."""
    forgotten_ms: int | None
    """When that was."""
    state: str
    approved_ms: int
    ended_ms: int | None
    end_reason: str
    suspended_ms: int | None
    certificate_expires_ms: int
    """Of the newest certificates of its processes, the earliest end; 0 if it has none."""
    action: str
    """Its newest membership transaction, or empty."""
    chain_state: str
    height: int
    depth: int
    meters: int
    """Meters that are registered, or about to be."""
    services: int
    """Processes that it has certificates for."""


async def insert_member(connection: Connection, member: str, application_id: str, approved_ms: int) -> None:
    """Enter a member whose approval is under way."""
    await connection.execute(
        "INSERT INTO members (member, application, state, approved_ms) VALUES (%s, %s, 'approving', %s)",
        (member, application_id, approved_ms),
    )


async def lock_member(connection: Connection, member: str) -> MemberRow | None:
    """A member, kept from being changed by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(MemberRow)) as cursor:
        await cursor.execute("SELECT * FROM members WHERE member = %s FOR UPDATE", (member,))
        return await cursor.fetchone()


async def find_member(connection: Connection, member: str) -> MemberRow | None:
    """A member."""
    async with connection.cursor(row_factory=class_row(MemberRow)) as cursor:
        await cursor.execute("SELECT * FROM members WHERE member = %s", (member,))
        return await cursor.fetchone()


async def activate_member(connection: Connection, member: str) -> None:
    """The member has everything it needs."""
    await connection.execute("UPDATE members SET state = 'active' WHERE member = %s AND state = 'approving'", (member,))


async def end_membership(
    connection: Connection, member: str, state: Literal["revoked", "left"], reason: str, ended_ms: int
) -> None:
    """End a membership with all its certificates; its processes are out of the broker from now on."""
    await connection.execute(
        "UPDATE members SET state = %s, ended_ms = %s, end_reason = %s WHERE member = %s",
        (state, ended_ms, reason, member),
    )
    await connection.execute(
        "UPDATE certificates SET revoked_ms = %s WHERE member = %s AND revoked_ms IS NULL", (ended_ms, member)
    )
    await end_presence(connection, member, ended_ms)


async def set_application(connection: Connection, member: str, application_id: str) -> str:
    """Record the application on which a member's node works now; returns the one before."""
    row = await lock_member(connection, member)
    if row is None:
        raise LocalFault(Code.INTERNAL, "There is no such member", member=member)
    await connection.execute("UPDATE members SET application = %s WHERE member = %s", (application_id, member))
    return row.application


async def set_suspended(connection: Connection, member: str, suspended_ms: int | None) -> None:
    """Record that a member's vote is taken away, or given back (None)."""
    await connection.execute("UPDATE members SET suspended_ms = %s WHERE member = %s", (suspended_ms, member))


async def clear_end_reason(connection: Connection, member: str) -> None:
    """Delete what the operator wrote about the end of a membership."""
    await connection.execute("UPDATE members SET end_reason = '' WHERE member = %s", (member,))


async def member_overviews(connection: Connection, *, member: str | None = None) -> list[MemberOverview]:
    """All members that ever were, or one, by name."""
    async with connection.cursor(row_factory=class_row(MemberOverview)) as cursor:
        await cursor.execute(
            """
            SELECT m.member, m.application, a.name, a.forgotten_ms, m.state, m.approved_ms, m.ended_ms,
                   m.end_reason, m.suspended_ms,
                   coalesce((SELECT min(newest.not_after_ms) FROM (
                                 SELECT max(c.not_after_ms) AS not_after_ms FROM certificates c
                                 WHERE c.member = m.member AND c.revoked_ms IS NULL GROUP BY c.principal
                             ) newest), 0) AS certificate_expires_ms,
                   coalesce(t.action, '') AS action, coalesce(t.state, '') AS chain_state,
                   coalesce(t.height, 0) AS height, coalesce(t.depth, 0) AS depth,
                   (SELECT count(*) FROM membership_transactions r WHERE r.member = m.member
                    AND r.action = 'register_meter' AND r.state IN ('open', 'settled')) AS meters,
                   (SELECT count(DISTINCT c.principal) FROM certificates c
                    WHERE c.member = m.member AND c.revoked_ms IS NULL) AS services
            FROM members m JOIN applications a ON a.id = m.application
            LEFT JOIN LATERAL (
                SELECT * FROM membership_transactions x WHERE x.member = m.member ORDER BY x.number DESC LIMIT 1
            ) t ON true
            WHERE %(member)s::text IS NULL OR m.member = %(member)s
            ORDER BY m.member
            """,
            {"member": member},
        )
        return await cursor.fetchall()
