"""Alert rules of the operator's organisation, as `POST /api/v1/provisioning/alert-rules` takes them.

A rule asks for one number, ``value``, for each of what its text columns name; Grafana makes an alert for each. Queries
are bounded, and the worst comes first. When a query fails, the alert says so (`execErrState` Error) instead of claiming
what was not seen. A rule whose answer may well be empty is quiet then; one whose answer never is says so, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tools.dashboards.board import DATA_SOURCE
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import NOW_MS, RATED

FOLDER = "solar"
RECEIVER = "minervas-operator"
"""Name of the contact point that admission makes from its settings."""
FAST, SLOW = "minervas-fast", "minervas-slow"
INTERVALS_S = {FAST: 10, SLOW: 60}
"""Groups of rules, and how often each is looked at."""

EXPRESSION: Json = {"type": "__expr__", "uid": "__expr__"}

ACTIVE = "NOT EXISTS (SELECT FROM roster AS r WHERE r.member = f.member AND r.status <> 'active')"
"""The operator's own services are in no roster."""

MEANS = f"""
    SELECT member, meter, channel, sum(m.power_sum_mw) / nullif(sum(m.powers), 0) / 1000 / nullif(p.rated_w, 0) AS load,
        sum(m.powers) AS powers
    FROM reading_channels AS c JOIN readings_minute AS m USING (member, meter, channel)
    JOIN ({RATED}) AS p USING (member, meter, channel)
    WHERE m.minute_ms >= {NOW_MS} - 660000 AND m.minute_ms < {NOW_MS} - 60000
    GROUP BY member, meter, channel, p.rated_w"""
"""Ten whole minutes of each channel, against its rated power."""

NO_READINGS = f"""
SELECT m.member, m.meter, m.channel, ({NOW_MS} - coalesce(nullif(c.newest_ms, 0), m.registered_ms))::float8
    / 1000 AS value
FROM (SELECT member, meter, unnest(channels) AS channel, registered_ms FROM meters) AS m
JOIN roster AS r ON r.member = m.member AND r.status = 'active'
LEFT JOIN reading_channels AS c ON (c.member, c.meter, c.channel) = (m.member, m.meter, m.channel)
ORDER BY value DESC LIMIT 1000
"""

PANEL_IDLE = f"""
WITH means AS ({MEANS}
)
SELECT a.member, a.meter, a.channel, CASE WHEN a.load < 0.02 AND (
        SELECT max(b.load) FROM means AS b WHERE b.member = a.member AND (b.meter, b.channel) <> (a.meter, a.channel)
    ) > 0.1 THEN 1 ELSE 0 END::float8 AS value
FROM means AS a WHERE a.powers > 0 ORDER BY value DESC LIMIT 1000
"""

METER_SILENT = f"""
WITH means AS ({MEANS}
)
SELECT member, meter, channel, CASE WHEN powers = 0 THEN 1 ELSE 0 END::float8 AS value
FROM means ORDER BY value DESC LIMIT 1000
"""

NO_BLOCK = f"""
SELECT ({NOW_MS} - b.time_ms)::float8 / 1000 AS value FROM node_state AS n JOIN blocks AS b ON b.hash = n.tip_hash
    LIMIT 1
"""

FINALITY_PAUSED = """
WITH heights AS (SELECT key::bigint AS height FROM state_rows WHERE name = 'checkpoints' ORDER BY key DESC LIMIT 100
), every AS (SELECT min(gap) AS blocks FROM (SELECT height - lag(height, 1, 0::bigint) OVER (ORDER BY height) AS gap
    FROM heights) AS g)
SELECT (n.tip_height - n.final_height)::float8 / every.blocks AS value
FROM node_state AS n CROSS JOIN every WHERE every.blocks > 0 LIMIT 1
"""

CERTIFICATE = f"""
SELECT f.member, f.service, (f.certificate_expires_ms - {NOW_MS})::float8 / 86400000 AS value
FROM fleet AS f WHERE f.certificate_expires_ms IS NOT NULL AND {ACTIVE} ORDER BY value LIMIT 1000
"""

