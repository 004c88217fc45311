"""Where samples are missing: SQL and panels that today's and the history's dashboards share."""

from __future__ import annotations

from tools.dashboards.board import Board, Query
from tools.dashboards.panels import BLUE, ORANGE, VERMILION, override, states, table, words
from tools.dashboards.spans import CHANNEL, FROM_MS, HOUR_MS, MINUTE_MS, TO_MS, UNTIL_MS, moment, rolled_up

SHORTEST_MS = 5_000
"""Shorter gaps are not listed."""
COMPLETE = 0.98
"""Share of samples from which on a time counts as complete."""
SLOT_MS = 300_000


def gap_list(condition: str = "") -> str:
    """Gaps between the last sample of an hour and the next hour's first, and within hours that lack samples.

    A gap that began before the time range is listed from its beginning. How often a gateway samples is seen in the
    channel's fullest hour. The last gap may still be open.
    """
    columns = f"""member, meter, channel, m.hour_ms, m.hour_ms + {HOUR_MS} AS end_ms, m.first_ms, m.last_ms AS from_ms,
        lead(m.first_ms) OVER same AS next_ms, m.measured + m.substituted AS had,
        min((m.last_ms - m.first_ms) / nullif(m.measured + m.substituted - 1, 0))
            OVER (PARTITION BY member, meter, channel) AS usual_ms"""
    channels = f"WHERE {condition}" if condition else ""
    condition = "m.first_ms IS NOT NULL" + (f" AND {condition}" if condition else "")
    return f"""
WITH hours AS ({rolled_up(columns, hours=True, condition=condition)}
    WINDOW same AS (PARTITION BY member, meter, channel ORDER BY m.hour_ms)
), within AS (
    SELECT h.meter, h.channel, h.usual_ms, m.last_ms AS from_ms,
        lead(m.first_ms) OVER (PARTITION BY h.member, h.meter, h.channel, h.hour_ms ORDER BY m.minute_ms) AS next_ms
    FROM hours AS h JOIN readings_minute AS m ON m.member = h.member AND m.meter = h.meter AND m.channel = h.channel
        AND m.minute_ms >= h.hour_ms AND m.minute_ms < h.end_ms
    WHERE (h.had + 1) * h.usual_ms < {HOUR_MS} AND m.first_ms IS NOT NULL
        AND m.minute_ms >= {FROM_MS} AND m.minute_ms < {TO_MS}
), first AS (
    SELECT meter, channel, l.from_ms, n.next_ms, n.usual_ms FROM reading_channels AS c CROSS JOIN LATERAL (
        SELECT last_ms AS from_ms FROM readings_hour WHERE member = c.member AND meter = c.meter AND channel = c.channel
            AND hour_ms < {FROM_MS} AND last_ms IS NOT NULL ORDER BY hour_ms DESC LIMIT 1
    ) AS l CROSS JOIN LATERAL (
        SELECT min(h.first_ms) AS next_ms, min(h.usual_ms) AS usual_ms FROM hours AS h
        WHERE h.member = c.member AND h.meter = c.meter AND h.channel = c.channel
    ) AS n {channels}
), gaps AS (
    SELECT meter, channel, usual_ms, from_ms, next_ms FROM within WHERE next_ms IS NOT NULL
    UNION ALL SELECT meter, channel, usual_ms, from_ms, next_ms FROM hours
    UNION ALL SELECT meter, channel, usual_ms, from_ms, next_ms FROM first
)
SELECT {moment("from_ms")} AS "from", {moment("next_ms")} AS until, {CHANNEL} AS channel,
    (coalesce(next_ms, {UNTIL_MS}) - from_ms) / 1000.0 AS seconds
FROM gaps WHERE coalesce(next_ms, {UNTIL_MS}) - from_ms > greatest({SHORTEST_MS}, 3 * usual_ms)
ORDER BY from_ms DESC LIMIT 200
"""


def state_bands(*, hours: bool = False, condition: str = "") -> str:
    """For each slot of 5 minutes or an hour: 0 nothing was measured, 1 samples are missing, 2 complete."""
    start, width, slot = ("hour_ms", HOUR_MS, HOUR_MS) if hours else ("minute_ms", MINUTE_MS, SLOT_MS)
    columns = f"""member, meter, channel, m.{start} - m.{start} % {slot} AS slot_ms, m.measured,
        (m.measured + m.substituted + m.missing) * {slot // width} AS full_count"""
    channels = f"WHERE {condition}" if condition else ""
    return f"""
WITH slots AS (
    SELECT generate_series(({FROM_MS}) / {slot} * {slot}, {UNTIL_MS} - {slot}, {slot}) AS slot_ms LIMIT 10000
), counts AS ({rolled_up(columns, hours=hours, condition=condition)}
    UNION ALL SELECT member, meter, channel, slot_ms, 0, 0 FROM reading_channels AS c CROSS JOIN slots {channels}
), states AS (
    SELECT member, meter, channel, slot_ms, sum(measured) AS measured,
        max(max(full_count)) OVER (PARTITION BY member, meter, channel) AS full_count
    FROM counts GROUP BY 1, 2, 3, 4
)
SELECT {moment("slot_ms")} AS "time", {CHANNEL} AS channel,
    CASE WHEN measured = 0 THEN 0 WHEN measured < {COMPLETE} * full_count THEN 1 ELSE 2 END AS state
FROM states WHERE slot_ms + {slot} <= {UNTIL_MS} ORDER BY 1, 2
"""


def add_gaps(board: Board, *, hours: bool = False, condition: str = "") -> None:
    """Add the bands and the list."""
    say = board.setting.say
    texts = {
        "0": (say("없음", "Nothing"), VERMILION),
        "1": (say("일부", "Partly"), ORANGE),
        "2": (say("완전", "Complete"), BLUE),
    }
    slot = say("1시간", "an hour") if hours else say("5분", "5 minutes")
    board.add(
        say("측정 상태", "What was measured"),
        say(
            f"{slot}마다: 완전은 측정의 98% 이상, 일부는 그 아래, 없음은 하나도 없음.",
            f"For every {slot.removeprefix('an ')}: complete from 98 % of the samples on, partly below, "
            f"nothing without any.",
        ),
        (14, 8),
        states(words(texts)),
        Query(state_bands(hours=hours, condition=condition), "time_series"),
    )
    still = say("계속", "still open")
    board.add(
        say("빠진 구간", "Gaps"),
        say("5초 넘게 측정이 없던 구간, 최근 200개.", "Where there is no sample for more than 5 s; the newest 200."),
        (10, 8),
        table(
            [
                override("from", displayName=say("부터", "From"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170),
                override("until", displayName=say("까지", "Until"), noValue=still, unit="time:YYYY-MM-DD HH:mm:ss"),
                override("channel", displayName=say("채널", "Channel")),
                override("seconds", displayName=say("길이", "Length"), unit="dthms"),
            ]
        ),
        Query(gap_list(condition)),
    )
