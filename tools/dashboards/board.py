"""A dashboard under construction: gives panels their numbers and places, and writes the JSON that Grafana takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.dashboards.setting import Json, Setting

DATA_SOURCE: Json = {"type": "grafana-postgresql-datasource", "uid": "solar"}
"""The same uid in every organisation, so that one file fits all."""
OTHER_PANEL: Json = {"type": "datasource", "uid": "-- Dashboard --"}
"""Takes what another panel of the dashboard was answered, and asks nothing itself."""

SCHEMA_VERSION = 41
COLUMNS = 24
REFRESH = ("1s", "5s", "30s", "1m", "5m", "30m")
"""What the time picker offers."""


@dataclass(frozen=True)
class Query:
    """A question to the database."""

    sql: str
    form: str = "table"
    """`table`, or `time_series`: a column `time`, text columns as labels, a series for each number."""


@dataclass(frozen=True)
class Shared:
    """The answer that another panel got."""

    panel: int


@dataclass(frozen=True)
class Look:
    """How a panel of one kind shows its fields (see `panels`)."""

    kind: str
    options: Json
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()


class Board:
    """Collects panels from left to right; a new line begins where a panel does not fit or `line` is called."""

    def __init__(
        self,
        setting: Setting,
        uid: str,
        title: str,
        description: str,
        *,
        time: tuple[str, str],
        refresh: str,
        variables: Sequence[Json] = (),
    ) -> None:
        self.setting = setting
        self._head = (uid, title, description)
        self._time, self._refresh, self._variables = time, refresh, variables
        self._panels: list[Json] = []
        self._next = 1
        self._x = self._y = self._height = 0

    def reserve(self) -> int:
        """The number of a panel that is added later."""
        number, self._next = self._next, self._next + 1
        return number

    def line(self) -> None:
        """Begin a new line."""
        self._x, self._y, self._height = 0, self._y + self._height, 0

    def add(
        self,
        title: str,
        description: str,
        size: tuple[int, int],
        look: Look,
        *asked: Query | Shared,
        number: int = 0,
    ) -> int:
        """Add a panel; returns its number.

        Args:
            title: what it shows.
            description: what the numbers mean.
            size: columns of 24, and lines.
            look: kind and options.
            asked: queries, or another panel.
            number: from `reserve`.
        """
        width, height = size
        if self._x + width > COLUMNS:
            self.line()
        number = number or self.reserve()
        panel: Json = {
            "id": number,
            "type": look.kind,
            "title": title,
            "description": description,
            "gridPos": {"x": self._x, "y": self._y, "w": width, "h": height},
            "fieldConfig": {"defaults": look.defaults, "overrides": list(look.overrides)},
            "options": look.options,
        }
        if asked:
            panel["datasource"] = OTHER_PANEL if isinstance(asked[0], Shared) else DATA_SOURCE
            panel["targets"] = [_target(letter, each) for letter, each in zip("ABCDEF", asked, strict=False)]
        if look.transformations:
            panel["transformations"] = list(look.transformations)
        self._panels.append(panel)
        self._x, self._height = self._x + width, max(self._height, height)
        return number

    def json(self) -> Json:
        """The dashboard as `POST /api/dashboards/db` takes it."""
        uid, title, description = self._head
        return {
            "uid": uid,
            "title": title,
            "description": description,
            "tags": ["minervas"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "timezone": self.setting.zone,
            "weekStart": "monday",
            "time": {"from": self._time[0], "to": self._time[1]},
            "refresh": self._refresh,
            "timepicker": {"refresh_intervals": list(REFRESH)},
            "templating": {"list": list(self._variables)},
            "annotations": {"list": []},
            "links": [
                {
                    "title": "Minervas",
                    "type": "dashboards",
                    "tags": ["minervas"],
                    "asDropdown": False,
                    "icon": "dashboard",
                    "includeVars": False,
                    "keepTime": False,
                    "targetBlank": False,
                    "tooltip": "",
                    "url": "",
                }
            ],
            "panels": self._panels,
        }


def _target(letter: str, asked: Query | Shared) -> Json:
    if isinstance(asked, Shared):
        return {"refId": letter, "datasource": OTHER_PANEL, "panelId": asked.panel}
    return {
        "refId": letter,
        "datasource": DATA_SOURCE,
        "editorMode": "code",
        "rawQuery": True,
        "format": asked.form,
        "rawSql": asked.sql.strip(),
    }
