"""A month of three members at one sample a second: every panel uses keys and roll-ups, and what each takes is shown."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from minervas_devnet.postgres import PostgresServer
from tests.support.dashboard_queries import Asked, all_asked, plan_nodes
from tests.support.dashboard_world import DAY_MS, DashboardWorld, Span
from tests.support.readers import OPERATOR

NOON = datetime(2026, 6, 21, 4, 30, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
DAYS = 30
METERED = re.compile(r"readings_(minute|\d{8})")
"""Tables of a size; an hour's roll-up of a month is read as a whole, and rightly so."""
GOAL_MS = 200
ROUNDS = 3


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[DashboardWorld]:
    made = DashboardWorld(postgres_server, postgres_server.create_database("dashboards-month"), ["m1", "m2", "m3"])
    month = Span(NOON_MS - DAYS * DAY_MS, NOON_MS)
    made.meter(month)
    made.chain(month)
    with made.owner() as owner:
        owner.execute("ANALYZE")
    yield made
    made.close()


def milliseconds(connection: Any, asked: Asked) -> float:
    query = asked.at(NOON).encode()
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        connection.execute(query).fetchall()
        took.append(1_000 * (time.perf_counter() - began))
    return statistics.median(took)


@pytest.mark.soak
def test_no_panel_reads_a_whole_table_of_readings(world: DashboardWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Times are shown and not judged, because other tests run beside this one; the goal is for a quiet machine."""
    took: dict[str, float] = {}
    for who, kinds in (("m1", {"member"}), (OPERATOR, {"operator", "alert"})):
        with world.readers.connect(who) as connection:
            for asked in (each for each in all_asked() if each.kind in kinds):
                for node in plan_nodes(connection, asked.at(NOON)):
                    if node["Node Type"] == "Seq Scan":
                        assert not METERED.fullmatch(node["Relation Name"]), (asked.name, node["Relation Name"])
                took[asked.name] = milliseconds(connection, asked)
    with capsys.disabled():
        for name, each in sorted(took.items(), key=lambda pair: -pair[1])[:10]:
            print(f"\n{each:8.1f} ms  {name}{'  over the goal' if each > GOAL_MS else ''}", end="")  # noqa: T201 - the report
    assert took
