"""`solar-today`: the day so far, from the roll-up of the minutes."""

from __future__ import annotations

from tools.dashboards.board import Board, Query
from tools.dashboards.gaps import add_gaps
from tools.dashboards.panels import (
    CHANNEL_NAME,
    GREY,
    bars,
    matched,
    override,
    table,
    timeseries,
)
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import CHANNEL, FROM_MS, MINUTE_MS, RATED, TO_MS, UNTIL_MS, energy, moment, rolled_up
from tools.dashboards.tiles import Tile, add_tiles

QUARTER_MS = 900_000
WEEK_MS = 604_800_000
"""A channel that is silent for longer before the day is no longer expected in it."""

EXPECTED = f"""
    SELECT member, meter, channel, sum(e.power_mw * least(e.step_ms, {UNTIL_MS} - e.time_ms)) / 3600000 AS mwh
    FROM reading_channels AS c JOIN expected_output AS e USING (member, meter, channel)
    WHERE e.time_ms >= {FROM_MS} AND e.time_ms < {UNTIL_MS} GROUP BY 1, 2, 3"""

BY_CHANNEL = f"""
WITH {energy(over_gaps=True)}, counted AS ({
    rolled_up('''member, meter, channel, sum(m.measured) AS measured,
        sum(m.substituted + m.missing) AS without, max(m.measured + m.substituted + m.missing) AS usual,
        max(m.power_max_mw) AS peak_mw,
        (array_agg(m.minute_ms ORDER BY m.power_max_mw DESC NULLS LAST, m.minute_ms))[1] AS peak_ms''')
}
    GROUP BY 1, 2, 3
), metered AS (SELECT member, meter, channel, sum(mwh) AS mwh FROM energy GROUP BY 1, 2, 3
), expected AS ({EXPECTED}
)
SELECT {CHANNEL} AS channel, metered.mwh / 1e6 AS energy, peak_mw / 1000.0 AS peak,
    CASE WHEN peak_mw IS NOT NULL THEN {moment("peak_ms")} END AS peak_at,
    least(1, coalesce(measured, 0) / (coalesce(usual, 60) * greatest({UNTIL_MS} - ({FROM_MS}), 60000) / 60000.0))
        AS completeness,
    without, metered.mwh / 1e6 / (rated_w / 1000.0) AS specific, expected.mwh / 1e6 AS expected,
    metered.mwh / nullif(expected.mwh, 0) AS performance
FROM reading_channels AS c
LEFT JOIN counted USING (member, meter, channel) LEFT JOIN metered USING (member, meter, channel)
LEFT JOIN expected USING (member, meter, channel) LEFT JOIN ({RATED}) AS p USING (member, meter, channel)
ORDER BY 1 LIMIT 100
"""

TOTAL = f"""
WITH {energy(over_gaps=True)}, site AS ({rolled_up('''m.minute_ms, sum(m.power_avg_mw) AS power_mw''')}
    GROUP BY 1
), there AS ({
    rolled_up('''member, meter, channel, sum(m.measured) AS measured,
        max(m.measured + m.substituted + m.missing) AS usual''')
}
    GROUP BY 1, 2, 3
), counted AS (
    SELECT member, meter, channel, coalesce(there.measured, 0) AS measured,
        coalesce(there.usual, max(there.usual) OVER (), 60) AS usual
    FROM reading_channels AS c LEFT JOIN there USING (member, meter, channel)
    WHERE there.member IS NOT NULL OR (c.newest_ms >= {FROM_MS} - {WEEK_MS} AND NOT EXISTS (
        SELECT FROM meters AS p WHERE p.member = c.member AND p.meter = c.meter AND p.registered_ms >= {TO_MS}))
), expected AS ({EXPECTED}
), metered AS (SELECT member, meter, channel, sum(mwh) AS mwh FROM energy GROUP BY 1, 2, 3
), compared AS (SELECT sum(metered.mwh) / nullif(sum(expected.mwh), 0) AS ratio FROM expected
    LEFT JOIN metered USING (member, meter, channel)
), peak AS (SELECT power_mw, minute_ms FROM site WHERE power_mw IS NOT NULL ORDER BY power_mw DESC, minute_ms LIMIT 1)
SELECT (SELECT sum(mwh) FROM metered) / 1e6 AS energy,
    (SELECT power_mw FROM peak) / 1000.0 AS peak, (SELECT minute_ms FROM peak) AS peak_at,
    (SELECT sum(measured) / greatest(sum(measured), sum(usual) * greatest({UNTIL_MS} - ({FROM_MS}), 60000) / 60000.0)
        FROM counted)
        AS completeness,
    (SELECT sum(mwh) FROM metered JOIN ({RATED}) AS p USING (member, meter, channel)) / 1e6
        / (SELECT sum(rated_w) / 1000.0 FROM counted JOIN ({RATED}) AS p USING (member, meter, channel)) AS specific,
    (SELECT ratio FROM compared) AS performance
LIMIT 1
"""

CURVE = f"""
{rolled_up(f'''{moment("m.minute_ms")} AS "time", {CHANNEL} AS channel, m.power_avg_mw / 1000.0 AS watt''').strip()}
ORDER BY m.minute_ms, 2
"""

