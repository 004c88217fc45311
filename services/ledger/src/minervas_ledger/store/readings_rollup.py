"""SQL that stores what is new of the staged readings, and rolls just that up by the minute and the hour.

A roll-up row is what it was, and what is new: counts and sums add up, and of two extremes one stays. So it is right in
whatever order readings come, for nothing is stored twice, and stays right when the readings of a day are archived.
"""

from __future__ import annotations

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

KEY = "member, meter, channel, time_ms, spool, sequence"
CONTENT = "quality, power_mw, voltage_mv, current_ma, energy_mwh, fault, request, reply"


def _earlier(name: str) -> str:
    """Which of two rows has the earlier first register."""
    is_earlier = "r.first_ms IS NULL OR (excluded.first_ms, excluded.first_mwh) < (r.first_ms, r.first_mwh)"
    return f"{name} = CASE WHEN {is_earlier} THEN excluded.{name} ELSE r.{name} END"


def _later(name: str) -> str:
    """Which of two rows has the later last register."""
    is_later = "r.last_ms IS NULL OR (excluded.last_ms, excluded.last_mwh) > (r.last_ms, r.last_mwh)"
    return f"{name} = CASE WHEN {is_later} THEN excluded.{name} ELSE r.{name} END"


def _added(name: str) -> str:
    return f"{name} = r.{name} + excluded.{name}"


def _roll_up(table: str, start: str, width_ms: int) -> str:
    """Add the rows of ``fresh`` to a roll-up."""
    merged = (
        *map(_added, ("measured", "substituted", "missing", "powers", "power_sum_mw")),
        "power_min_mw = least(r.power_min_mw, excluded.power_min_mw)",
        "power_max_mw = greatest(r.power_max_mw, excluded.power_max_mw)",
        *map(_earlier, ("first_ms", "first_mwh")),
        *map(_later, ("last_ms", "last_mwh")),
    )
    registers = "(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL)"
    return f"""
    INSERT INTO {table} AS r (
        member, meter, channel, {start}, measured, substituted, missing, powers, power_sum_mw,
        power_min_mw, power_max_mw, first_ms, first_mwh, last_ms, last_mwh
    )
    SELECT member, meter, channel, time_ms - time_ms % {width_ms} AS {start},
        count(*) FILTER (WHERE quality = 'measured'), count(*) FILTER (WHERE quality = 'substituted'),
        count(*) FILTER (WHERE quality = 'missing'), count(power_mw), coalesce(sum(power_mw), 0),
        min(power_mw), max(power_mw), (min{registers})[1], (min{registers})[2], (max{registers})[1], (max{registers})[2]
    FROM fresh GROUP BY member, meter, channel, {start}
    ON CONFLICT (member, meter, channel, {start}) DO UPDATE SET {", ".join(merged)}
    """  # noqa: S608 - names are constants


INSERT_NEW = f"""
WITH fresh AS (
    INSERT INTO readings ({KEY}, {CONTENT}, stored_ms)
    SELECT {KEY}, {CONTENT}, stored_ms FROM staging ORDER BY place
    ON CONFLICT DO NOTHING RETURNING member, meter, channel, time_ms, quality, power_mw, energy_mwh
),
minutes AS ({_roll_up("readings_minute", "minute_ms", MINUTE_MS)}),
hours AS ({_roll_up("readings_hour", "hour_ms", HOUR_MS)})
SELECT member, meter, channel, count(*), max(time_ms) FROM fresh GROUP BY member, meter, channel
"""  # noqa: S608 - names are constants
"""Of two of one key the first one stays, also within one staging."""