STORAGE = f"""
SELECT f.member, f.service, CASE WHEN coalesce(f.low_disk, '') <> '' THEN 100
        ELSE greatest(f.disk_use_per_mille, f.spool_use_per_mille) / 10.0 END::float8 AS value
FROM fleet AS f
WHERE (f.disk_use_per_mille IS NOT NULL OR f.spool_use_per_mille IS NOT NULL OR f.low_disk IS NOT NULL) AND {ACTIVE}
ORDER BY value DESC LIMIT 1000
"""

CLOCK = f"""
SELECT f.member, f.service, CASE WHEN f.clock_synchronised IS FALSE
        OR greatest(abs(f.clock_offset_ms), abs(f.told_offset_ms)) >= 5000 THEN 1 ELSE 0 END::float8 AS value
FROM fleet AS f WHERE f.state = 'online' AND {ACTIVE} ORDER BY value DESC LIMIT 1000
"""

SERVICE_SILENT = f"""
SELECT f.member, f.service, ({NOW_MS} - coalesce(f.last_seen_ms, f.changed_ms))::float8 / 1000 AS value
FROM fleet AS f WHERE {ACTIVE} ORDER BY value DESC LIMIT 1000
"""


@dataclass(frozen=True)
class Rule:
    """An alert rule, in both languages."""

    uid: str
    title: tuple[str, str]
    """Korean and English."""
    help: tuple[str, str]
    """What to do."""
    sql: str
    beyond: tuple[Literal["gt", "lt"], float]
    """Fires when the value is greater, or less, than this."""
    lasting: str
    """For so long."""
    unit: str
    severity: Literal["critical", "warning"] = "warning"
    group: str = SLOW
    no_data: Literal["OK", "NoData", "Alerting"] = "OK"


RULES: Sequence[Rule] = (
    Rule(
        "no-readings",
        ("60초 동안 측정 없음", "No readings for 60 s"),
        ("이 채널의 게이트웨이와 그 노드의 연결을 확인하십시오.",
         "Look at this channel's gateway, and at its node's connection."),
        NO_READINGS,
        ("gt", 60),
        "30s",
        "s",
        severity="critical",
        group=FAST,
    ),
    Rule(
        "panel-idle",
        ("이웃은 발전하는데 이 패널은 발전하지 않음", "A panel gives nothing while its sibling does"),
        ("패널의 차단기, 배선, 그늘을 확인하십시오. 10분 평균이 정격의 2% 아래, 다른 채널은 10% 위입니다.",
         ("Look at the panel's breaker, wiring and shade: its mean of 10 minutes is below 2 % of its rated power, "
          "that of another channel of the member above 10 %.")),
        PANEL_IDLE,
        ("gt", 0),
        "5m",
        "bool",
    ),
    Rule(
        "meter-silent",
        ("계량기가 응답하지 않음", "A meter does not answer"),
        ("게이트웨이는 돌지만 10분 동안 값이 하나도 없습니다. RS-485 배선과 계량기 전원을 확인하십시오.",
         "The gateway runs, but had no value for 10 minutes. Look at the RS-485 line and the meter's supply."),
        METER_SILENT,
        ("gt", 0),
        "1m",
        "bool",
    ),
    Rule(
        "no-block",
        ("10분 동안 블록 없음", "No block for 10 minutes"),
        ("채굴자가 몇이나 켜져 있는지, 난이도가 갑자기 오르지 않았는지 보십시오.",
         "See how many miners are there, and whether the difficulty rose suddenly."),
        NO_BLOCK,
        ("gt", 600),
        "0s",
        "s",
        severity="critical",
        group=FAST,
        no_data="Alerting",
    ),
    Rule(
        "finality-paused",
        ("확정이 멈춤", "Finality is paused"),
        ("확정되지 않은 검사점이 4개를 넘습니다. 블록체인 화면에서 누가 투표하지 않는지 보십시오.",
         "More than 4 checkpoints are not final. The dashboard of the chain shows who does not vote."),
        FINALITY_PAUSED,
        ("gt", 4),
        "2m",
        "none",
    ),
    Rule(
        "certificate",
        ("인증서가 곧 만료됨", "A certificate expires soon"),
        ("남은 날이 7일 아래입니다. 10일 전에 저절로 갱신되어야 합니다. 그 회원의 peer 로그를 보십시오.",
         ("Fewer than 7 days are left; it should have been renewed 10 days before its end. See the log of the "
         "member's peer.")),
        CERTIFICATE,
        ("lt", 7),
        "5m",
        "d",
    ),
    Rule(
        "storage",
        ("디스크나 스풀이 차고 있음", "A disk or spool fills up"),
        ("90% 넘게 찼습니다. 보관 설정과 노드의 연결을 확인하십시오.",
         "More than 90 % are in use. See the archive settings, and the node's connection."),
        STORAGE,
        ("gt", 90),
        "5m",
        "percent",
    ),
    Rule(
        "clock",
        ("시계가 맞지 않음", "A clock is off"),
        ("5초 넘게 다르거나 동기화되지 않았습니다. 그 기계의 NTP를 확인하십시오.",
         "It is off by more than 5 s or not synchronised. See NTP on that machine."),
        CLOCK,
        ("gt", 0),
        "5m",
        "bool",
    ),
    Rule(
        "service-silent",
        ("서비스가 조용함", "A service is silent"),
        ("5분 동안 소식이 없습니다. 그 기계와 연결을 확인하십시오.",
         "Nothing was heard of it for 5 minutes. See its machine and its connection."),
        SERVICE_SILENT,
        ("gt", 300),
        "1m",
        "s",
        no_data="NoData",
    ),
)  # fmt: skip