CLEAR_SKY = f"""
SELECT {moment("e.time_ms")} AS "time", {CHANNEL} AS channel, e.power_mw / 1000.0 AS expected
FROM reading_channels AS c JOIN expected_output AS e USING (member, meter, channel)
WHERE e.time_ms >= {FROM_MS} AND e.time_ms < {TO_MS}
ORDER BY e.time_ms, 2
"""

QUARTERS = f"""
WITH {energy()}
SELECT {moment(f"(start_ms - start_ms % {QUARTER_MS})")} AS "time", {CHANNEL} AS channel, sum(mwh) / 1e6 AS energy
FROM energy GROUP BY start_ms - start_ms % {QUARTER_MS}, meter, channel
ORDER BY 1, 2
"""


TILES = (
    Tile("energy", "kwatth", 3, ("발전량", "Energy"),
         ("계량기 레지스터의 차이. 통신이 끊긴 동안 계량된 것도 들어갑니다.",
          "Difference of the meters' registers; what they counted during a gap is in it.")),
    Tile("peak", "watt", 0, ("최대 출력", "Peak"),
         ("모든 채널을 합한 1분 평균의 최댓값.", "Highest mean of a minute, all channels together.")),
    Tile("peak_at", "time:HH:mm", 0, ("최대 출력 시각", "Time of the peak"),
         ("최대 출력이 나온 1분의 시작.", "When the minute of the peak began.")),
    Tile("completeness", "percentunit", 1, ("측정률", "Completeness"),
         ("지금까지 있어야 할 측정 가운데 저장된 비율.", "Stored samples against those that there should be by now.")),
    Tile("specific", "suffix: kWh/kWp", 2, ("단위 발전량", "Specific yield"),
         ("정격 1 kW당 발전량.", "Energy for each kW of rated power.")),
    Tile("performance", "percentunit", 0, ("성능비", "Performance ratio"),
         ("맑은 하늘에서 기대되는 발전량에 대한 비율. 기대값을 계산하는 작업이 돌 때만 있습니다.",
          "Energy against what a clear sky would have brought; only where the job that computes it runs.")),
)  # fmt: skip
"""Numbers at the head."""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "solar-today",
        say("오늘의 발전", "Solar: today"),
        say(
            f"하루({setting.zone} 자정부터)의 발전량과 곡선. 다른 날은 시간 범위에서 고릅니다.",
            f"Energy and curve of a day, from midnight in {setting.zone}. Choose another day with the time range.",
        ),
        time=("now/d", "now/d"),
        refresh="30s",
    )
    add_tiles(board, Query(TOTAL), TILES, ("자료 없음", "No data"))
    _curve(board)
    _channels(board)
    add_gaps(board)
    return board.json()


def _curve(board: Board) -> None:
    say = board.setting.say
    clear = matched(
        "byFrameRefID",
        "B",
        displayName=say(f"{CHANNEL_NAME} 맑은 하늘", f"{CHANNEL_NAME} clear sky"),
        custom__lineStyle={"fill": "dot", "dash": [2, 6]},
        custom__lineWidth=1,
        custom__fillOpacity=0,
        color={"mode": "fixed", "fixedColor": GREY},
    )
    board.add(
        say("출력 곡선", "Power curve"),
        say(
            "채널별 1분 평균. 점선은 맑은 하늘에서 기대되는 출력.",
            "Mean of each minute by channel; dotted, what a clear sky would give.",
        ),
        (24, 9),
        timeseries(
            {"unit": "watt", "decimals": 1, "displayName": CHANNEL_NAME},
            custom={"insertNulls": 3 * MINUTE_MS},
            overrides=[clear],
        ),
        Query(CURVE, "time_series"),
        Query(CLEAR_SKY, "time_series"),
    )
    stacked = bars(QUARTER_MS) | {"stacking": {"mode": "normal", "group": "A"}}
    board.add(
        say("15분 발전량", "Energy by quarters of an hour"),
        say(
            "레지스터가 15분마다 센 양. 빠진 구간의 것은 들어가지 않습니다.",
            "What the registers counted in each quarter; without what fell into gaps.",
        ),
        (24, 7),
        timeseries({"unit": "kwatth", "decimals": 1, "displayName": CHANNEL_NAME}, custom=stacked),
        Query(QUARTERS, "time_series"),
    )


def _channels(board: Board) -> None:
    say = board.setting.say
    board.add(
        say("채널별", "By channel"),
        say("채널마다 발전량, 최대 순시 출력, 측정률.", "Energy, highest sample and completeness of each channel."),
        (24, 5),
        table(
            [
                override("channel", displayName=say("채널", "Channel")),
                override("energy", displayName=say("발전량", "Energy"), unit="kwatth", decimals=3),
                override("peak", displayName=say("최대 순시", "Highest sample"), unit="watt", decimals=1),
                override("peak_at", displayName=say("그 시각", "At"), unit="time:HH:mm"),
                override("completeness", displayName=say("측정률", "Completeness"), unit="percentunit", decimals=1),
                override("without", displayName=say("값 없는 측정", "Samples without a value"), unit="short"),
                override(
                    "specific", displayName=say("단위 발전량", "Specific yield"), unit="suffix: kWh/kWp", decimals=2
                ),
                override("expected", displayName=say("기대 발전량", "Clear sky"), unit="kwatth", decimals=3),
                override("performance", displayName=say("성능비", "Performance ratio"), unit="percentunit", decimals=0),
            ]
        ),
        Query(BY_CHANNEL),
    )
