"""Where samples are missing: SQL and panels that today's and the history's dashboards share."""

from __future__ import annotations

from tools.dashboards.board import Board, Query
from tools.dashboards.panels import BLUE, ORANGE, VERMILION, override, states, table, words
from tools.dashboards.spans import CHANNEL, FROM_MS, HOUR_MS, MINUTE_MS, UNTIL_MS, moment, rolled_up

SHORTEST_MS = 5_000
"""Shorter gaps are not listed."""
COMPLETE = 0.98
"""Share of samples from which on a time counts as complete."""
SLOT_MS = 300_000


def gap_list(condition: str = "") -> str:
    """Gaps between the last sample of a minute and the first one of the next row; the last one may still be open.

    How often a gateway samples is taken from the fullest minute of the channel.
    """
    columns = """member, meter, channel, m.last_ms AS from_ms,
        lead(m.first_ms) OVER same AS next_ms,
        max(m.measured + m.substituted) OVER (PARTITION BY member, meter, channel) AS usual"""
    condition = "m.first_ms IS NOT NULL" + (f" AND {condition}" if condition else "")
    return f"""
WITH rows AS ({rolled_up(columns, condition=condition)}
    WINDOW same AS (PARTITION BY member, meter, channel ORDER BY m.minute_ms)
), gaps AS (
    SELECT meter, channel, from_ms, next_ms, coalesce(next_ms, {UNTIL_MS}) - from_ms AS length_ms, usual FROM rows
)
SELECT {moment("from_ms")} AS "from", {moment("next_ms")} AS until, {CHANNEL} AS channel,
    length_ms / 1000.0 AS seconds
FROM gaps WHERE length_ms > greatest({SHORTEST_MS}, 180000 / greatest(usual, 1))
ORDER BY from_ms DESC LIMIT 200
"""


def state_bands(*, hours: bool = False, condition: str = "") -> str:
    """For each slot of 5 minutes or an hour: 0 nothing was measured, 1 samples are missing, 2 complete."""
    start, width, slot = ("hour_ms", HOUR_MS, HOUR_MS) if hours else ("minute_ms", MINUTE_MS, SLOT_MS)
    columns = f"""member, meter, channel, m.{start} - m.{start} % {slot} AS slot_ms,
        sum(m.measured) AS measured, max(m.measured + m.substituted + m.missing) * {slot // width} AS full_count"""
    channels = f"WHERE {condition}" if condition else ""
    return f"""
WITH counts AS ({rolled_up(columns, hours=hours, condition=condition)}
    GROUP BY 1, 2, 3, 4
), usual AS (
    SELECT member, meter, channel, max(full_count) AS full_count FROM counts GROUP BY 1, 2, 3
), slots AS (
    SELECT generate_series(({FROM_MS}) / {slot} * {slot}, {UNTIL_MS} - {slot}, {slot}) AS slot_ms LIMIT 10000
)
SELECT {moment("slot_ms")} AS "time", {CHANNEL} AS channel,
    CASE WHEN coalesce(measured, 0) = 0 THEN 0 WHEN measured < {COMPLETE} * usual.full_count THEN 1 ELSE 2 END AS state
FROM (SELECT member, meter, channel FROM reading_channels AS c {channels}) AS c CROSS JOIN slots
LEFT JOIN counts USING (member, meter, channel, slot_ms) LEFT JOIN usual USING (member, meter, channel)
ORDER BY 1
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
                override("from", displayName=say("부터", "From")),
                override("until", displayName=say("까지", "Until"), noValue=still),
                override("channel", displayName=say("채널", "Channel")),
                override("seconds", displayName=say("길이", "Length"), unit="dtdurations"),
            ]
        ),
        Query(gap_list(condition)),
    )
