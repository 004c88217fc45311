"""`fleet`: the operator's view of all members' nodes and readings."""

from __future__ import annotations

from tools.dashboards.alert_rules import ACTIVE
from tools.dashboards.board import Board, Query, Shared
from tools.dashboards.panels import (
    BLUE,
    ORANGE,
    VERMILION,
    barchart,
    keep,
    override,
    steps,
    table,
    timeseries,
    words,
)
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import NOW_MS, energy, moment, rolled_up
from tools.dashboards.tiles import Tile, add_tiles

SILENT_MS = 120_000
"""As admission's pages have it."""

SUMS = f"""
SELECT (SELECT count(*) FROM roster WHERE status = 'active') AS members,
    (SELECT count(*) FROM fleet AS f WHERE {ACTIVE} AND state = 'online' AND last_seen_ms >= {NOW_MS} -
        {SILENT_MS}) AS there,
    (SELECT count(*) FROM fleet AS f WHERE {ACTIVE} AND (state <> 'online' OR coalesce(last_seen_ms, 0) <
        {NOW_MS} - {SILENT_MS})) AS away,
    (SELECT sum(conflicts) FROM reading_channels) AS conflicts, (SELECT count(*) FROM readings_aside) AS aside,
    pg_database_size(current_database()) AS size
LIMIT 1
"""

SERVICES = f"""
SELECT f.member, f.service, CASE WHEN f.state <> 'online' THEN 'offline'
        WHEN coalesce(f.last_seen_ms, 0) < {NOW_MS} - {SILENT_MS} THEN 'silent' ELSE 'online' END AS state,
    ({NOW_MS} - f.last_seen_ms) / 1000.0 AS age, f.version, (SELECT tip_height FROM node_state) - f.tip_height
        AS behind,
    (f.certificate_expires_ms - {NOW_MS}) / 86400000.0 AS certificate, f.disk_use_per_mille / 10.0 AS disk,
    f.spool_use_per_mille / 10.0 AS spool, f.spool_readings AS waiting, f.clock_offset_ms / 1000.0 AS clock,
        f.low_disk AS refuses
FROM fleet AS f WHERE {ACTIVE} ORDER BY f.state <> 'offline', f.member, f.service LIMIT 1000
"""

CHANNELS = f"""
SELECT member, meter, channel, ({NOW_MS} - newest_ms) / 1000.0 AS age, stored, conflicts
FROM reading_channels ORDER BY age DESC LIMIT 1000
"""

RATE = f"""
{
    rolled_up(f'''{moment("m.minute_ms")} AS "time", sum(m.measured) / 60.0 AS measured,
        sum(m.substituted + m.missing) / 60.0 AS without, sum(m.power_avg_mw) / 1000.0 AS watt''').strip()
}
    GROUP BY m.minute_ms ORDER BY m.minute_ms
"""

BY_MEMBER = f"""
WITH {energy(hours=True)}
SELECT member, sum(mwh) / 1e6 AS energy FROM energy GROUP BY member ORDER BY 2 DESC NULLS LAST LIMIT 50
"""


TILES = (
    Tile("members", "none", 0, ("회원", "Members"),
         ("체인에서 활동 중인 회원.", "Active ones on the chain.")),
    Tile("there", "none", 0, ("켜진 서비스", "Services there"),
         ("2분 안에 소식이 있던 서비스.", "Heard of within 2 minutes.")),
    Tile("away", "none", 0, ("꺼진 서비스", "Services away"),
         ("꺼졌거나 2분 넘게 조용한 서비스.", "Offline, or silent for more than 2 minutes.")),
    Tile("conflicts", "none", 0, ("충돌한 측정", "Conflicts"),
         ("같은 시각에 내용이 다른 측정, 처음부터.", "Readings of the same time with other content, ever.")),
    Tile("aside", "none", 0, ("미뤄 둔 측정", "Put aside"),
         ("시각이 불가능해서 미뤄 둔 측정.", "Readings with impossible times.")),
    Tile("size", "decbytes", 0, ("데이터베이스", "Database"),
         ("운영자 원장의 데이터베이스 크기.", "Size of the operator's ledger database.")),
)  # fmt: skip
"""Numbers at the head."""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "fleet",
        say("전체 노드", "Fleet"),
        say(
            "모든 회원의 서비스와 측정. 서비스가 스스로 말한 것이며 증명은 아닙니다.",
            "Services and readings of all members: what they say of themselves, not proofs.",
        ),
        time=("now-6h", "now"),
        refresh="30s",
    )
    add_tiles(board, Query(SUMS), TILES, ("자료 없음", "No data"))
    _services(board)
    _readings(board)
    _by_member(board)
    return board.json()


