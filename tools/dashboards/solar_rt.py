"""`solar-rt`: what the panels give now, once a second. One query; the other panels show parts of its answer."""

from __future__ import annotations

from tools.dashboards.board import Board, Query, Shared
from tools.dashboards.panels import (
    BLUE,
    CHANNEL_NAME,
    GREY,
    ORANGE,
    VERMILION,
    gauge,
    keep,
    ranges,
    stat,
    steps,
    timeseries,
)
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import CHANNEL, FROM_MS, RATED, TO_MS, moment

LONGEST_MS = 900_000
"""However long a range somebody chooses, no more than this before its end is read each second."""

LATE_S, STOPPED_S = 5, 60

LIVE = f"""
SELECT {moment("r.time_ms")} AS "time", {CHANNEL} AS channel,
    r.power_mw::float8 / 1000 AS watt, r.voltage_mv::float8 / 1000 AS volt, r.current_ma::float8 / 1000 AS amp,
    r.power_mw::float8 / 1000 / nullif(p.rated_w, 0) AS load,
    CASE WHEN r.power_mw IS NOT NULL THEN (extract(epoch FROM now()) - r.time_ms / 1000.0)::float8 END AS age
FROM reading_channels AS c
JOIN readings AS r USING (member, meter, channel)
LEFT JOIN ({RATED}) AS p USING (member, meter, channel)
WHERE r.time_ms >= greatest({FROM_MS}, {TO_MS} - {LONGEST_MS}) AND r.time_ms < {TO_MS}
ORDER BY r.time_ms, 2
LIMIT 100000
"""


def only(name: str) -> list[Json]:
    """The series of one number."""
    return [keep(f"^([Tt]ime|{name}( .*)?)$")]


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "solar-rt",
        say("실시간 발전", "Solar: real time"),
        say(
            "지금 채널별로 나오는 전력, 전압, 전류. 1초마다 새로 읽습니다.",
            "Power, voltage and current of each channel now, every second.",
        ),
        time=("now-5m", "now"),
        refresh="1s",
    )
    live = board.reserve()
    _powers(board, Shared(live))
    _ages(board, Shared(live))
    _curves(board, live)
    return board.json()


def _named(setting: Setting) -> Json:
    return {"displayName": CHANNEL_NAME, "noValue": setting.say("이 구간에 측정 없음", "No reading in this range")}


def _powers(board: Board, shared: Shared) -> None:
    say, named = board.setting.say, _named(board.setting)
    board.add(
        say("현재 출력", "Power now"),
        say(
            "값이 있는 마지막 측정. 얼마나 지났는지는 옆에 있습니다. 측정되지 않은 값은 0이 아닙니다.",
            "The last sample with a value; its age stands beside it. What was not measured is not 0.",
        ),
        (9, 6),
        stat(named | {"unit": "watt", "decimals": 1}, transformations=only("watt"), graphMode="area"),
        shared,
    )
    board.add(
        say("정격 대비", "Share of rated power"),
        say("등록된 정격 출력에 대한 현재 출력.", "Power now against the rated power that is registered on the chain."),
        (7, 6),
        gauge(named | {"unit": "percentunit", "min": 0, "max": 1, "decimals": 0}, transformations=only("load")),
        shared,
    )


def _ages(board: Board, shared: Shared) -> None:
    say, named = board.setting.say, _named(board.setting)
    states = ranges(
        (None, LATE_S, say("정상", "On time"), BLUE),
        (LATE_S, STOPPED_S, say("지연", "Late"), ORANGE),
        (STOPPED_S, None, say("중단", "Stopped"), VERMILION),
    )
    age = named | {"unit": "s", "decimals": 1, "thresholds": steps(BLUE, (LATE_S, ORANGE), (STOPPED_S, VERMILION))}
    board.add(
        say("마지막 측정 후", "Age of the last sample"),
        say(
            "값이 있는 마지막 측정이 몇 초 전 것인지.",
            "How many seconds ago the last sample with a value was taken.",
        ),
        (4, 6),
        stat(age, transformations=only("age")),
        shared,
    )
    board.add(
        say("상태", "State"),
        say(
            "정상: 5초 이내. 지연: 60초 이내. 중단: 그보다 오래.",
            "On time: within 5 s. Late: within 60 s. Stopped: longer.",
        ),
        (4, 6),
        stat(named | {"mappings": states, "thresholds": steps(GREY)}, transformations=only("age")),
        shared,
    )


def _curves(board: Board, live: int) -> None:
    say = board.setting.say
    gaps: Json = {"insertNulls": 3_000}
    watt: Json = {"unit": "watt", "decimals": 1, "displayName": CHANNEL_NAME}
    board.add(
        say("전력", "Power"),
        say(
            "채널별 전력. 3초 넘게 빠진 곳은 선이 끊깁니다.",
            "Power by channel. The line breaks where more than 3 s are missing.",
        ),
        (24, 9),
        timeseries(watt, custom=gaps, transformations=only("watt")),
        Query(LIVE, "time_series"),
        number=live,
    )
    for name, unit, korean, english in (("volt", "volt", "전압", "Voltage"), ("amp", "amp", "전류", "Current")):
        board.add(
            say(korean, english),
            say(f"채널별 {korean}.", f"{english} by channel."),
            (12, 7),
            timeseries(
                {"unit": unit, "decimals": 2, "displayName": CHANNEL_NAME}, custom=gaps, transformations=only(name)
            ),
            Shared(live),
        )
