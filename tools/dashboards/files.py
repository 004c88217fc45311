"""All files of infra/grafana that are generated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tools.dashboards import alert_rules, alerts, chain, fleet, solar_history, solar_rt, solar_today, trade
from tools.dashboards.setting import LANGUAGES, Json, Setting

MEMBERS: tuple[Callable[[Setting], Json], ...] = (
    solar_rt.build,
    solar_today.build,
    solar_history.build,
    trade.build,
    chain.build,
)
OPERATORS: tuple[Callable[[Setting], Json], ...] = (fleet.build, alerts.build)

FIRST_LANGUAGE = "ko"
"""Its files lie in the folder itself, those of others in folders below, so that a folder is one set."""


def all_files(zone: str, currency: str) -> dict[str, str]:
    """Content of every file, by path below infra/grafana."""
    made: dict[str, str] = {}
    for language in LANGUAGES:
        setting = Setting(language, zone, currency)
        below = "" if language == FIRST_LANGUAGE else f"{language}/"
        for folder, builders in (("dashboards", MEMBERS), ("operator", OPERATORS)):
            for build in builders:
                dashboard = build(setting)
                made[f"{folder}/{below}{dashboard['uid']}.json"] = as_text(dashboard)
        made[f"alerting/{below}rules.json"] = as_text(alert_rules.rules(setting))
        made[f"alerting/{below}groups.json"] = as_text(alert_rules.groups())
        made[f"alerting/{below}policy.json"] = as_text(alert_rules.policy())
    return made


def as_text(content: object) -> str:
    """JSON that a person can read."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_files(directory: Path, files: dict[str, str]) -> None:
    """Write them below a directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
