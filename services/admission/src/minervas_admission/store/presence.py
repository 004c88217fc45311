"""The newest presence of every member's processes in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from psycopg.rows import class_row

from minervas_admission.store.database import Connection


@dataclass(frozen=True, slots=True)
class HeardPresence:
    """What was heard of one process."""

    principal: str
    state: str
    """online or offline."""
    heard_ms: int
    sent_at_ms: int
    version: str
    certificate_expires_ms: int | None
    tip_height: int | None
    tip_hash: str | None
    disk_use_per_mille: int | None
    spool_use_per_mille: int | None
    spool_readings: int | None
    clock_synchronised: bool | None
    clock_offset_ms: int | None


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """The newest presence of a process; what it does not tell any more, or never told, is as it last told, or None."""

    principal: str
    member: str
    state: str
    """online or offline."""
    since_ms: int
    """When we noticed that it went online or offline."""
    seen_ms: int
    """When we last heard of it."""
    sent_at_ms: int
    """By its own clock."""
    version: str
    certificate_expires_ms: int | None
    """Of the certificate that it uses, as it says."""
    tip_height: int | None
    tip_hash: str | None
    disk_use_per_mille: int | None
    spool_use_per_mille: int | None
    spool_readings: int | None
    clock_synchronised: bool | None
    clock_offset_ms: int | None
    """Its clock less ours, when a message of it arrived."""


_HEARD = tuple(field.name for field in fields(HeardPresence))
_TEXTS = ("principal", "state", "version", "tip_hash")
_TYPES = {**dict.fromkeys(_TEXTS, "text"), "clock_synchronised": "boolean"}
_ARRAYS = ", ".join(f"%({name})s::{_TYPES.get(name, 'bigint')}[]" for name in _HEARD)
_SAVE = f"""
    INSERT INTO presence AS known (principal, member, state, since_ms, seen_ms, sent_at_ms, version,
        certificate_expires_ms, tip_height, tip_hash, disk_use_per_mille, spool_use_per_mille, spool_readings,
        clock_synchronised, clock_offset_ms)
    SELECT h.principal, m.member, h.state, h.heard_ms, h.heard_ms, h.sent_at_ms, h.version, h.certificate_expires_ms,
        h.tip_height, h.tip_hash, h.disk_use_per_mille, h.spool_use_per_mille, h.spool_readings,
        h.clock_synchronised, h.clock_offset_ms
    FROM unnest({_ARRAYS}) AS h ({", ".join(_HEARD)})
    JOIN members m ON m.member = split_part(h.principal, '.', 1) AND m.ended_ms IS NULL
    WHERE EXISTS (SELECT 1 FROM certificates c WHERE c.principal = h.principal AND c.purpose = 'client')
    ON CONFLICT (principal) DO UPDATE SET
        state = excluded.state,
        since_ms = CASE WHEN known.state = excluded.state THEN known.since_ms ELSE excluded.since_ms END,
        seen_ms = CASE WHEN known.state = excluded.state AND known.sent_at_ms = excluded.sent_at_ms
                       THEN known.seen_ms ELSE excluded.seen_ms END,
        sent_at_ms = excluded.sent_at_ms,
        version = excluded.version,
        certificate_expires_ms = coalesce(excluded.certificate_expires_ms, known.certificate_expires_ms),
        tip_height = coalesce(excluded.tip_height, known.tip_height),
        tip_hash = coalesce(excluded.tip_hash, known.tip_hash),
        disk_use_per_mille = coalesce(excluded.disk_use_per_mille, known.disk_use_per_mille),
        spool_use_per_mille = coalesce(excluded.spool_use_per_mille, known.spool_use_per_mille),
        spool_readings = coalesce(excluded.spool_readings, known.spool_readings),
        clock_synchronised = coalesce(excluded.clock_synchronised, known.clock_synchronised),
        clock_offset_ms = coalesce(excluded.clock_offset_ms, known.clock_offset_ms)
    RETURNING principal
"""  # noqa: S608 - names of our own fields


async def save_presences(connection: Connection, heard: Sequence[HeardPresence]) -> set[str]:
    """Keep what was heard of these processes, each once; returns those that a living member has a certificate for.

    Others are left out, so there are never more rows than processes. The same message again, as the broker keeps it,
    does not count as heard of again.
    """
    columns = {name: [getattr(item, name) for item in heard] for name in _HEARD}
    cursor = await connection.execute(_SAVE, columns)
    return {str(name) for (name,) in await cursor.fetchall()}


async def presences(connection: Connection, *, member: str | None = None) -> list[PresenceRow]:
    """The newest presence of every process, or of one member's, by name."""
    async with connection.cursor(row_factory=class_row(PresenceRow)) as cursor:
        await cursor.execute(
            "SELECT * FROM presence WHERE %(member)s::text IS NULL OR member = %(member)s ORDER BY principal",
            {"member": member},
        )
        return await cursor.fetchall()


async def end_presence(connection: Connection, member: str, now_ms: int) -> None:
    """A member is out of the broker, which does not publish its wills then."""
    await connection.execute(
        "UPDATE presence SET state = 'offline', since_ms = %s WHERE member = %s AND state = 'online'", (now_ms, member)
    )


async def delete_presence(connection: Connection, member: str) -> None:
    """Forget when a member's processes were there."""
    await connection.execute("DELETE FROM presence WHERE member = %s", (member,))
