"""Questions about stored readings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from minervas_core.metering import Fault, Quality, Reading
from minervas_core.node_market_messages import GetReadings, ReadingEntry, Readings
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection

READING_COLUMNS = """
    r.meter, r.channel, r.sequence, r.time_ms, r.quality, r.power_mw, r.voltage_mv, r.current_ma, r.energy_mwh,
    r.fault, r.request, r.reply
"""
"""What `reading_of` takes, of rows ``r``."""

NEWEST = f"""
SELECT r.spool, r.stored_ms, {READING_COLUMNS}
FROM reading_channels c
CROSS JOIN LATERAL (
    SELECT * FROM readings
    WHERE member = c.member AND meter = c.meter AND channel = c.channel
    ORDER BY time_ms DESC, spool DESC, sequence DESC LIMIT %(limit)s
) AS r
WHERE c.member = %(member)s AND (%(meter)s = '' OR c.meter = %(meter)s)
    AND (%(channel)s = '' OR c.channel = %(channel)s)
ORDER BY r.time_ms DESC, r.meter, r.channel, r.sequence DESC LIMIT %(limit)s
"""  # noqa: S608 - names are constants

COUNTS = """
SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(conflicts), 0)::bigint FROM reading_channels WHERE member = %s
"""


def newest_readings(connection: Connection, member: str, question: GetReadings) -> Readings:
    """The newest readings of a member's channels, and how many were ever stored of all of them."""
    wanted = {"member": member, "meter": question.meter, "channel": question.channel, "limit": question.limit}
    rows = connection.execute(NEWEST, wanted, binary=True).fetchall()
    counts = connection.execute(COUNTS, (member,), binary=True).fetchone() or (0, 0)
    return Readings(readings=[_entry(row) for row in rows], stored=as_int(counts[0]), conflicts=as_int(counts[1]))


def _entry(row: tuple[object, ...]) -> ReadingEntry:
    spool, stored_ms, *columns = row
    return ReadingEntry(spool=as_bytes(spool).hex(), reading=reading_of(columns), stored_ms=as_int(stored_ms))


def reading_of(columns: Sequence[object]) -> Reading:
    """A reading as its gateway encoded it, from `READING_COLUMNS`."""
    meter, channel, sequence, time_ms, quality, *values, fault, request, reply = columns
    power_mw, voltage_mv, current_ma, energy_mwh = map(_known, values)
    return Reading(
        meter=str(meter),
        channel=str(channel),
        sequence=as_int(sequence),
        time_ms=as_int(time_ms),
        quality=cast("Quality", quality),
        power_mw=power_mw,
        voltage_mv=voltage_mv,
        current_ma=current_ma,
        energy_mwh=energy_mwh,
        fault=msgspec.UNSET if fault is None else cast("Fault", fault),
        request=as_bytes(request).hex(),
        reply=as_bytes(reply).hex(),
    )


def _known(value: object) -> int | msgspec.UnsetType:
    return msgspec.UNSET if value is None else as_int(value)
