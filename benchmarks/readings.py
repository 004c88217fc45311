"""Readings into PostgreSQL against one INSERT for each, today's curve against the raw table, and the room they take."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.comparing import least_disturbed, seconds
from benchmarks.databases import Databases, databases
from benchmarks.results import Result
from minervas_core.metering import Reading
from minervas_ledger.archive_file import FORMAT, ArchivedReading, ArchiveHead, write_archive
from minervas_ledger.store.archive_rows import DAY_MS
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_writes import ReadingsStore
from tests.support.builders import NETWORK, gateway_key

MEMBER = "bench"
SPOOL = "ab" * 16
CHANNELS = ("ch2", "ch3")
FIRST_MS = 1_800_000_000_000 // DAY_MS * DAY_MS
SECONDS_OF_A_YEAR = 365 * 86_400
BATCH = 5_000
"""Readings in a transaction while a backlog comes in; see `readings_flush.MAX_FLUSH_READINGS`."""

NAIVE_TABLE = """
CREATE TABLE naive_readings (
    member text, meter text, channel text, time_ms bigint, spool bytea, sequence bigint, quality text, power_mw bigint,
    voltage_mv bigint, current_ma bigint, energy_mwh bigint, request bytea, reply bytea,
    PRIMARY KEY (member, meter, channel, time_ms, spool, sequence)
)
"""
NAIVE_INSERT = "INSERT INTO naive_readings VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

TODAY_RAW = """
SELECT channel, time_ms - time_ms %% 60000 AS minute_ms, avg(power_mw)::bigint FROM readings
WHERE member = %s AND meter = 'roof' AND channel = ANY(%s) AND time_ms >= %s AND time_ms < %s
GROUP BY channel, minute_ms ORDER BY channel, minute_ms
"""
TODAY_ROLLED_UP = """
SELECT channel, minute_ms, power_avg_mw FROM readings_minute
WHERE member = %s AND meter = 'roof' AND channel = ANY(%s) AND minute_ms >= %s AND minute_ms < %s
ORDER BY channel, minute_ms
"""


def measure(*, inserts: int = 200, bulk: int = 10_000, day_s: int = 86_400, rounds: int = 15) -> list[Result]:
    """Measure; takes about a minute.

    Args:
        inserts: readings that the naive side inserts in each round.
        bulk: readings that ours stores in each round.
        day_s: seconds of the day that is shown.
        rounds: how often each is done, in turns.
    """
    with databases() as made:
        return measure_in(made, inserts=inserts, bulk=bulk, day_s=day_s, rounds=rounds)


def measure_in(made: Databases, *, inserts: int, bulk: int, day_s: int, rounds: int) -> list[Result]:
    """As `measure`, in a server that runs already."""
    return [*_inserting(made, inserts=inserts, bulk=bulk, rounds=rounds), *_today(made, day_s=day_s, rounds=rounds)]


def sampled(first: int, count: int) -> list[Reading]:
    """Readings of two channels once a second, with the frames of a block read of three values."""
    return [
        Reading(
            meter="roof",
            channel=CHANNELS[number % 2],
            sequence=number,
            time_ms=FIRST_MS + 1_000 * (number // 2),
            quality="measured",
            power_mw=60_000 + number * 7919 % 60_000,
            voltage_mv=18_000 + number % 900,
            current_ma=6_000 + number % 700,
            energy_mwh=number * 17,
            request="010400000008f1cc",
            reply=f"0104100540000a000d00000002{number:016x}d629",
        )
        for number in range(first, first + count)
    ]


def _inserting(made: Databases, *, inserts: int, bulk: int, rounds: int) -> list[Result]:
    database = made.fresh()
    naive: list[float] = []
    ours: list[float] = []
    live: list[float] = []
    with _superuser(made, database.name) as connection, contextlib.closing(ReadingsStore(database)) as store:
        connection.execute(NAIVE_TABLE)
        store.store(_received(sampled(0, 2)), FIRST_MS)  # connects, and makes the day
        for number in range(rounds):
            few = sampled(number * inserts, inserts)
            many = _received(sampled(2 + number * bulk, bulk))
            second = _received(sampled(10_000_000 + number * 60, 60))
            naive.append(seconds(partial(_insert_each, connection, few)) / inserts)
            ours.append(seconds(partial(_store_all, store, many)) / bulk)
            live.append(seconds(partial(store.store, second, FIRST_MS)))
    found = least_disturbed("readings.insert", naive, ours, per_s=1, unit="rows/s", goal=50)
    return [*found, Result("readings.flush_of_60", 1_000 * sorted(live)[len(live) // 2], "ms", better="lower")]


def _today(made: Databases, *, day_s: int, rounds: int) -> list[Result]:
    database = made.fresh()
    readings = sampled(0, 2 * day_s)
    wanted = (MEMBER, list(CHANNELS), FIRST_MS, FIRST_MS + DAY_MS)
    with _superuser(made, database.name) as connection, contextlib.closing(ReadingsStore(database)) as store:
        _store_all(store, _received(readings))
        connection.execute("ANALYZE")
        raw: list[float] = []
        rolled_up: list[float] = []
        for _ in range(rounds + 1):
            raw.append(seconds(lambda: connection.execute(TODAY_RAW, wanted).fetchall()))
            rolled_up.append(seconds(lambda: connection.execute(TODAY_ROLLED_UP, wanted).fetchall()))
        results = least_disturbed("readings.today", raw[1:], rolled_up[1:], per_s=1, unit="/s", goal=8)
        return [*results, *_sizes(connection, readings)]


def _sizes(connection: psycopg.Connection[tuple[object, ...]], readings: Sequence[Reading]) -> list[Result]:
    """Room that readings take, for a member with two channels at one sample a second."""
    [(table,)] = connection.execute(
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'readings'::regclass"
    ).fetchall()
    [(rolled_up,)] = connection.execute(
        "SELECT pg_total_relation_size('readings_minute') + pg_total_relation_size('readings_hour')"
    ).fetchall()
    rows = len(readings)
    with tempfile.TemporaryDirectory() as directory:
        head = ArchiveHead(format=FORMAT, network=NETWORK, day="2027-01-15", part=1)
        entries = (ArchivedReading(member=MEMBER, spool=SPOOL, stored_ms=FIRST_MS, reading=each) for each in readings)
        packed = write_archive(Path(directory) / "day.jsonl.gz", head, entries).bytes
    of_a_year = len(CHANNELS) * SECONDS_OF_A_YEAR / 10**9
    return [
        Result("readings.table_of_a_year", int(str(table)) / rows * of_a_year, "GB", better="lower"),
        Result("readings.roll_ups_of_a_year", int(str(rolled_up)) / rows * of_a_year, "GB", better="lower"),
        Result("readings.archive_of_a_year", packed / rows * of_a_year, "GB", better="lower"),
    ]


def _superuser(made: Databases, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(made.superuser_conninfo(name), autocommit=True)


def _insert_each(connection: psycopg.Connection[tuple[object, ...]], readings: Sequence[Reading]) -> None:
    """Each reading with a statement and a commit of its own, and no roll-up."""
    for each in readings:
        connection.execute(
            NAIVE_INSERT,
            (
                *(MEMBER, each.meter, each.channel, each.time_ms, bytes.fromhex(SPOOL), each.sequence, each.quality),
                *(each.power_mw, each.voltage_mv, each.current_ma, each.energy_mwh),
                *(bytes.fromhex(each.request), bytes.fromhex(each.reply)),
            ),
        )


def _received(readings: Sequence[Reading]) -> list[ReceivedReading]:
    key = gateway_key(MEMBER).public
    return [ReceivedReading(MEMBER, key, SPOOL, each) for each in readings]


def _store_all(store: ReadingsStore, readings: Sequence[ReceivedReading]) -> None:
    """As the ledger does: in transactions of some thousand, with the roll-ups of minutes and hours."""
    for first in range(0, len(readings), BATCH):
        store.store(readings[first : first + BATCH], FIRST_MS)
