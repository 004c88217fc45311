"""Writing readings: binary COPY into a staging table, and from there what is new, in one transaction.

The writing connection has a thread of its own (see `readings_flush`), so readings and blocks do not wait for
each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.encoding import encode
from minervas_core.metering import Reading
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection, as_transient, connect

APPLICATION = "minervas-ledger readings"

DAY_MS = 86_400_000
MINUTE_MS = 60_000

KEY = "member, meter, channel, time_ms, spool, sequence"
CONTENT = "quality, power_mw, voltage_mv, current_ma, energy_mwh, fault, request, reply"

TYPES = (
    *("int4", "text", "text", "text", "int8", "bytea", "int8"),
    *("text", "int8", "int8", "int8", "int8", "text", "bytea", "bytea", "int8"),
)
"""Of the columns of the staging table."""

MAKE_STAGING = """
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS SELECT 0 AS place, readings.* FROM readings WITH NO DATA
"""
COPY_STAGING = f"COPY staging (place, {KEY}, {CONTENT}, stored_ms) FROM STDIN (FORMAT binary)"

INSERT_NEW = f"""
WITH fresh AS (
    INSERT INTO readings ({KEY}, {CONTENT}, stored_ms)
    SELECT {KEY}, {CONTENT}, stored_ms FROM staging ORDER BY place
    ON CONFLICT DO NOTHING RETURNING member, meter, channel, time_ms
)
SELECT member, meter, channel, time_ms - time_ms % {MINUTE_MS} AS minute_ms, count(*), max(time_ms)
FROM fresh GROUP BY member, meter, channel, minute_ms
"""  # noqa: S608 - names are constants
"""Of two of one key the first one stays, also within one staging."""

FIND_CONFLICTS = """
SELECT s.place FROM staging s
CROSS JOIN LATERAL (
    SELECT * FROM readings r
    WHERE r.member = s.member AND r.meter = s.meter AND r.channel = s.channel AND r.time_ms = s.time_ms
        AND r.spool = s.spool AND r.sequence = s.sequence AND r.time_ms BETWEEN %s AND %s
    LIMIT 1
) AS r
WHERE (s.quality, s.power_mw, s.voltage_mv, s.current_ma, s.energy_mwh, s.fault, s.request, s.reply)
    IS DISTINCT FROM (r.quality, r.power_mw, r.voltage_mv, r.current_ma, r.energy_mwh, r.fault, r.request, r.reply)
ORDER BY s.place
"""

INSERT_CONFLICT = f"""
INSERT INTO reading_conflicts ({KEY}, digest, reading, gateway, stored_ms)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""  # noqa: S608 - names are constants

ROLL_UP = f"""
INSERT INTO readings_minute (
    member, meter, channel, minute_ms, measured, missing, power_min_mw, power_max_mw, power_avg_mw,
    first_ms, first_mwh, last_ms, last_mwh
)
SELECT m.member, m.meter, m.channel, m.minute_ms, s.*
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS m (member, meter, channel, minute_ms)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE quality = 'measured'), count(*) FILTER (WHERE quality = 'missing'),
        min(power_mw), max(power_mw), round(avg(power_mw))::bigint,
        (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
        (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2],
        (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
        (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2]
    FROM readings r
    WHERE r.member = m.member AND r.meter = m.meter AND r.channel = m.channel
        AND r.time_ms >= m.minute_ms AND r.time_ms < m.minute_ms + {MINUTE_MS} AND r.time_ms BETWEEN %s AND %s
) AS s
ON CONFLICT (member, meter, channel, minute_ms) DO UPDATE SET
    measured = excluded.measured, missing = excluded.missing, power_min_mw = excluded.power_min_mw,
    power_max_mw = excluded.power_max_mw, power_avg_mw = excluded.power_avg_mw, first_ms = excluded.first_ms,
    first_mwh = excluded.first_mwh, last_ms = excluded.last_ms, last_mwh = excluded.last_mwh
"""  # noqa: S608 - a constant
"""A minute that got new rows is computed again from all of its rows: at most some sixty for each channel."""

COUNT = """
INSERT INTO reading_channels (member, meter, channel, stored, conflicts, newest_ms) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (member, meter, channel) DO UPDATE SET
    stored = reading_channels.stored + excluded.stored, conflicts = reading_channels.conflicts + excluded.conflicts,
    newest_ms = greatest(reading_channels.newest_ms, excluded.newest_ms)
"""

ChannelKey = tuple[str, str, str]
"""Member, meter and channel."""


@dataclass(frozen=True, slots=True)
class ReceivedReading:
    """A reading and where it came from."""

    member: str
    gateway: str
    """The key that signed it."""
    spool: str
    reading: Reading

    @property
    def channel(self) -> ChannelKey:
        """Member, meter and channel."""
        return self.member, self.reading.meter, self.reading.channel


