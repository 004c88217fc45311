"""Result sets as Grafana's data frames, in the formats `table` and `time_series`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.support.grafana_double.database import ResultSet
from tests.support.grafana_macros import Expanded, Fill, TimeRange

_NUMBERS = {20: "int64", 21: "int16", 23: "int32", 26: "int64", 700: "float32", 701: "float64", 1700: "float64"}
_TIMES = {1082, 1114, 1184}
_BOOLEAN = 16
_SECONDS_BELOW, _MILLIS_BELOW = 1e11, 1e14


class FrameError(Exception):
    """Rows that the wanted format does not allow."""


@dataclass
class Field:
    """A column of a frame."""

    name: str
    type: str
    """time, number, string or boolean."""
    values: list[Any]
    go_type: str
    labels: dict[str, str] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """How the column is described."""
        shown = {"name": self.name, "type": self.type, "typeInfo": {"frame": self.go_type, "nullable": True}}
        return {**shown, "labels": self.labels} if self.labels else shown


def frame_of(result: ResultSet, ref: str, expanded: Expanded, times: TimeRange, *, series: bool) -> dict[str, Any]:
    """One result set as a frame in JSON; raises FrameError."""
    fields = [_field(name, code, place, result.rows) for place, (name, code) in enumerate(result.columns)]
    if series:
        fields = _time_series(fields, expanded.fill, times)
    schema = {
        "refId": ref,
        "meta": {"typeVersion": [0, 0], "executedQueryString": expanded.sql},
        "fields": [item.schema() for item in fields],
    }
    return {"schema": schema, "data": {"values": [item.values for item in fields]}}


def _field(name: str, code: int, place: int, rows: list[tuple[Any, ...]]) -> Field:
    values = [row[place] for row in rows]
    if code in _TIMES:
        return Field(name, "time", [_millis(value) for value in values], "time.Time")
    if code in _NUMBERS and name == "time":
        return Field(name, "time", [_epoch_millis(value) for value in values], "time.Time")
    if code in _NUMBERS:
        return Field(name, "number", [_number(value) for value in values], _NUMBERS[code])
    if code == _BOOLEAN:
        return Field(name, "boolean", values, "bool")
    return Field(name, "string", [None if value is None else str(value) for value in values], "string")


def _millis(value: date | datetime | None) -> int | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _epoch_millis(number: float | Decimal | None) -> int | None:
    if number is None:
        return None
    value = float(number)
    if abs(value) < _SECONDS_BELOW:
        return int(value * 1000)
    return int(value) if abs(value) < _MILLIS_BELOW else int(value) // 1_000_000


def _number(value: float | Decimal | None) -> float | int | None:
    if isinstance(value, Decimal):
        value = float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _time_series(fields: list[Field], fill: Fill | None, times: TimeRange) -> list[Field]:
    moments = [item for item in fields if item.type == "time"]
    time = next((item for item in moments if item.name == "time"), moments[0] if moments else None)
    if time is None:
        raise FrameError(
            "db has no time column: time column is missing; make sure your data includes a time column for time "
            "series format or switch to a table format that doesn't require it"
        )
    time.name = "Time"
    factors = [item for item in fields if item.type == "string"]
    values = [item for item in fields if item is not time and item not in factors]
    if factors and values and time.values:
        time, values = _wide(time, values, factors, rename=len(fields) == 3)
    elif factors:
        return [time, *values, *factors]
    return _filled([time, *values], fill, times) if fill is not None else [time, *values]


def _wide(time: Field, values: list[Field], factors: list[Field], *, rename: bool) -> tuple[Field, list[Field]]:
    """A field for each value column and set of labels, one row for each time."""
    if None in time.values or time.values != sorted(time.values):
        raise FrameError("long series must be sorted ascending by time to be converted")
    moments = list(dict.fromkeys(time.values))
    places = {moment: place for place, moment in enumerate(moments)}
    made: dict[tuple[str, ...], Field] = {}
    for row, moment in enumerate(time.values):
        labels = {factor.name: factor.values[row] or "" for factor in factors}
        for value in values:
            key = (value.name, *labels.values())
            if key not in made:
                made[key] = Field(value.name, value.type, [None] * len(moments), value.go_type, labels)
            made[key].values[places[moment]] = value.values[row]
    if rename:
        for item in made.values():
            if list(item.labels) == ["metric"]:
                item.name, item.labels = item.labels["metric"], {}
    return Field(time.name, time.type, moments, time.go_type), list(made.values())


def _filled(fields: list[Field], fill: Fill, times: TimeRange) -> list[Field]:
    """A row for each step of the whole range, the missing ones as `$__timeGroup` was told."""
    time, values = fields[0], fields[1:]
    start = int(times.start.timestamp() * 1000) // fill.step_ms * fill.step_ms
    known = {moment: row for row, moment in enumerate(time.values)}
    moments = sorted({*range(start, int(times.end.timestamp() * 1000) + 1, fill.step_ms), *known})
    filled = [Field(time.name, time.type, moments, time.go_type)]
    for item in values:
        column: list[Any] = []
        for moment in moments:
            row = known.get(moment)
            column.append(_missing(fill, column) if row is None else item.values[row])
        filled.append(Field(item.name, item.type, column, item.go_type, item.labels))
    return filled


def _missing(fill: Fill, before: list[Any]) -> Any:
    if fill.mode == "previous":
        return before[-1] if before else None
    return fill.value if fill.mode == "value" else None
