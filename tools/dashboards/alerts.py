"""`alerts`: what the alert rules see now. Each panel asks what its rule asks."""

from __future__ import annotations

from tools.dashboards.alert_rules import RULES, Rule
from tools.dashboards.board import Board, Query
from tools.dashboards.panels import BLUE, VERMILION, override, ranges, table
from tools.dashboards.setting import Json, Setting

BARELY = 1e-9
"""Ranges of texts include both ends; rules do not."""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "alerts",
        say("경보", "Alerts"),
        say("경보 규칙이 지금 보는 값, 나쁜 것부터.", "What the alert rules see now, the worst first."),
        time=("now-10m", "now"),
        refresh="30s",
    )
    for rule in RULES:
        board.add(
            say(*rule.title),
            say(*rule.help),
            (8, 8),
            table(
                [
                    override("member", displayName=say("회원", "Member")),
                    override("meter", displayName=say("계량기", "Meter")),
                    override("channel", displayName=say("채널", "Channel")),
                    override("service", displayName=say("서비스", "Service")),
                    *_value(setting, rule),
                ]
            ),
            Query(rule.sql),
        )
    return board.json()


def _value(setting: Setting, rule: Rule) -> list[Json]:
    """The number; or, where it only says yes or no, a text."""
    say = setting.say
    kind, limit = rule.beyond
    if rule.unit == "bool":
        texts = ranges((0, 0, say("정상", "fine"), BLUE), (1, 1, say("경보", "alert"), VERMILION))
        return [override("value", displayName=say("상태", "State"), mappings=texts)]
    low, high = (BLUE, VERMILION) if kind == "gt" else (VERMILION, BLUE)
    thresholds = {
        "mode": "absolute",
        "steps": [{"color": low, "value": None}, {"color": high, "value": limit + BARELY}],
    }
    sign = ">" if kind == "gt" else "<"
    return [
        override(
            "value",
            displayName=say(f"값 (경보 {sign} {limit:g})", f"Value (alert {sign} {limit:g})"),
            unit=rule.unit,
            decimals=1,
            thresholds=thresholds,
            custom__cellOptions={"type": "color-text"},
        )
    ]
