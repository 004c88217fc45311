"""`solar-history`: searching what was metered. Everything but the list of samples is from roll-ups."""

from __future__ import annotations

from tools.dashboards.board import Board, Query
from tools.dashboards.gaps import add_gaps
from tools.dashboards.panels import BLUE, CHANNEL_NAME, ORANGE, VERMILION, barchart, heatmap, override, table, words
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import CHANNEL, FROM_MS, HOUR_MS, MINUTE_MS, NOW_MS, TO_MS, energy, local, moment, rolled_up
from tools.dashboards.variables import ONE_OF_CHANNELS, channel, choice, number

DAY_MS = 86_400_000
LEAST_MW = "(coalesce(nullif(${min_watt:sqlstring}, ''), '0')::numeric * 1000)::bigint"
"""Nothing typed in means 0."""
MOST_SAMPLES = 1_000


def bars(zone: str) -> str:
    """Energy by the hour, day or month."""
    bucket = f"date_trunc(${{bucket:sqlstring}}, {local('start_ms', zone)}) AT TIME ZONE '{zone}'"
    return f"""
WITH {energy(hours=True, condition=ONE_OF_CHANNELS)}
SELECT {bucket} AS "time", {CHANNEL} AS channel, sum(mwh) / 1e6 AS energy
FROM energy GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 20000
"""


def hours_by_day(zone: str) -> str:
    """Energy of each hour of the day, all channels together; a row of the picture for each hour."""
    there = local("start_ms", zone)
    return f"""
WITH {energy(hours=True, condition=ONE_OF_CHANNELS)}
SELECT date_trunc('day', {there}) AT TIME ZONE '{zone}' AS "time",
    to_char({there}, 'HH24') AS hour, sum(mwh) / 1e3 AS energy
FROM energy GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 20000
"""


def days(zone: str) -> str:
    """A row for each day and channel."""
    there = local("m.hour_ms", zone)
    columns = f"""member, meter, channel, date_trunc('day', {there}) AS day,
        min(m.power_min_mw) AS least_mw, max(m.power_max_mw) AS peak_mw,
        sum(m.power_sum_mw) / nullif(sum(m.powers), 0) AS mean_mw, sum(m.measured) AS measured,
        sum(m.substituted + m.missing) AS without, max(m.measured + m.substituted + m.missing) AS usual"""
    counted = rolled_up(columns, hours=True, condition=ONE_OF_CHANNELS)
    begin = f"(extract(epoch FROM day AT TIME ZONE '{zone}') * 1000)::bigint"
    end = f"(extract(epoch FROM (day + interval '1 day') AT TIME ZONE '{zone}') * 1000)::bigint"
    length = f"greatest({HOUR_MS}, least({end}, {NOW_MS}, {TO_MS}) - greatest({begin}, {FROM_MS}))"
    return f"""
WITH {energy(hours=True, condition=ONE_OF_CHANNELS)}, counted AS ({counted}
    GROUP BY 1, 2, 3, 4
), metered AS (
    SELECT member, meter, channel, date_trunc('day', {local("start_ms", zone)}) AS day, sum(mwh) AS mwh
    FROM energy GROUP BY 1, 2, 3, 4
)
SELECT to_char(day, 'YYYY-MM-DD') AS day, {CHANNEL} AS channel, mwh / 1e6 AS energy, peak_mw / 1000.0 AS peak,
    mean_mw / 1000.0 AS mean, least_mw / 1000.0 AS least, without,
    least(1, measured / (max(usual) OVER (PARTITION BY member, meter, channel) * {length}
        / {HOUR_MS}.0)) AS completeness
FROM counted LEFT JOIN metered USING (member, meter, channel, day)
ORDER BY 1 DESC, 2 LIMIT 1000
"""


