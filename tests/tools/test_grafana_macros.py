"""Queries become what Grafana would send to PostgreSQL (tests/support/grafana_macros.py)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.grafana_macros import Fill, MacroError, expand, expand_variables, parse_range, seoul

NOW = datetime(2026, 6, 21, 5, 30, tzinfo=UTC)
HOUR = parse_range("now-1h", "now", now=NOW)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("$__time(at)", 'at AS "time"'),
        ("$__timeFilter(at)", "at BETWEEN '2026-06-21T04:30:00Z' AND '2026-06-21T05:30:00Z'"),
        ("$__timeFrom()", "'2026-06-21T04:30:00Z'"),
        ("$__unixEpochTo()", "1782019800"),
        ("$__unixEpochFilter(at)", "at >= 1782016200 AND at <= 1782019800"),
        ("$__timeGroup(at, '15m')", "floor(extract(epoch from at)/900)*900"),
        ("$__timeGroupAlias(at,$__interval)", 'floor(extract(epoch from at)/60)*60 AS "time"'),
        ("$__interval_ms", "60000"),
    ],
)
def test_macro_becomes_sql(given: str, expected: str) -> None:
    assert expand(given, HOUR).sql == expected


def test_third_argument_of_a_group_says_how_gaps_are_filled() -> None:
    assert expand("$__timeGroup(at,'1m',NULL)", HOUR).fill == Fill(60_000, "null")
    assert expand("$__timeGroup(at,'1m',0)", HOUR).fill == Fill(60_000, "value", 0.0)


@pytest.mark.parametrize("wrong", ["$__unknown(at)", "$__timeFilter()", "$__timeGroup(at)", "$__timeGroup(at,'soon')"])
def test_what_grafana_refuses_is_refused(wrong: str) -> None:
    with pytest.raises(MacroError):
        expand(wrong, HOUR)


def test_a_day_is_that_of_the_dashboards_time_zone() -> None:
    today = parse_range("now/d", "now/d", now=NOW, zone=seoul())
    assert today.start == datetime(2026, 6, 20, 15, tzinfo=UTC)
    assert today.end == datetime(2026, 6, 21, 14, 59, 59, 999_000, tzinfo=UTC)


def test_values_of_variables_cannot_leave_their_quotes() -> None:
    values = {"channel": ["ch2", "o'clock"], "least": "5'"}
    text = "WHERE c IN (${channel:sqlstring}) AND w >= '$least' AND $__timeFilter(at)"
    assert expand_variables(text, values) == "WHERE c IN ('ch2','o''clock') AND w >= '5''' AND $__timeFilter(at)"
