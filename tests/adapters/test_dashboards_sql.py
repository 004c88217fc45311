"""Every query of the dashboards and alert rules runs under a reader's role, stays small, and says what is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from minervas_devnet.postgres import PostgresServer
from minervas_ledger.store.connection import Connection
from tests.support.dashboard_queries import Asked, all_asked, plan_nodes
from tests.support.dashboard_world import CHANNELS, DashboardWorld, Span
from tests.support.readers import OPERATOR

NOON = datetime(2026, 6, 21, 4, 30, tzinfo=UTC)
"""Half past one in the afternoon in Seoul."""
NOON_MS = int(NOON.timestamp()) * 1000
HOUR_MS = 3_600_000
MIDNIGHT_MS = NOON_MS - 13 * HOUR_MS - HOUR_MS // 2
GAP = Span(NOON_MS - 3 * HOUR_MS, NOON_MS - 2 * HOUR_MS)
"""No samples of m1's ch2."""

ASKED = {each.name: each for each in all_asked()}
MAY_BE_EMPTY = {"solar-history 4 A"}
RAW = re.compile(r"readings_\d{8}")


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[DashboardWorld]:
    """Two days of two members, a sample every 20 seconds; a gap; a chain of three hours."""
    made = DashboardWorld(postgres_server, postgres_server.create_database("dashboards"), ["m1", "m2"])
    for before, after in pairwise((NOON_MS - 40 * HOUR_MS, GAP.from_ms, GAP.to_ms, NOON_MS)):
        channels = CHANNELS[1:] if before == GAP.from_ms else CHANNELS
        made.meter(Span(before, after, 20_000), members=["m1"], channels=channels)
    made.meter(Span(NOON_MS - 40 * HOUR_MS, NOON_MS, 60_000), members=["m2"])
    made.meter(Span(NOON_MS - 20 * HOUR_MS, NOON_MS - 15 * HOUR_MS, 20_000), members=["m5"], channels=CHANNELS[:1])
    made.meter(Span(NOON_MS - 20 * HOUR_MS, NOON_MS, 20_000), members=["m5"], channels=CHANNELS[1:])
    made.chain(Span(NOON_MS - 3 * HOUR_MS, NOON_MS))
    with made.owner() as owner:
        owner.execute("ANALYZE")
    yield made
    made.close()


@pytest.fixture(scope="module")
def member(world: DashboardWorld) -> Iterator[Connection]:
    with world.readers.connect("m1") as connection:
        yield connection


@pytest.fixture(scope="module")
def operator(world: DashboardWorld) -> Iterator[Connection]:
    with world.readers.connect(OPERATOR) as connection:
        yield connection


def answer(connection: Connection, asked: Asked, **changed: str) -> list[dict[str, Any]]:
    cursor = connection.execute(asked.at(NOON, **changed).encode())
    names = [column.name for column in cursor.description or ()]
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def of(uid: str, column: str) -> Asked:
    """The first query of a dashboard that gives a column."""
    return next(
        each for each in ASKED.values() if each.name.startswith(f"{uid} ") and re.search(rf"\b{column}\b", each.sql)
    )


@pytest.mark.parametrize("name", sorted(ASKED))
def test_query_runs_under_the_readers_role(name: str, member: Connection, operator: Connection) -> None:
    asked = ASKED[name]
    connection = member if asked.kind == "member" else operator
    connection.execute(asked.expanded(datetime.now(UTC)).encode())
    rows = answer(connection, asked)
    assert rows or name in MAY_BE_EMPTY
    assert len(rows) < 25_000
    if asked.form == "time_series":
        times = [row["time"] for row in rows]
        assert times == sorted(times)
        assert all(isinstance(each, datetime) for each in times)
    if asked.kind == "alert":
        assert {type(row["value"]) for row in rows} == {float}
        assert all(isinstance(value, str) for row in rows for key, value in row.items() if key != "value")