def samples() -> str:
    """The newest raw samples with at least so much power; the roll-up of the minutes says where to look.

    Only as many minutes are read as surely have enough such samples. Ends of minutes are computed beforehand: under
    row-level security PostgreSQL uses no index for a comparison that contains a sum.
    """
    return f"""
WITH minutes AS (
    SELECT c.member, c.meter, c.channel, m.minute_ms, m.end_ms, m.sure FROM reading_channels AS c CROSS JOIN LATERAL (
        SELECT minute_ms, minute_ms + {MINUTE_MS} AS end_ms,
            CASE WHEN {LEAST_MW} <= 0 THEN measured + substituted + missing
                WHEN power_min_mw >= {LEAST_MW} THEN powers ELSE 1 END AS sure
        FROM readings_minute
        WHERE member = c.member AND meter = c.meter AND channel = c.channel
            AND minute_ms >= {FROM_MS} AND minute_ms < {TO_MS} AND ({LEAST_MW} <= 0 OR power_max_mw >= {LEAST_MW})
        ORDER BY minute_ms DESC LIMIT {MOST_SAMPLES}
    ) AS m WHERE {ONE_OF_CHANNELS} ORDER BY m.minute_ms DESC LIMIT {MOST_SAMPLES}
), enough AS (
    SELECT *, sum(sure) OVER (ORDER BY minute_ms DESC, meter, channel ROWS UNBOUNDED PRECEDING) - sure AS newer
        FROM minutes
)
SELECT {moment("r.time_ms")} AS "time", e.meter || '/' || e.channel AS channel, r.power_mw / 1000.0 AS watt,
    r.voltage_mv / 1000.0 AS volt, r.current_ma / 1000.0 AS amp, r.energy_mwh / 1e6 AS register, r.quality, r.fault
FROM enough AS e CROSS JOIN LATERAL (
    SELECT * FROM readings
    WHERE member = e.member AND meter = e.meter AND channel = e.channel AND time_ms >= e.minute_ms
        AND time_ms < e.end_ms
      AND time_ms >= {FROM_MS} AND time_ms < {TO_MS} AND ({LEAST_MW} <= 0 OR power_mw >= {LEAST_MW})
) AS r
WHERE e.newer < {MOST_SAMPLES} ORDER BY r.time_ms DESC, 2 LIMIT {MOST_SAMPLES}
"""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    buckets = {"hour": say("시간", "hour"), "day": say("일", "day"), "month": say("월", "month")}
    board = Board(
        setting,
        "solar-history",
        say("발전 이력", "Solar: history"),
        say("기간, 채널, 최소 출력으로 이력을 찾습니다.", "Search what was metered by time, channel and least power."),
        time=("now-29d/d", "now"),
        refresh="",
        variables=[
            channel(say("채널", "Channel")),
            choice("bucket", say("묶음", "Bucket"), buckets, "day"),
            number("min_watt", say("최소 출력 (W)", "Least power (W)"), "0"),
        ],
    )
    _energy(board)
    _days(board)
    add_gaps(board, hours=True, condition=ONE_OF_CHANNELS)
    _samples(board)
    return board.json()


def _energy(board: Board) -> None:
    say, zone = board.setting.say, board.setting.zone
    board.add(
        say("발전량", "Energy"),
        say(
            "선택한 묶음마다 레지스터가 센 양. 빠진 구간의 것은 들어가지 않습니다.",
            "What the registers counted in each bucket; without what fell into gaps.",
        ),
        (24, 8),
        barchart({"unit": "kwatth", "decimals": 2, "displayName": CHANNEL_NAME}),
        Query(bars(zone), "time_series"),
    )
    board.add(
        say("날짜와 시각", "Hour by day"),
        say(
            "가로는 날짜, 세로는 하루의 시각, 색은 그 시간의 발전량. 빈칸은 자료 없음.",
            "Days from left to right, hours of the day downwards; the colour is the hour's energy, empty means "
            "no data.",
        ),
        (24, 9),
        heatmap("watth", "short", "hour"),
        Query(hours_by_day(zone), "time_series"),
    )


def _days(board: Board) -> None:
    say = board.setting.say
    board.add(
        say("일별", "By day"),
        say(
            "하루 발전량, 최대·평균·최소 순시 출력, 측정률.",
            "Energy of a day; highest, mean and lowest sample; completeness.",
        ),
        (24, 10),
        table(
            [
                override("day", displayName=say("날짜", "Day")),
                override("channel", displayName=say("채널", "Channel")),
                override("energy", displayName=say("발전량", "Energy"), unit="kwatth", decimals=3),
                override("peak", displayName=say("최대", "Highest"), unit="watt", decimals=1),
                override("mean", displayName=say("평균", "Mean"), unit="watt", decimals=1),
                override("least", displayName=say("최소", "Lowest"), unit="watt", decimals=1),
                override("without", displayName=say("값 없는 측정", "Samples without a value"), unit="short"),
                override("completeness", displayName=say("측정률", "Completeness"), unit="percentunit", decimals=1),
            ],
            rows=31,
        ),
        Query(days(board.setting.zone)),
    )


def _samples(board: Board) -> None:
    say = board.setting.say
    qualities = words(
        {
            "measured": (say("측정", "measured"), BLUE),
            "substituted": (say("대체", "substituted"), ORANGE),
            "missing": (say("없음", "missing"), VERMILION),
        }
    )
    board.add(
        say("원시 측정값", "Samples"),
        say(
            "기간 안에서 최소 출력 이상인 측정값, 최근 1,000개. 보관소로 옮긴 날은 여기 없습니다.",
            "Samples of the time range with at least the least power, the newest 1,000. Days that were moved "
            "into archives are not here.",
        ),
        (24, 10),
        table(
            [
                override("time", displayName=say("시각", "Time"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170),
                override("channel", displayName=say("채널", "Channel")),
                override("watt", displayName=say("전력", "Power"), unit="watt", decimals=3),
                override("volt", displayName=say("전압", "Voltage"), unit="volt", decimals=3),
                override("amp", displayName=say("전류", "Current"), unit="amp", decimals=3),
                override("register", displayName=say("레지스터", "Register"), unit="kwatth", decimals=3),
                override("quality", displayName=say("품질", "Quality"), mappings=qualities),
                override("fault", displayName=say("고장", "Fault")),
            ],
            rows=50,
        ),
        Query(samples()),
    )
