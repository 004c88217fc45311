"""Readings in PostgreSQL: stored once whatever comes twice or out of order, conflicts kept, rolled up by the minute."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minervas_core.encoding import encode
from minervas_core.metering import Reading
from minervas_core.node_market_messages import GetReadings
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.archive_rows import DAY_MS
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_reads import newest_readings
from minervas_ledger.store.readings_rollup import HOUR_MS, MINUTE_MS
from minervas_ledger.store.readings_writes import (
    ReadingsStore,
    StoredReadings,
)
from tests.support.builders import gateway_key
from tests.support.examples import examples
from tests.support.ledger import MEMBER, migrated
from tests.support.ledger_market import SPOOL, missing, reading
from tests.support.seed import seeded_random

NOON_MS = 1_800_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
NOW_MS = NOON_MS + 10 * MINUTE_MS
OTHER_SPOOL = "cd" * 16


@pytest.fixture
def store(ledger_database: DatabaseSettings) -> Iterator[ReadingsStore]:
    made = ReadingsStore(ledger_database)
    yield made
    made.close()


@pytest.fixture
def reader(ledger_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(ledger_database, application="test")
    yield connection
    connection.close()


def received(*readings: Reading, member: str = MEMBER, spool: str = SPOOL) -> list[ReceivedReading]:
    return [ReceivedReading(member, gateway_key(member).public, spool, each) for each in readings]


def stored_readings(reader: Connection) -> list[Reading]:
    """Everything of our member, oldest first."""
    found = newest_readings(reader, MEMBER, GetReadings(limit=200)).readings
    return [each.reading for each in reversed(found)]


def minutes(reader: Connection) -> list[tuple[object, ...]]:
    return reader.execute("SELECT * FROM readings_minute ORDER BY member, meter, channel, minute_ms").fetchall()


def rolled_up(reader: Connection, table: str, start: str) -> list[tuple[object, ...]]:
    """A roll-up as it was kept at write."""
    columns = "measured, substituted, missing, power_min_mw, power_max_mw, power_avg_mw, powers, power_sum_mw"
    return reader.execute(
        f"""
        SELECT member, meter, channel, {start}, {columns}, first_ms, first_mwh, last_ms, last_mwh FROM {table}
        ORDER BY member, meter, channel, {start}
        """.encode()  # noqa: S608 - names are constants of this test
    ).fetchall()


def recomputed(reader: Connection, width_ms: int) -> list[tuple[object, ...]]:
    """The roll-up, made anew from the raw readings, in another way."""
    return reader.execute(
        """
        SELECT DISTINCT member, meter, channel, time_ms / %(width)s * %(width)s AS start_ms,
            (count(*) FILTER (WHERE fault IS NULL) OVER w)::integer,
            (count(*) FILTER (WHERE fault IS NOT NULL AND power_mw IS NOT NULL) OVER w)::integer,
            (count(*) FILTER (WHERE fault IS NOT NULL AND power_mw IS NULL) OVER w)::integer,
            min(power_mw) OVER w, max(power_mw) OVER w, round(avg(power_mw) OVER w)::bigint,
            (count(power_mw) OVER w)::integer, coalesce(sum(power_mw) OVER w, 0),
            first_value(CASE WHEN energy_mwh IS NOT NULL THEN time_ms END) OVER up,
            first_value(energy_mwh) OVER up,
            first_value(CASE WHEN energy_mwh IS NOT NULL THEN time_ms END) OVER down,
            first_value(energy_mwh) OVER down
        FROM readings
        WINDOW w AS (PARTITION BY member, meter, channel, time_ms / %(width)s),
            up AS (w ORDER BY energy_mwh IS NULL, time_ms, energy_mwh),
            down AS (w ORDER BY energy_mwh IS NULL, time_ms DESC, energy_mwh DESC)
        ORDER BY member, meter, channel, start_ms
        """,
        {"width": width_ms},
    ).fetchall()


def assert_roll_ups_follow(reader: Connection) -> None:
    """Minutes and hours are what follows from the raw readings."""
    assert rolled_up(reader, "readings_minute", "minute_ms") == recomputed(reader, MINUTE_MS)
    assert rolled_up(reader, "readings_hour", "hour_ms") == recomputed(reader, HOUR_MS)


def test_reading_comes_back_as_it_was(store: ReadingsStore, reader: Connection) -> None:
    given = [
        reading(0, NOON_MS, power_mw=-3_000, current_ma=-12),
        missing(1, NOON_MS + 1_000),
        Reading(
            meter="roof", channel="dc", sequence=2, time_ms=NOON_MS + 2_000, quality="measured", power_mw=5,
            request="", reply="",
        ),
    ]  # fmt: skip
    assert store.store(received(*given), NOW_MS) == StoredReadings(3, 0)
    assert stored_readings(reader) == given
    found = newest_readings(reader, MEMBER, GetReadings(limit=1))
    assert (found.stored, found.conflicts) == (3, 0)
    assert (found.readings[0].spool, found.readings[0].stored_ms) == (SPOOL, NOW_MS)


def test_doubled_and_reordered_readings_are_stored_once(store: ReadingsStore, reader: Connection) -> None:
    choose = seeded_random("readings")
    given = [reading(number, NOON_MS + 1_000 * number) for number in range(150)]
    copies = received(*given, *given, *given)
    choose.shuffle(copies)
    total = sum(store.store(copies[first : first + 70], NOW_MS).stored for first in range(0, len(copies), 70))
    assert total == 150
    assert stored_readings(reader) == given
    assert newest_readings(reader, MEMBER, GetReadings()).stored == 150
    assert_roll_ups_follow(reader)
    assert sum(int(str(row[4])) for row in minutes(reader)) == 150


def test_reading_of_one_key_with_other_content_is_counted_and_kept(store: ReadingsStore, reader: Connection) -> None:
    first, second = reading(7, NOON_MS), reading(7, NOON_MS, power_mw=1)
    third = missing(7, NOON_MS)
    assert store.store(received(first), NOW_MS) == StoredReadings(1, 0)
    assert store.store(received(second, first, third), NOW_MS) == StoredReadings(0, 2)
    assert store.store(received(second), NOW_MS) == StoredReadings(0, 0)  # known
    assert stored_readings(reader) == [first]
    kept = reader.execute("SELECT reading, gateway FROM reading_conflicts ORDER BY reading").fetchall()
    assert kept == sorted((encode(each), bytes.fromhex(gateway_key(MEMBER).public)) for each in (second, third))
    found = newest_readings(reader, MEMBER, GetReadings())
    assert (found.stored, found.conflicts) == (1, 2)
    assert_roll_ups_follow(reader)


def test_conflict_within_one_batch_leaves_the_first(store: ReadingsStore, reader: Connection) -> None:
    first, second = reading(7, NOON_MS, power_mw=2), reading(7, NOON_MS, power_mw=1)
    assert store.store(received(first, second), NOW_MS) == StoredReadings(1, 1)
    assert stored_readings(reader) == [first]


def test_one_time_in_two_spools_is_no_conflict(store: ReadingsStore, reader: Connection) -> None:
    """A gateway that lost its spool may sample the same moment again."""
    both = received(reading(7, NOON_MS)) + received(reading(7, NOON_MS, power_mw=1), spool=OTHER_SPOOL)
    assert store.store(both, NOW_MS) == StoredReadings(2, 0)
    assert len(stored_readings(reader)) == 2


def test_days_are_made_as_they_are_needed_and_ahead(store: ReadingsStore, reader: Connection) -> None:
    midnight_ms = NOON_MS + DAY_MS // 2
    days = [reading(number, midnight_ms + (number - 3) * 500) for number in range(6)]
    far = reading(6, NOON_MS - 40 * DAY_MS)
    assert store.store(received(far, *days), NOW_MS) == StoredReadings(7, 0)
    assert stored_readings(reader) == [far, *days]
    assert_roll_ups_follow(reader)
    for time_ms in (far.time_ms, NOON_MS, midnight_ms, NOW_MS + DAY_MS):
        bounds = f"FROM ('{time_ms // DAY_MS * DAY_MS}') TO ('{(time_ms // DAY_MS + 1) * DAY_MS}')"
        count = reader.execute(
            """
            SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'readings'::regclass AND pg_get_expr(relpartbound, inhrelid) = %s
            """,
            (f"FOR VALUES {bounds}",),
        ).fetchone()
        assert count == (1,), bounds


def test_another_connection_finds_the_days_that_are_there(
    store: ReadingsStore, ledger_database: DatabaseSettings
) -> None:
    store.store(received(reading(0, NOON_MS)), NOW_MS)
    other = ReadingsStore(ledger_database)
    assert other.store(received(reading(1, NOON_MS)), NOW_MS).stored == 1
    other.close()


SAMPLES = st.tuples(
    st.sampled_from([MEMBER, "m1"]),
    st.sampled_from([SPOOL, OTHER_SPOOL]),
    st.sampled_from(["measured", "substituted", "missing"]),
    st.integers(0, 6 * 15).map(lambda step: NOON_MS + step * 40_000),  # an hour, some at the very end of one
    st.integers(-1_000, 100_000),
    st.integers(0, 40),
)
"""Few numbers, so that times, numbers and contents meet."""


@settings(
    max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(given=st.lists(st.lists(SAMPLES, min_size=1, max_size=25), min_size=1, max_size=8), again=st.randoms())
def test_roll_ups_equal_a_recomputation_whatever_comes_when(
    store: ReadingsStore, reader: Connection, given: list[list[tuple[str, str, str, int, int, int]]], again: Random
) -> None:
    """Late, repeated and conflicting readings of several members and spools, in any order and batching.

    Each example adds to what the ones before left behind.
    """
    for samples in given:
        store.store([one for sample in samples for one in sampled(*sample)], NOW_MS)
    every = [one for samples in given for sample in samples for one in sampled(*sample)]
    again.shuffle(every)
    assert store.store(every, NOW_MS).stored == 0
    assert_roll_ups_follow(reader)
    stored = reader.execute("SELECT coalesce(sum(measured + substituted + missing), 0) FROM readings_hour")
    assert stored.fetchone() == reader.execute("SELECT count(*) FROM readings").fetchone()


def sampled(*sample: Any) -> list[ReceivedReading]:
    """A reading as `SAMPLES` describes it."""
    member, spool, quality, time_ms, power_mw, number = sample
    if quality == "missing":
        return received(missing(number, time_ms), member=member, spool=spool)
    made = reading(number, time_ms, power_mw=power_mw)
    if quality == "substituted":
        made = msgspec.structs.replace(made, quality="substituted", fault="crc", energy_mwh=msgspec.UNSET)
    return received(made, member=member, spool=spool)


def test_substituted_readings_are_counted_by_themselves(store: ReadingsStore, reader: Connection) -> None:
    given = [
        *sampled(MEMBER, SPOOL, "measured", NOON_MS, 10, 0),
        *sampled(MEMBER, SPOOL, "substituted", NOON_MS + 1, 20, 1),
        *sampled(MEMBER, SPOOL, "substituted", NOON_MS + 2, 30, 2),
        *sampled(MEMBER, SPOOL, "missing", NOON_MS + 3, 0, 3),
    ]
    store.store(given, NOW_MS)
    for table, start in (("readings_minute", "minute_ms"), ("readings_hour", "hour_ms")):
        assert [row[4:10] for row in rolled_up(reader, table, start)] == [(1, 2, 1, 10, 30, 20)]
    assert stored_readings(reader) == [each.reading for each in given]


def test_extreme_values_do_not_stop_the_others(store: ReadingsStore, reader: Connection) -> None:
    most = 2**53 - 1
    extreme = [
        reading(number, NOON_MS + number, power_mw=most, voltage_mv=-most, current_ma=most, energy_mwh=most)
        for number in range(1_200)
    ]
    assert store.store(received(*extreme), NOW_MS).stored == 1_200
    assert minutes(reader)[0][7:10] == (most, most, most)


def test_newest_readings_of_a_channel(store: ReadingsStore, reader: Connection) -> None:
    given = received(
        reading(0, NOON_MS, channel="ch2"),
        reading(1, NOON_MS, channel="ch3"),
        reading(2, NOON_MS + 1_000, channel="ch2"),
        reading(3, NOON_MS + 1_000, channel="ch2", meter="shed"),
    )
    store.store(given + received(reading(9, NOON_MS + 9_000), member="m1"), NOW_MS)
    wanted = {
        GetReadings(): [2, 3, 0, 1],
        GetReadings(meter="roof"): [2, 0, 1],
        GetReadings(meter="roof", channel="ch2"): [2, 0],
        GetReadings(channel="ch2", limit=2): [2, 3],
        GetReadings(meter="none"): [],
    }
    for question, expected in wanted.items():
        found = newest_readings(reader, MEMBER, question)
        assert [each.reading.sequence for each in found.readings] == expected
        assert found.stored == 4


def test_writer_makes_days_but_nothing_else(postgres_server: PostgresServer, node_database: NodeDatabase) -> None:
    settings = migrated(node_database)
    store = ReadingsStore(settings)
    store.store(received(reading(0, NOON_MS)), NOW_MS)
    store.close()
    writer = connect(settings, application="test")
    for statement in (
        "DROP TABLE readings_20270115",
        "TRUNCATE readings",
        "DELETE FROM readings",
        "UPDATE readings SET power_mw = 0",
        "SELECT * FROM readings_20270115",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(statement.encode())
    writer.close()
