"""Each alert rule fires on what it is for, names it, and is quiet on what looks like it and is not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from minervas_devnet.postgres import PostgresServer
from minervas_ledger.store.connection import Connection
from tests.support.dashboard_queries import all_asked, read
from tests.support.dashboard_world import DashboardWorld, Span
from tests.support.readers import OPERATOR

NOON = datetime(2026, 6, 21, 4, 30, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
MINUTE_MS = 60_000

RULES = {rule["uid"]: rule for rule in read("alerting/rules.json")}
ASKED = {each.name.removeprefix("alert "): each for each in all_asked() if each.kind == "alert"}
BEYOND: dict[str, Callable[[float, float], bool]] = {"gt": operator.gt, "lt": operator.lt}


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[DashboardWorld]:
    """Two members with two channels each in the sun, and all is well."""
    database = postgres_server.create_database("dashboard-alerts")
    made = DashboardWorld(postgres_server, database, ["m1", "m2"])
    made.meter(Span(NOON_MS - 20 * MINUTE_MS, NOON_MS, 10_000))
    made.chain(Span(NOON_MS - 60 * MINUTE_MS, NOON_MS))
    yield made
    made.close()


@pytest.fixture(scope="module")
def operator_role(world: DashboardWorld) -> str:
    return world.readers.open(OPERATOR)


@pytest.fixture
def changed(world: DashboardWorld, postgres_server: PostgresServer) -> Iterator[Connection]:
    """A transaction in which anything may be changed, and that is taken back."""
    with psycopg.connect(postgres_server.superuser_conninfo(world.name)) as connection:
        yield connection
        connection.rollback()


def firing(uid: str, connection: Connection, operator_role: str) -> set[str]:
    """What a rule fires for, under the operator's role: its labels with blanks between."""
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(operator_role)))
    cursor = connection.execute(ASKED[uid].at(NOON).encode())
    names = [column.name for column in cursor.description or ()]
    [condition] = RULES[uid]["data"][1]["model"]["conditions"]
    kind, limit = condition["evaluator"]["type"], condition["evaluator"]["params"][0]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    fired = [row for row in rows if BEYOND[kind](float(str(row.pop("value"))), limit)]
    return {" ".join(map(str, row.values())) for row in fired}


@pytest.mark.parametrize("uid", sorted(RULES))
def test_nothing_fires_while_all_is_well(uid: str, changed: Connection, operator_role: str) -> None:
    assert firing(uid, changed, operator_role) == set()


NAMES = {
    "ch2": "WHERE member = 'm1' AND channel = 'ch2'",
    "ledger": "WHERE member = 'm1' AND service = 'ledger'",
    "noon": str(NOON_MS),
    "ended": "UPDATE roster SET status = 'left', ended_height = 5 WHERE member = 'm1'",
}
"""What braces in the statements stand for."""

