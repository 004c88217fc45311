"""Writing readings: binary COPY into a staging table, and from there what is new, in one transaction.

The writing connection has a thread of its own (see `readings_flush`), so readings and blocks do not wait for
each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import psycopg

from minervas_core.encoding import encode
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import readings_aside
from minervas_ledger.store.archive_rows import DAY_MS, archived_days
from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection, as_transient, connect
from minervas_ledger.store.reading_batches import SignedBatch, keep_batches
from minervas_ledger.store.reading_runs import Range, SpoolKey, add_runs, contains, known_runs, ranges_of
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_rollup import CONTENT, INSERT_NEW, KEY

APPLICATION = "minervas-ledger readings"

TYPES = (
    *("int4", "text", "text", "text", "int8", "bytea", "int8"),
    *("text", "int8", "int8", "int8", "int8", "text", "bytea", "bytea", "int8"),
)
"""Of the columns of the staging table."""

MAKE_STAGING = """
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS SELECT 0 AS place, readings.* FROM readings WITH NO DATA
"""
COPY_STAGING = f"COPY staging (place, {KEY}, {CONTENT}, stored_ms) FROM STDIN (FORMAT binary)"

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

COUNT = """
INSERT INTO reading_channels (member, meter, channel, stored, conflicts, newest_ms) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (member, meter, channel) DO UPDATE SET
    stored = reading_channels.stored + excluded.stored, conflicts = reading_channels.conflicts + excluded.conflicts,
    newest_ms = greatest(reading_channels.newest_ms, excluded.newest_ms)