@dataclass(frozen=True, slots=True)
class StoredReadings:
    """What became of some readings."""

    stored: int
    """New ones; the others were there."""
    conflicts: int
    """Those that differ from the stored one of their key, and were not known to do so."""


class ReadingsStore:
    """The writing connection; connects again after a loss, at the next call. Belongs to one thread."""

    def __init__(self, database: DatabaseSettings) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._days: set[int] = set()
        """Days since the epoch whose partitions exist."""

    def store(self, readings: Sequence[ReceivedReading], now_ms: int) -> StoredReadings:
        """Store what is new of some readings, in one transaction.

        Args:
            readings: in the order of arrival; at least one.
            now_ms: our clock.

        Raises:
            TransientFault: ``database_away``; whether they are stored is unknown then, so repeat it.
            psycopg.Error: the database refuses them; nothing is stored.
        """
        with as_transient(self._database):
            connection = self._open()
            self._make_days({received.reading.time_ms // DAY_MS for received in readings}, now_ms)
            with connection.transaction():
                return _store(connection, readings, now_ms)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        if self._connection is not None and (self._connection.closed or self._connection.broken):
            self._connection = None
        if self._connection is None:
            connection = connect(self._database, application=APPLICATION)
            connection.execute(MAKE_STAGING)
            self._connection, self._days = connection, set()
        return self._connection

    def _make_days(self, days: set[int], now_ms: int) -> None:
        """Make the partitions that are needed, and those of today and tomorrow ahead of time."""
        today = now_ms // DAY_MS
        for day in sorted((days | {today, today + 1}) - self._days):
            self._open().execute("SELECT make_readings_day(%s)", (day,))
            self._days.add(day)


def _store(connection: Connection, readings: Sequence[ReceivedReading], now_ms: int) -> StoredReadings:
    times = [received.reading.time_ms for received in readings]
    first_ms, last_ms = min(times) - MINUTE_MS, max(times) + MINUTE_MS
    """So that the database looks at the partitions of these days only."""
    _stage(connection, readings, now_ms)
    stored: Counter[ChannelKey] = Counter()
    newest: dict[ChannelKey, int] = {}
    minutes: list[tuple[str, str, str, int]] = []
    for member, meter, channel, minute_ms, count, newest_ms in connection.execute(INSERT_NEW, binary=True).fetchall():
        key = str(member), str(meter), str(channel)
        minutes.append((*key, as_int(minute_ms)))
        stored[key] += as_int(count)
        newest[key] = max(newest.get(key, 0), as_int(newest_ms))
    conflicts: Counter[ChannelKey] = Counter()
    if stored.total() < len(readings):
        conflicts = _keep_conflicts(connection, readings, now_ms, (first_ms, last_ms))
    if minutes:
        connection.execute(ROLL_UP, [*(list(column) for column in zip(*minutes, strict=True)), first_ms, last_ms])
    counts = [(*key, stored[key], conflicts[key], newest.get(key, 0)) for key in sorted(stored | conflicts)]
    if counts:
        with connection.cursor() as cursor:
            cursor.executemany(COUNT, counts)
    return StoredReadings(stored.total(), conflicts.total())


def _stage(connection: Connection, readings: Sequence[ReceivedReading], now_ms: int) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY_STAGING.encode()) as copy:
        copy.set_types(list(TYPES))
        for place, received in enumerate(readings):
            reading = received.reading
            copy.write_row(
                (
                    place,
                    *_key(received),
                    reading.quality,
                    _or_null(reading.power_mw),
                    _or_null(reading.voltage_mv),
                    _or_null(reading.current_ma),
                    _or_null(reading.energy_mwh),
                    _or_null(reading.fault),
                    bytes.fromhex(reading.request),
                    bytes.fromhex(reading.reply),
                    now_ms,
                )
            )


def _keep_conflicts(
    connection: Connection, readings: Sequence[ReceivedReading], now_ms: int, span_ms: tuple[int, int]
) -> Counter[ChannelKey]:
    """Keep readings that differ from the stored one of the same key; returns how many were new, by channel."""
    kept: Counter[ChannelKey] = Counter()
    for (place,) in connection.execute(FIND_CONFLICTS, span_ms, binary=True).fetchall():
        received = readings[as_int(place)]
        raw = encode(received.reading)
        values = (*_key(received), hashlib.sha256(raw).digest(), raw, bytes.fromhex(received.gateway), now_ms)
        kept[received.channel] += connection.execute(INSERT_CONFLICT, values).rowcount
    return +kept


def _key(received: ReceivedReading) -> tuple[object, ...]:
    reading = received.reading
    return (*received.channel, reading.time_ms, bytes.fromhex(received.spool), reading.sequence)


def _or_null(value: int | str | msgspec.UnsetType) -> int | str | None:
    return None if isinstance(value, msgspec.UnsetType) else value
