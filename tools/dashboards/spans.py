"""SQL that several dashboards share: the bounds of the time range, rows of roll-ups, and energy from registers.

Rules: a member's rows are reached through `reading_channels`, so that the roll-up's and the raw table's key is used in
full; bounds are numbers once the macros are expanded, so that PostgreSQL leaves out days when it plans; nothing that
was not measured becomes 0.
"""

from __future__ import annotations

FROM_MS = "$__unixEpochFrom() * 1000::bigint"
TO_MS = "($__unixEpochTo() + 1) * 1000::bigint"
"""End of the range, which does not belong to it."""
NOW_MS = "(extract(epoch FROM now()) * 1000)::bigint"
UNTIL_MS = f"least({TO_MS}, {NOW_MS})"
"""End of what can have been measured."""

CHANNEL = "meter || '/' || channel"
"""How a channel is called: a member may have several meters with channels of the same name."""

MINUTE_MS, HOUR_MS = 60_000, 3_600_000

RATED = "SELECT member, meter, unnest(channels) AS channel, unnest(rated_w) AS rated_w FROM meters"
"""Rated power of each channel, from the chain."""


def moment(milliseconds: str) -> str:
    """A time for Grafana."""
    return f"to_timestamp({milliseconds} / 1000.0)"


def local(milliseconds: str, zone: str) -> str:
    """The clock's time at a place."""
    return f"(to_timestamp({milliseconds} / 1000.0) AT TIME ZONE '{zone}')"


def rolled_up(columns: str, *, hours: bool = False, condition: str = "", before_ms: int = 0) -> str:
    """Rows of a roll-up within the time range, as ``m``; ``c`` is the channel.

    Args:
        columns: what is selected.
        hours: of the hours instead of the minutes.
        condition: further ones.
        before_ms: how much before the range is taken, too.
    """
    table, start = ("readings_hour", "hour_ms") if hours else ("readings_minute", "minute_ms")
    begin = f"{FROM_MS} - {before_ms}" if before_ms else FROM_MS
    further = f"\n      AND {condition}" if condition else ""
    return f"""
    SELECT {columns}
    FROM reading_channels AS c JOIN {table} AS m USING (member, meter, channel)
    WHERE m.{start} >= {begin} AND m.{start} < {TO_MS}{further}""".rstrip()


def energy(*, hours: bool = False, condition: str = "", over_gaps: bool = False) -> str:
    """Two tables of a WITH: ``energy`` has the energy of each minute or hour, ``start_ms``, as its register counted it.

    The register before is that of the row before, so that nothing between two rows is lost. What it counted in a gap is
    left out, because nobody knows when that was, or with `over_gaps` given to the row after it. A register that went
    back was reset.
    """
    start, width = ("hour_ms", HOUR_MS) if hours else ("minute_ms", MINUTE_MS)
    columns = f"""member, meter, channel, m.{start} AS start_ms, m.first_mwh, m.last_mwh,
        lag(m.last_mwh) OVER same AS before_mwh, lag(m.{start}) OVER same AS before_ms"""
    condition = "m.last_mwh IS NOT NULL" + (f" AND {condition}" if condition else "")
    rows = rolled_up(columns, hours=hours, condition=condition, before_ms=width)
    adjacent = "" if over_gaps else f" AND before_ms = start_ms - {width}"
    return f"""registers AS ({rows}
    WINDOW same AS (PARTITION BY member, meter, channel ORDER BY m.{start})
), energy AS (
    SELECT member, meter, channel, start_ms,
        CASE WHEN before_mwh <= first_mwh{adjacent} THEN last_mwh - before_mwh
            WHEN last_mwh >= first_mwh THEN last_mwh - first_mwh END AS mwh
    FROM registers WHERE start_ms >= {FROM_MS}
)"""