@pytest.mark.parametrize("name", sorted(name for name, asked in ASKED.items() if "readings" in asked.sql))
def test_days_outside_the_time_range_are_not_read(name: str, world: DashboardWorld, operator: Connection) -> None:
    """Also: only the list of samples and the real-time panel read raw rows at all."""
    asked = ASKED[name]
    who = "m1" if asked.kind == "member" else OPERATOR
    with world.readers.connect(who) as connection:
        relations = {node.get("Relation Name", "") for node in plan_nodes(connection, asked.at(NOON))}
    days = {each for each in relations if RAW.fullmatch(each)}
    if name.startswith("solar-rt"):
        assert days == {"readings_20260621"}
    elif "register, r.quality" in asked.sql:
        assert days == {"readings_20260619", "readings_20260620", "readings_20260621"}
    else:
        assert not days


def test_samples_search_reads_only_the_minutes_that_have_such_power(member: Connection) -> None:
    asked = of("solar-history", "quality")
    nodes = plan_nodes(member, asked.at(NOON, min_watt="80"), run=True)
    read = sum(
        node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
        for node in nodes
        if RAW.fullmatch(node.get("Relation Name", ""))
    )
    assert 0 < read < 2_500
    rows = answer(member, asked, min_watt="80")
    assert len(rows) == 1_000
    assert min(row["watt"] for row in rows) >= 80
    assert rows == sorted(rows, key=lambda row: (-row["time"].timestamp(), row["channel"]))
    assert not answer(member, asked, min_watt="1000")
    assert answer(member, asked, min_watt="") == answer(member, asked, min_watt="0")


def test_todays_energy_is_the_registers_and_includes_the_gap(member: Connection) -> None:
    [total] = answer(member, of("solar-today", "performance"))
    registers = member.execute(
        "SELECT sum(last - first) / 1e6 FROM (SELECT channel, max(energy_mwh) AS last, min(energy_mwh) AS first"
        " FROM readings WHERE time_ms BETWEEN %s AND %s GROUP BY channel) AS r",
        (MIDNIGHT_MS - 20_000, NOON_MS),
    ).fetchone()
    assert registers is not None
    assert float(total["energy"]) == pytest.approx(float(str(registers[0])), abs=1e-6)
    quarters = sum(float(row["energy"] or 0) for row in answer(member, of("solar-today", "900000")))
    assert 0.05 < float(total["energy"]) - quarters < 0.12  # an hour of ch2 before noon
    assert total["peak"] == pytest.approx(200, abs=10)
    assert MIDNIGHT_MS + 11 * HOUR_MS < total["peak_at"] < MIDNIGHT_MS + 13 * HOUR_MS
    assert float(total["specific"]) == pytest.approx(float(total["energy"]) / 0.24)
    assert 0.1 < float(total["performance"]) < 2


def test_a_gap_is_listed_once_and_shown_as_nothing_measured(member: Connection) -> None:
    gaps = [row for row in answer(member, of("solar-today", "until")) if row["channel"] == "roof/ch2"]
    long = [row for row in gaps if row["seconds"] > 3_000]
    assert [row["from"].timestamp() * 1000 for row in long] == [GAP.from_ms - 20_000]
    assert [row["until"].timestamp() * 1000 for row in long] == [GAP.to_ms]
    states = answer(member, of("solar-today", "state"))
    nothing = {row["time"].timestamp() * 1000 for row in states if row["channel"] == "roof/ch2" and row["state"] == 0}
    assert nothing == set(range(GAP.from_ms, GAP.to_ms, 300_000))
    assert {row["state"] for row in states if row["channel"] == "roof/ch3"} <= {1, 2}


