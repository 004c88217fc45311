"""Statements of our own gateways and the stored readings that they rest on."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.metering import Reading
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.readings_reads import READING_COLUMNS, reading_of

COLUMNS = (
    "s.id, s.member, s.meter, s.channel, s.start_ms, s.end_ms, s.measured, s.substituted, s.missing, s.readings_root"
)

UNCHECKED = f"""
SELECT {COLUMNS} FROM statements s LEFT JOIN statement_checks c ON c.statement = s.id
WHERE s.member = %s AND s.height <= %s AND c.statement IS NULL ORDER BY s.height, s.position LIMIT %s
"""  # noqa: S608 - names are constants
OF_MEMBER = f"""
SELECT {COLUMNS} FROM statements s WHERE s.member = %s AND s.start_ms >= %s ORDER BY s.height, s.position
"""  # noqa: S608 - names are constants
READINGS = f"""
SELECT r.spool, {READING_COLUMNS} FROM readings r
WHERE r.member = %s AND r.meter = %s AND r.channel = %s AND r.time_ms BETWEEN %s AND %s ORDER BY r.sequence, r.time_ms
"""  # noqa: S608 - names are constants
INSERT = """
INSERT INTO statement_checks (statement, result, readings, checked_ms) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class StatedSpan:
    """What a statement says of readings."""

    id: str
    channel: tuple[str, str, str]
    """Member, meter and channel."""
    start_ms: int
    end_ms: int
    counted: int
    """Readings after the start, up to the end."""
    readings_root: str


def unchecked_statements(connection: Connection, member: str, final_height: int, limit: int) -> list[StatedSpan]:
    """Final statements of a member that were not compared yet, oldest first."""
    rows = connection.execute(UNCHECKED, (member, final_height, limit), binary=True).fetchall()
    return [span_of(row) for row in rows]


def statements_of(connection: Connection, member: str, from_ms: int) -> list[StatedSpan]:
    """All statements of a member on the best chain that start at a time or later."""
    return [span_of(row) for row in connection.execute(OF_MEMBER, (member, from_ms), binary=True).fetchall()]


def stated_readings(connection: Connection, span: StatedSpan) -> list[tuple[str, Reading]]:
    """The stored readings from start to end, with their spools, by number."""
    rows = connection.execute(READINGS, (*span.channel, span.start_ms, span.end_ms), binary=True).fetchall()
    return [(as_bytes(spool).hex(), reading_of(columns)) for spool, *columns in rows]


def store_check(connection: Connection, span: StatedSpan, result: str, readings: int, now_ms: int) -> None:
    """Remember what a comparison found."""
    connection.execute(INSERT, (bytes.fromhex(span.id), result, readings, now_ms))


def span_of(row: tuple[object, ...]) -> StatedSpan:
    """`COLUMNS` as what a statement says."""
    statement, member, meter, channel, start_ms, end_ms, *counts, root = row
    return StatedSpan(
        id=as_bytes(statement).hex(),
        channel=(str(member), str(meter), str(channel)),
        start_ms=as_int(start_ms),
        end_ms=as_int(end_ms),
        counted=sum(map(as_int, counts)),
        readings_root=as_bytes(root).hex(),
    )
