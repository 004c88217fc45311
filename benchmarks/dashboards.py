"""Dashboards: the history from roll-ups against the raw table, and the slowest panel, under a member's role."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime

from benchmarks.comparing import compared, seconds
from benchmarks.databases import Databases, databases
from benchmarks.results import Result
from tests.support.dashboard_queries import all_asked
from tests.support.dashboard_world import DAY_MS, DashboardWorld, Span

NOW = datetime(2026, 6, 21, 4, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp()) * 1000

DAYS_RAW = f"""
SELECT meter, channel, date_trunc('day', to_timestamp(time_ms / 1000.0) AT TIME ZONE 'Asia/Seoul') AS day,
    (max(energy_mwh) - min(energy_mwh)) / 1e6 AS energy
FROM readings WHERE time_ms >= {NOW_MS - 30 * DAY_MS} AND time_ms < {NOW_MS} GROUP BY 1, 2, 3 ORDER BY 3
"""  # noqa: S608 - numbers
"""Energy by day as one would ask the raw table."""


def measure(*, span_s: int = 86_400, rounds: int = 5) -> list[Result]:
    """Measure; takes about a minute, most of it to store three members' readings.

    Args:
        span_s: seconds of readings of two channels each.
        rounds: how often each query is asked.
    """
    with databases() as made:
        return measure_in(made, span_s=span_s, rounds=rounds)


def measure_in(made: Databases, *, span_s: int, rounds: int) -> list[Result]:
    """As `measure`, in a server that runs already."""
    world = DashboardWorld(made.server, made.empty(), ["m1", "m2", "m3"])
    span = Span(NOW_MS - span_s * 1_000, NOW_MS)
    world.meter(span)
    world.chain(Span(NOW_MS - max(span_s * 1_000, 3_600_000), NOW_MS))
    with world.owner() as owner:
        owner.execute("ANALYZE")
    asked = [each for each in all_asked() if each.kind == "member"]
    history = next(each for each in asked if each.name.startswith("solar-history") and "date_trunc" in each.sql)
    naive: list[float] = []
    ours: list[float] = []
    slowest = 0.0
    with world.readers.connect("m1") as connection:

        def took(query: str) -> float:
            return seconds(lambda: connection.execute(query.encode()).fetchall())

        for _ in range(rounds + 1):
            naive.append(took(DAYS_RAW))
            ours.append(took(history.at(NOW)))
        for each in asked:
            query = each.at(NOW)
            slowest = max(slowest, statistics.median(took(query) for _ in range(rounds)))
    world.close()
    results = compared("dashboards.history", naive[1:], ours[1:], per_s=1, unit="/s", goal=5)
    return [*results, Result("dashboards.slowest_panel", 1_000 * slowest, "ms", goal=200, better="lower")]
