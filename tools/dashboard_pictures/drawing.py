"""One dashboard with its data: every query sent to Grafana's API, here the double's, as the one who looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import httpx

from tests.support.grafana_macros import TimeRange, expand_variables, interval_ms, parse_range

POINTS = 1_200
SHOWN_MIN_WATT = "20"
NOTES = {
    "ko": "{file}을 Grafana의 UI 패키지(@grafana/ui 12.3.3)로 그렸으며 Grafana 화면이 아닙니다. 지어낸 데이터입니다.",
    "en": "Drawn from {file} with Grafana's UI packages (@grafana/ui 12.3.3), not by Grafana. The data are made up.",
}
NOT_OURS = {
    "ko": "Grafana 본체만 그릴 수 있어 질의의 표를 보입니다.",
    "en": "only Grafana itself has this renderer, so here is the query's table.",
}
NO_DATA = {"ko": "데이터 없음", "en": "No data"}
Language = Literal["ko", "en"]


@dataclass(frozen=True)
class Picture:
    """One picture to be drawn."""

    place: str
    """Of the dashboard, below infra/grafana."""
    language: Language
    theme: Literal["light", "dark"]
    as_operator: bool = False

    @property
    def name(self) -> str:
        """File name of the picture."""
        return f"grafana-{Path(self.place).stem}-{self.language}.png"


class Looking:
    """Somebody who is logged in and looks at dashboards at one moment."""

    def __init__(self, client: httpx.Client, now: datetime) -> None:
        self._client = client
        self._now = now

    def draw(self, picture: Picture, dashboard: dict[str, Any]) -> dict[str, Any]:
        """Everything that the page needs to draw it."""
        zone = ZoneInfo(dashboard["timezone"])
        times = parse_range(dashboard["time"]["from"], dashboard["time"]["to"], now=self._now, zone=zone)
        variables = self._variables(dashboard, times)
        frames: dict[str, list[Any]] = {}
        failed: dict[str, str] = {}
        for panel in dashboard["panels"]:
            targets = [target for target in panel["targets"] if "rawSql" in target]
            if not targets:
                continue
            answer = self._query(targets, variables, times)
            found = [frame for result in answer.values() for frame in result["frames"]]
            frames[str(panel["id"])] = found
            errors = [result["error"] for result in answer.values() if "error" in result]
            if errors:
                failed[str(panel["id"])] = errors[0]
        return {
            "dashboard": dashboard,
            "frames": frames,
            "failed": failed,
            "variables": {
                name: value if isinstance(value, str) else ", ".join(value) for name, value in variables.items()
            },
            "from": int(times.start.timestamp() * 1000),
            "to": int(times.end.timestamp() * 1000),
            "theme": picture.theme,
            "note": NOTES[picture.language].format(file=f"infra/grafana/{picture.place}"),
            "notOurs": NOT_OURS[picture.language],
            "noData": NO_DATA[picture.language],
        }

    def _variables(self, dashboard: dict[str, Any], times: TimeRange) -> dict[str, str | Sequence[str]]:
        chosen: dict[str, str | Sequence[str]] = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                target = {
                    "refId": "A",
                    "rawSql": variable["query"],
                    "format": "table",
                    "datasource": variable["datasource"],
                }
                frame = self._query([target], {}, times)["A"]["frames"][0]
                chosen[variable["name"]] = [str(value) for value in frame["data"]["values"][0]]
            else:
                chosen[variable["name"]] = (
                    SHOWN_MIN_WATT if variable["type"] == "textbox" else variable["current"]["value"]
                )
        return chosen

    def _query(
        self, targets: Sequence[dict[str, Any]], variables: dict[str, str | Sequence[str]], times: TimeRange
    ) -> dict[str, Any]:
        """The queries as the browser sends them, but with the moment of the picture as the time of the database."""
        moment = f"'{self._now.astimezone(UTC).isoformat()}'::timestamptz"
        queries = [
            {
                **target,
                "rawSql": expand_variables(target["rawSql"], variables).replace("now()", moment),
                "intervalMs": interval_ms(times, POINTS),
                "maxDataPoints": POINTS,
            }
            for target in targets
        ]
        span = {"from": str(int(times.start.timestamp() * 1000)), "to": str(int(times.end.timestamp() * 1000))}
        answer = self._client.post("/api/ds/query", content=json.dumps({**span, "queries": queries}))
        found: dict[str, Any] = answer.json()["results"]
        return found
