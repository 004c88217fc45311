"""Every question that the dashboards and alert rules in infra/grafana ask, as PostgreSQL gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from minervas_ledger.store.connection import Connection
from tests.support.grafana_macros import expand, expand_variables, parse_range

GRAFANA = Path(__file__).parents[2] / "infra" / "grafana"
VARIABLES: Mapping[str, str | Sequence[str]] = {"channel": ("roof/ch2", "roof/ch3"), "bucket": "day", "min_watt": "5"}
"""What a person may have chosen."""


@dataclass(frozen=True)
class Asked:
    """One query."""

    name: str
    """Dashboard, panel and letter, such as ``solar-rt 8 A``."""
    kind: Literal["member", "operator", "alert"]
    sql: str
    """With macros and variables."""
    form: str
    time: tuple[str, str]
    zone: str

    def expanded(self, now: datetime, **changed: str | Sequence[str]) -> str:
        """As PostgreSQL gets it, with other variables than `VARIABLES`."""
        times = parse_range(*self.time, now=now, zone=ZoneInfo(self.zone))
        return expand(expand_variables(self.sql, {**VARIABLES, **changed}), times).sql

    def at(self, now: datetime, **changed: str | Sequence[str]) -> str:
        """As `expanded`, and the database's clock says `now`, too."""
        return self.expanded(now, **changed).replace("now()", f"'{now.isoformat()}'::timestamptz")


def read(name: str) -> Any:
    """A generated file."""
    return json.loads((GRAFANA / name).read_text(encoding="utf-8"))


def dashboards(language: Literal["ko", "en"] = "ko") -> dict[str, Any]:
    """All dashboards by their place below infra/grafana."""
    below = "" if language == "ko" else f"{language}/"
    paths = [path for folder in ("dashboards", "operator") for path in (GRAFANA / folder / below).glob("*.json")]
    return {str(path.relative_to(GRAFANA)): json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)}


def all_asked() -> Iterator[Asked]:
    """Every panel's queries, every variable's, every alert rule's."""
    for place, board in dashboards().items():
        kind: Literal["member", "operator"] = "member" if place.startswith("dashboards") else "operator"
        time, zone = (board["time"]["from"], board["time"]["to"]), board["timezone"]
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "rawSql" in target:
                    name = f"{board['uid']} {panel['id']} {target['refId']}"
                    yield Asked(name, kind, target["rawSql"], target["format"], time, zone)
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield Asked(f"{board['uid']} ${variable['name']}", kind, variable["query"], "table", time, zone)
    for rule in read("alerting/rules.json"):
        yield Asked(
            f"alert {rule['uid']}", "alert", rule["data"][0]["model"]["rawSql"], "table", ("now-10m", "now"), "UTC"
        )


def plan_nodes(connection: Connection, sql: str, *, run: bool = False) -> list[dict[str, Any]]:
    """All nodes of a query's plan, from above; with `run`, as it went."""
    row = connection.execute(f"EXPLAIN (FORMAT JSON{', ANALYZE' if run else ''}) {sql}".encode()).fetchone()
    assert row is not None
    explained: Any = row[0]
    return list(_below(explained[0]["Plan"]))


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _below(each)