"""

ChannelKey = tuple[str, str, str]
"""Member, meter and channel."""
SpoolNumber = tuple[str, str, int]
"""Member, spool and sequence number."""

MAX_DUE = 2_000
"""Readings that were put aside, and are stored in one transaction."""


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

    def store(
        self,
        readings: Sequence[ReceivedReading],
        now_ms: int,
        *,
        aside: Sequence[ReceivedReading] = (),
        batches: Sequence[SignedBatch] = (),
    ) -> StoredReadings:
        """Store what is new of some readings, in one transaction.

        Args:
            readings: in the order of arrival.
            now_ms: our clock.
            aside: readings with impossible times, kept elsewhere.
            batches: those that the readings came in, if others may ask for them.

        Raises:
            TransientFault: ``database_away``; whether they are stored is unknown then, so repeat it; ``rate_limited``
                if too many are put aside, and nothing is stored.
            psycopg.Error: the database refuses them; nothing is stored.
        """
        with as_transient(self._database):
            try:
                return self._store(readings, now_ms, aside, batches)
            except psycopg.errors.CheckViolation:
                if not self._days:
                    raise
                self._days = (
                    set()
                )  # a day that we knew went into an archive meanwhile: it is made again for what is late
                return self._store(readings, now_ms, aside, batches)

    def store_due(self, from_ms: int, now_ms: int, to_ms: int) -> int:
        """Store readings that were put aside and whose times are possible by now; returns how many were looked at.

        Args:
            from_ms: earliest possible time.
            now_ms: our clock.
            to_ms: latest possible time.

        Raises:
            TransientFault: ``database_away``.
        """
        with as_transient(self._database):
            connection = self._open()
            readings = readings_aside.due(connection, from_ms, to_ms, MAX_DUE)
            if readings:
                self._make_days(_days_of(readings), now_ms)
                with connection.transaction():
                    _store(connection, readings, now_ms)
                    readings_aside.take_back(connection, readings)
            return len(readings)

    def count_aside(self) -> int:
        """How many readings are put aside.

        Raises:
            TransientFault: ``database_away``.
        """
        with as_transient(self._database):
            return readings_aside.count_aside(self._open())

    def _store(
        self,
        readings: Sequence[ReceivedReading],
        now_ms: int,
        aside: Sequence[ReceivedReading],
        batches: Sequence[SignedBatch],
    ) -> StoredReadings:
        connection = self._open()
        wanted = _ranges_by_spool([*readings, *aside])
        known = known_runs(connection, wanted)
        old = {day for day in _days_of(readings) if day < now_ms // DAY_MS - 1}
        archived = archived_days(connection, old) if old else set()
        fresh = [each for each in readings if not _is_archived(each, archived, known)]
        self._make_days(_days_of(fresh), now_ms)
        with connection.transaction():
            stored, conflicting = _store(connection, fresh, now_ms)
            if aside:
                readings_aside.put_aside(connection, aside, now_ms)
            add_runs(connection, wanted, known)
            keep_batches(connection, [_judged(each, conflicting) for each in batches], known)
        return stored

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


def _days_of(readings: Sequence[ReceivedReading]) -> set[int]:
    return {received.reading.time_ms // DAY_MS for received in readings}


def _ranges_by_spool(readings: Sequence[ReceivedReading]) -> dict[SpoolKey, list[Range]]:
    numbers: dict[SpoolKey, set[int]] = {}
    for each in readings:
        numbers.setdefault((each.member, each.spool), set()).add(each.reading.sequence)
    return {key: ranges_of(found) for key, found in numbers.items()}


def _is_archived(received: ReceivedReading, archived: set[int], known: Mapping[SpoolKey, Sequence[Range]]) -> bool:
    """Whether a reading comes again that is in an archive by now."""
    if received.reading.time_ms // DAY_MS not in archived:
        return False
    return contains(known[received.member, received.spool], received.reading.sequence)


def _judged(signed: SignedBatch, conflicting: set[SpoolNumber]) -> SignedBatch:
    """Whether the database has all readings of a batch as the batch has them."""
    body = signed.batch.body
    has_conflict = any((body.member, body.spool, each.sequence) in conflicting for each in body.readings)
    return SignedBatch(signed.batch, is_whole=signed.is_whole and not has_conflict)


def _store(
    connection: Connection, readings: Sequence[ReceivedReading], now_ms: int
) -> tuple[StoredReadings, set[SpoolNumber]]:
    """Store, roll up and count; returns also which numbers came with other content than the stored one."""
    if not readings:
        return StoredReadings(0, 0), set()
    times = [received.reading.time_ms for received in readings]
    _stage(connection, readings, now_ms)
    stored: Counter[ChannelKey] = Counter()
    newest: dict[ChannelKey, int] = {}
    for member, meter, channel, count, newest_ms in connection.execute(INSERT_NEW, binary=True).fetchall():
        key = str(member), str(meter), str(channel)
        stored[key], newest[key] = as_int(count), as_int(newest_ms)
    conflicts: Counter[ChannelKey] = Counter()
    conflicting: list[ReceivedReading] = []
    if stored.total() < len(readings):
        span_ms = min(times), max(times)  # so that the database looks at the partitions of these days only
        places = connection.execute(FIND_CONFLICTS, span_ms, binary=True).fetchall()
        conflicting = [readings[as_int(place)] for (place,) in places]
        conflicts = _keep_conflicts(connection, conflicting, now_ms)
    counts = [(*key, stored[key], conflicts[key], newest.get(key, 0)) for key in sorted(stored | conflicts)]
    if counts:
        with connection.cursor() as cursor:
            cursor.executemany(COUNT, counts)
    numbers = {(each.member, each.spool, each.reading.sequence) for each in conflicting}
    return StoredReadings(stored.total(), conflicts.total()), numbers


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


def _keep_conflicts(connection: Connection, conflicting: Sequence[ReceivedReading], now_ms: int) -> Counter[ChannelKey]:
    """Keep readings that differ from the stored one of the same key; returns how many were new, by channel."""
    kept: Counter[ChannelKey] = Counter()
    for received in conflicting:
        raw = encode(received.reading)
        values = (*_key(received), hashlib.sha256(raw).digest(), raw, bytes.fromhex(received.gateway), now_ms)
        kept[received.channel] += connection.execute(INSERT_CONFLICT, values).rowcount
    return +kept


def _key(received: ReceivedReading) -> tuple[object, ...]:
    reading = received.reading
    return (*received.channel, reading.time_ms, bytes.fromhex(received.spool), reading.sequence)


def _or_null(value: int | str | msgspec.UnsetType) -> int | str | None:
    return None if isinstance(value, msgspec.UnsetType) else value