def rules(setting: Setting) -> list[Json]:
    """All rules, each as the provisioning API takes it."""
    return [_rule(setting, each) for each in RULES]


def groups() -> list[Json]:
    """Groups of rules with the seconds between two looks, for `PUT .../folder/solar/rule-groups/NAME`."""
    return [{"title": name, "folderUid": FOLDER, "interval": seconds} for name, seconds in INTERVALS_S.items()]


def policy() -> Json:
    """The notification policy, for `PUT /api/v1/provisioning/policies`: a message for each rule, not each member."""
    return {
        "receiver": RECEIVER,
        "group_by": ["grafana_folder", "alertname"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
    }


def _rule(setting: Setting, rule: Rule) -> Json:
    kind, limit = rule.beyond
    evaluator = {"type": kind, "params": [limit]}
    return {
        "uid": rule.uid,
        "title": setting.say(*rule.title),
        "folderUID": FOLDER,
        "ruleGroup": rule.group,
        "condition": "B",
        "data": [
            _part("A", DATA_SOURCE["uid"], _question(rule)),
            _part(
                "B",
                EXPRESSION["uid"],
                {
                    "type": "threshold",
                    "expression": "A",
                    "datasource": EXPRESSION,
                    "conditions": [{"evaluator": evaluator}],
                },
            ),
        ],
        "for": rule.lasting,
        "noDataState": rule.no_data,
        "execErrState": "Error",
        "isPaused": False,
        "labels": {"severity": rule.severity},
        "annotations": {"summary": setting.say(*rule.title), "description": setting.say(*rule.help)},
    }


def _question(rule: Rule) -> Json:
    return {
        "datasource": DATA_SOURCE,
        "editorMode": "code",
        "format": "table",
        "rawQuery": True,
        "rawSql": rule.sql.strip(),
    }


def _part(letter: str, source: str, model: Json) -> Json:
    return {
        "refId": letter,
        "queryType": "",
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": source,
        "model": {"refId": letter, "intervalMs": 1_000, "maxDataPoints": 1_000} | model,
    }