def _services(board: Board) -> None:
    say = board.setting.say
    states = words(
        {
            "online": (say("켜짐", "online"), BLUE),
            "silent": (say("조용함", "silent"), ORANGE),
            "offline": (say("꺼짐", "offline"), VERMILION),
        }
    )
    colored: Json = {"decimals": 1, "custom__cellOptions": {"type": "color-text"}}
    full: Json = colored | {"unit": "percent", "thresholds": steps(BLUE, (80, ORANGE), (90, VERMILION))}
    days: Json = colored | {"unit": "d", "thresholds": steps(VERMILION, (7, ORANGE), (10, BLUE))}
    board.add(
        say("서비스", "Services"),
        say("인증서는 남은 날, 시계는 운영자 시계와의 차이.", "Certificate: days left. Clock: less the operator's."),
        (24, 12),
        table(
            [
                override("member", displayName=say("회원", "Member")),
                override("service", displayName=say("서비스", "Service")),
                override("state", displayName=say("상태", "State"), mappings=states),
                override("age", displayName=say("마지막 소식", "Heard of"), unit="s", decimals=0),
                override("version", displayName=say("버전", "Version")),
                override("behind", displayName=say("뒤처진 블록", "Blocks behind")),
                override("certificate", displayName=say("인증서", "Certificate"), **days),
                override("disk", displayName=say("디스크", "Disk"), **full),
                override("spool", displayName=say("스풀", "Spool"), **full),
                override("waiting", displayName=say("스풀의 측정", "In the spool"), unit="short"),
                override("clock", displayName=say("시계", "Clock"), unit="s", decimals=1),
                override("refuses", displayName=say("거절", "Refuses")),
            ],
            rows=20,
        ),
        Query(SERVICES),
    )


def _readings(board: Board) -> None:
    say = board.setting.say
    shared = board.reserve()
    board.add(
        say("초당 측정", "Samples a second"),
        say(
            "모든 채널을 합한 저장 속도, 값이 있는 것과 없는 것.",
            "Stored, all channels together, with a value and without.",
        ),
        (12, 8),
        timeseries(
            {"unit": "none", "decimals": 1},
            overrides=[
                override("measured", displayName=say("값 있음", "with a value")),
                override(
                    "without", displayName=say("값 없음", "without"), custom__lineStyle={"fill": "dash", "dash": [4, 6]}
                ),
            ],
            transformations=[keep("^([Tt]ime|measured|without)$")],
        ),
        Query(RATE, "time_series"),
        number=shared,
    )
    board.add(
        say("전체 출력", "Power of all"),
        say("모든 회원의 1분 평균 출력의 합.", "Sum of all members' means of each minute."),
        (12, 8),
        timeseries(
            {"unit": "watt"},
            overrides=[override("watt", displayName=say("출력", "Power"))],
            transformations=[keep("^([Tt]ime|watt)$")],
        ),
        Shared(shared),
    )


def _by_member(board: Board) -> None:
    say = board.setting.say
    board.add(
        say("회원별 발전량", "Energy by member"),
        say("기간 안에 레지스터가 센 양.", "What the registers counted in the time range."),
        (10, 10),
        barchart(
            {"unit": "kwatth", "decimals": 2},
            overrides=[override("energy", displayName=say("발전량", "Energy"))],
            stacked=False,
            level=True,
        ),
        Query(BY_MEMBER),
    )
    board.add(
        say("채널", "Channels"),
        say("마지막 측정이 오래된 것부터.", "The oldest last sample first."),
        (14, 10),
        table(
            [
                override("member", displayName=say("회원", "Member")),
                override("meter", displayName=say("계량기", "Meter")),
                override("channel", displayName=say("채널", "Channel")),
                override("age", displayName=say("마지막 측정 후", "Age"), unit="s", decimals=0),
                override("stored", displayName=say("저장된 측정", "Stored"), unit="short"),
                override("conflicts", displayName=say("충돌", "Conflicts"), unit="short"),
            ],
            rows=15,
        ),
        Query(CHANNELS),
    )
