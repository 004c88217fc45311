"""Access to Grafana in the database."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from minervas_admission.store.database import Connection
from minervas_core.identifiers import RESERVED_MEMBER

OPERATOR_ORG = "operator"


@dataclass(frozen=True, slots=True)
class AccessRow:
    """Somebody's access, as far as it was given."""

    member: str
    """`consortium` for the operator's organisation."""
    org_name: str
    org_id: int | None
    user_id: int | None
    reader_role: str
    source_hash: str
    dashboards: list[str]
    dashboards_hash: str
    language: str
    """ko, en, or empty for the consortium's."""
    state: str
    """opening, open, closing, or closed."""
    opened_ms: int | None
    checked_ms: int | None
    password_ms: int | None
    reader_closed_ms: int | None
    closed_ms: int | None
    sessions_ended: int
    problem: str


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A one-time link."""

    token_hash: str
    member: str
    made_ms: int
    expires_ms: int
    used_ms: int | None


async def ensure_access(connection: Connection, member: str) -> AccessRow:
    """The row of a member; a new one has a random name for its organisation."""
    name = OPERATOR_ORG if member == RESERVED_MEMBER else f"member-{secrets.token_hex(8)}"
    await connection.execute(
        "INSERT INTO grafana_access (member, org_name) VALUES (%s, %s) ON CONFLICT (member) DO NOTHING", (member, name)
    )
    row = await find_access(connection, member)
    assert row is not None  # noqa: S101 - rows are never deleted
    return row


async def find_access(connection: Connection, member: str) -> AccessRow | None:
    """The row of a member."""
    async with connection.cursor(row_factory=class_row(AccessRow)) as cursor:
        await cursor.execute("SELECT * FROM grafana_access WHERE member = %s", (member,))
        return await cursor.fetchone()


async def all_access(connection: Connection) -> list[AccessRow]:
    """All rows, by member."""
    async with connection.cursor(row_factory=class_row(AccessRow)) as cursor:
        await cursor.execute("SELECT * FROM grafana_access ORDER BY member")
        return await cursor.fetchall()


async def set_access(connection: Connection, member: str, **values: int | str | list[str] | None) -> None:
    """Change some columns of a row."""
    columns = sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in values)
    statement = sql.SQL("UPDATE grafana_access SET {} WHERE member = {}").format(columns, sql.Placeholder("whose"))
    await connection.execute(statement, {**values, "whose": member})


async def replace_link(connection: Connection, row: LinkRow) -> None:
    """Store a new link; one of the same member that was not used is no more."""
    await connection.execute("DELETE FROM grafana_links WHERE member = %s", (row.member,))
    await connection.execute(
        "INSERT INTO grafana_links (token_hash, member, made_ms, expires_ms) VALUES (%s, %s, %s, %s)",
        (row.token_hash, row.member, row.made_ms, row.expires_ms),
    )


async def lock_link(connection: Connection, token_hash: str) -> LinkRow | None:
    """A link, kept from being used by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(LinkRow)) as cursor:
        await cursor.execute("SELECT * FROM grafana_links WHERE token_hash = %s FOR UPDATE", (token_hash,))
        return await cursor.fetchone()


async def link_of(connection: Connection, member: str) -> LinkRow | None:
    """The newest link of a member."""
    async with connection.cursor(row_factory=class_row(LinkRow)) as cursor:
        await cursor.execute("SELECT * FROM grafana_links WHERE member = %s", (member,))
        return await cursor.fetchone()


async def set_link_used(connection: Connection, token_hash: str, used_ms: int | None) -> None:
    """Record that a link was used, or that it was not after all (None)."""
    await connection.execute("UPDATE grafana_links SET used_ms = %s WHERE token_hash = %s", (used_ms, token_hash))


async def delete_links(connection: Connection, member: str) -> None:
    """A member's links lead nowhere any more."""
    await connection.execute("DELETE FROM grafana_links WHERE member = %s", (member,))


async def active_members(connection: Connection) -> list[str]:
    """Members that are to have access."""
    cursor = await connection.execute("SELECT member FROM members WHERE state = 'active' ORDER BY member")
    return [str(member) for (member,) in await cursor.fetchall()]


async def access_to_close(connection: Connection) -> list[str]:
    """Members whose membership has ended and whose access has not."""
    cursor = await connection.execute(
        """
        SELECT g.member FROM grafana_access g JOIN members m ON m.member = g.member
        WHERE m.ended_ms IS NOT NULL AND g.state <> 'closed' ORDER BY g.member
        """
    )
    return [str(member) for (member,) in await cursor.fetchall()]