FIRES = [
    ("no-readings", "UPDATE reading_channels SET newest_ms = newest_ms - 51000 {ch2}", {"m1 roof ch2"}),
    ("no-readings", "DELETE FROM reading_channels {ch2}", {"m1 roof ch2"}),
    ("panel-idle", "UPDATE readings_minute SET power_sum_mw = 0 {ch2}", {"m1 roof ch2"}),
    ("meter-silent", "UPDATE readings_minute SET power_sum_mw = 0, powers = 0 {ch2}", {"m1 roof ch2"}),
    ("no-block", "UPDATE blocks SET time_ms = time_ms - 590000", {""}),
    ("finality-paused", "UPDATE node_state SET final_height = tip_height - 17", {""}),
    ("certificate", "UPDATE fleet SET certificate_expires_ms = {noon} + 604700000 {ledger}", {"m1 ledger"}),
    ("storage", "UPDATE fleet SET disk_use_per_mille = 901 {ledger}", {"m1 ledger"}),
    ("storage", "UPDATE fleet SET disk_use_per_mille = NULL, spool_use_per_mille = 950 {ledger}", {"m1 ledger"}),
    ("storage", "UPDATE fleet SET low_disk = 'readings' {ledger}", {"m1 ledger"}),
    ("clock", "UPDATE fleet SET clock_offset_ms = -5000 {ledger}", {"m1 ledger"}),
    ("clock", "UPDATE fleet SET clock_offset_ms = NULL, told_offset_ms = 6000 {ledger}", {"m1 ledger"}),
    ("clock", "UPDATE fleet SET clock_synchronised = false {ledger}", {"m1 ledger"}),
    ("service-silent", "UPDATE fleet SET last_seen_ms = {noon} - 300001 {ledger}", {"m1 ledger"}),
    (
        "service-silent",
        "UPDATE fleet SET state = 'offline', last_seen_ms = NULL, changed_ms = {noon} - 400000 {ledger}",
        {"m1 ledger"},
    ),
]
QUIET = [
    ("no-readings", "UPDATE reading_channels SET newest_ms = newest_ms - 50000 {ch2}"),
    ("no-readings", "DELETE FROM reading_channels; UPDATE meters SET registered_ms = {noon} - 60000"),
    (
        "no-readings",
        "DELETE FROM reading_channels WHERE member = 'm1'; {ended}",
    ),
    ("no-readings", "DELETE FROM meters"),
    ("panel-idle", "UPDATE readings_minute SET power_sum_mw = 0 WHERE member = 'm1'"),
    ("panel-idle", "UPDATE readings_minute SET power_sum_mw = 0, powers = 0 {ch2}"),
    ("panel-idle", "UPDATE readings_minute SET power_sum_mw = power_sum_mw / 30 {ch2}"),
    ("meter-silent", "UPDATE readings_minute SET power_sum_mw = 0 {ch2}"),
    ("no-block", "UPDATE blocks SET time_ms = time_ms - 585000"),
    ("finality-paused", "UPDATE node_state SET final_height = tip_height - 16"),
    ("finality-paused", "DELETE FROM state_rows"),
    ("certificate", "UPDATE fleet SET certificate_expires_ms = {noon} + 604900000 {ledger}"),
    (
        "certificate",
        "UPDATE fleet SET certificate_expires_ms = 1 WHERE member = 'm1'; {ended}",
    ),
    ("certificate", "UPDATE fleet SET certificate_expires_ms = NULL {ledger}"),
    ("storage", "UPDATE fleet SET disk_use_per_mille = 900 {ledger}"),
    ("clock", "UPDATE fleet SET clock_offset_ms = 4999 {ledger}"),
    ("clock", "UPDATE fleet SET clock_offset_ms = 9999, state = 'offline' {ledger}"),
    ("clock", "UPDATE fleet SET clock_synchronised = NULL, clock_offset_ms = NULL, told_offset_ms = NULL {ledger}"),
    ("service-silent", "UPDATE fleet SET last_seen_ms = {noon} - 300000 {ledger}"),
]


def spoil(connection: Connection, statements: str) -> None:
    for each in statements.split(";"):
        assert connection.execute(each.format(**NAMES).encode()).rowcount != 0, each


@pytest.mark.parametrize(("uid", "change", "wanted"), FIRES)
def test_rule_fires_and_names_what_it_is_about(
    uid: str, change: str, wanted: set[str], changed: Connection, operator_role: str
) -> None:
    spoil(changed, change)
    assert firing(uid, changed, operator_role) == wanted


@pytest.mark.parametrize(("uid", "change"), QUIET)
def test_rule_is_quiet(uid: str, change: str, changed: Connection, operator_role: str) -> None:
    spoil(changed, change)
    assert firing(uid, changed, operator_role) == set()


def test_every_rule_has_data_that_fires_and_data_that_does_not() -> None:
    assert {uid for uid, *_ in FIRES} == {uid for uid, _ in QUIET} == set(RULES)


def test_a_chain_without_blocks_alerts_by_having_no_data(changed: Connection, operator_role: str) -> None:
    spoil(changed, "DELETE FROM blocks")
    assert RULES["no-block"]["noDataState"] == "Alerting"
    changed.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(operator_role)))
    assert changed.execute(ASKED["no-block"].at(NOON).encode()).fetchall() == []