def test_a_channel_that_is_silent_since_yesterday_is_missing_today(world: DashboardWorld) -> None:
    world.writer.execute(
        "INSERT INTO meters SELECT 'm5', meter, model, gateway, channels, rated_w, register_step_wh,"
        " registered_ms FROM meters WHERE member = 'm1'"
    )
    world.writer.execute(
        "INSERT INTO expected_output SELECT 'm5', 'roof', unnest(%s::text[]), %s, 3600000, 500000, 120, 'clear', 1",
        (list(CHANNELS), NOON_MS - 2 * HOUR_MS),
    )
    with world.readers.connect("m5") as connection:
        [total] = answer(connection, of("solar-today", "performance"))
        assert float(total["specific"]) == pytest.approx(float(total["energy"]) / 0.24), "of all rated power"
        assert float(total["performance"]) == pytest.approx(float(total["energy"])), "against 0.5 kWh of each channel"
        assert float(total["completeness"]) == pytest.approx(0.5, abs=0.01)
        [gap] = answer(connection, of("solar-today", "until"))
    assert gap["channel"] == f"roof/{CHANNELS[0]}"
    assert gap["from"].timestamp() * 1000 == NOON_MS - 15 * HOUR_MS - 20_000
    assert gap["until"] is None


def test_the_age_is_that_of_the_last_sample_with_a_value(world: DashboardWorld) -> None:
    """A meter that does not answer is late, although its gateway goes on storing that there is no value."""
    world.meter(Span(NOON_MS - 60_000, NOON_MS - 40_000, 20_000), members=["m6"], channels=CHANNELS[:1])
    world.writer.execute(
        "INSERT INTO readings SELECT member, meter, channel, %s, spool, sequence + 1000000, 'missing', NULL, NULL,"
        " NULL, NULL, 'timeout', request, reply, stored_ms FROM readings WHERE member = 'm6'",
        (NOON_MS - 1_000,),
    )
    with world.readers.connect("m6") as connection:
        measured, missing = answer(connection, of("solar-rt", "age"))
    assert measured["age"] is not None
    assert missing["time"].timestamp() * 1000 == NOON_MS - 1_000
    assert (missing["watt"], missing["age"]) == (None, None)


def test_missing_values_stay_empty(member: Connection, world: DashboardWorld) -> None:
    """The hour of the gap has no bar, and is no 0."""
    quarters = answer(member, of("solar-today", "900000"))
    times = {row["time"].timestamp() * 1000 for row in quarters if row["channel"] == "roof/ch2"}
    assert not times & set(range(GAP.from_ms, GAP.to_ms, 900_000))


def test_history_agrees_with_today_and_with_its_buckets(member: Connection) -> None:
    bars, days = of("solar-history", "date_trunc"), of("solar-history", "least_mw")
    by_day = {(row["time"], row["channel"]): row["energy"] for row in answer(member, bars)}
    by_hour = answer(member, bars, bucket="hour")
    assert sum(by_day.values()) == sum(row["energy"] for row in by_hour)
    [by_month] = {row["time"] for row in answer(member, bars, bucket="month")}
    assert by_month == datetime(2026, 5, 31, 15, tzinfo=UTC)
    table = {(row["day"], row["channel"]): row["energy"] for row in answer(member, days)}
    assert sorted(table.values()) == sorted(by_day.values())
    only = answer(member, bars, channel="roof/ch3")
    assert {row["channel"] for row in only} == {"roof/ch3"}


def test_trades_add_up(member: Connection) -> None:
    [sums] = answer(member, of("trade", "sold_wh"))
    own = answer(member, of("trade", "partner"))
    assert float(sums["net"]) == pytest.approx(
        sum(float(row["amount"]) * (1 if row["side"] == "sold" else -1) for row in own)
    )
    assert {row["partner"] for row in own} == {"m2"}
    *_, last = answer(member, of("trade", "hour_ms"))
    assert float(last["net"]) == pytest.approx(float(sums["net"]))


def test_a_member_that_has_nothing_gets_empty_answers_and_no_zeros(world: DashboardWorld) -> None:
    with world.readers.connect("m3") as connection:
        for asked in ASKED.values():
            if asked.kind == "member" and asked.name.startswith("solar-"):
                rows = answer(connection, asked)
                assert all(value is None for row in rows for value in row.values()), asked.name
        [sums] = answer(connection, of("trade", "sold_wh"))
        assert set(sums.values()) == {None}
