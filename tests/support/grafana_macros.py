"""What Grafana does to a query before PostgreSQL sees it: the time range, the macros, the variables.

Read in Grafana's source (pkg/tsdb/grafana-postgresql-datasource/macros.go, sqleng; packages/grafana-sql). Macros are
expanded by Grafana's server, in everybody's queries; variables by the browser, before it sends the query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

MIN_INTERVAL_MS = 1_000
"""The data source's `timeInterval` of 1 s."""

_STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)

_MACRO = re.compile(r"\$(__[_a-zA-Z0-9]+)\(([^\)]*)\)")  # so no argument of a macro can contain ")"
_INTERVAL = re.compile(r"\$__interval_ms|\$\{__interval_ms\}|\$__interval|\$\{__interval\}")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]|\$(\w+)")
_LENGTH = re.compile(r"(\d+)(ms|s|m|h|d|w|M|y)")
_RELATIVE = re.compile(r"now(?:([+-])(\d+)([smhdwMy]))?(?:/([smhdwMy]))?")
_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "M": 2_592_000_000,
    "y": 31_536_000_000,
}


class MacroError(ValueError):
    """A macro or a time that Grafana would refuse."""


@dataclass(frozen=True)
class TimeRange:
    """What the time picker says; both ends belong to it."""

    start: datetime
    end: datetime

    @property
    def length_ms(self) -> int:
        """How long the range is."""
        return (self.end - self.start) // timedelta(milliseconds=1)


def parse_range(start: str, end: str, *, now: datetime, zone: tzinfo = UTC) -> TimeRange:
    """The range of a time picker: `now-5m`, `now/d`, or milliseconds since 1970; raises MacroError.

    An end such as `now/d` is the last millisecond of the day, in the time zone given; months go back 30 days each.
    """
    return TimeRange(_moment(start, now, zone, last=False), _moment(end, now, zone, last=True))


def _moment(text: str, now: datetime, zone: tzinfo, *, last: bool) -> datetime:
    if text.lstrip("-").isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    match = _RELATIVE.fullmatch(text)
    if match is None:
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError as error:
            raise MacroError(f"not a time: {text!r}") from error
    sign, number, unit, rounding = match.groups()
    moment = now.astimezone(zone)
    if sign:
        moment += timedelta(milliseconds=int(sign + number) * _UNIT_MS[unit])
    if rounding:
        moment = _begin(moment, rounding)
        if last:
            moment = _begin(moment + timedelta(milliseconds=_UNIT_MS[rounding] * 11 // 10), rounding)
            moment -= timedelta(milliseconds=1)
    return moment.astimezone(UTC)


def _begin(moment: datetime, unit: str) -> datetime:
    smaller = {"s": 1, "m": 2, "h": 3, "d": 4, "w": 4, "M": 5, "y": 6}[unit]
    fields = ["microsecond", "second", "minute", "hour", "day", "month"]
    zeros = {name: int(name in ("day", "month")) for name in fields[:smaller]}
    moment = moment.replace(**zeros)  # type: ignore[arg-type]  # the names are those of integer fields
    return moment - timedelta(days=moment.weekday()) if unit == "w" else moment


def parse_length_ms(text: str) -> int:
    """Milliseconds of `250ms`, `1s`, `5m`, `1h`, `1d`; raises MacroError."""
    match = _LENGTH.fullmatch(text.strip().strip("'\""))
    if match is None or int(match[1]) == 0:
        raise MacroError(f"error parsing interval {text}")
    return int(match[1]) * _UNIT_MS[match[2]]


def format_length(length_ms: int) -> str:
    """How Grafana writes an interval: the largest unit that is not more than it."""
    for unit in ("y", "d", "h", "m", "s"):
        if length_ms >= _UNIT_MS[unit]:
            return f"{length_ms // _UNIT_MS[unit]}{unit}"
    return f"{max(length_ms, 1)}ms"


def interval_ms(times: TimeRange, max_points: int) -> int:
    """The interval that a panel of so many points works out, not under the data source's."""
    raw = times.length_ms / max(max_points, 1)
    nice = next((step * 1_000 for step in _STEPS_S if step * 1_000 >= raw), 604_800_000)
    return max(nice, MIN_INTERVAL_MS)


@dataclass(frozen=True)
class Expanded:
    """A query as PostgreSQL gets it."""

    sql: str
    fill: Fill | None = None


@dataclass(frozen=True)
class Fill:
    """What the third argument of `$__timeGroup` asks for, in answers of the format time_series."""

    step_ms: int
    mode: str
    """`null`, `previous` or `value`."""
    value: float = 0.0


def expand(sql: str, times: TimeRange, step_ms: int = 60_000) -> Expanded:
    """Expand every macro; raises MacroError for one that does not exist or lacks an argument."""
    found: list[Fill] = []
    sql = _INTERVAL.sub(lambda match: str(step_ms) if "ms" in match[0] else format_length(step_ms), sql)

    def replace(match: re.Match[str]) -> str:
        name, arguments = match[1], [part.strip() for part in match[2].split(",")]
        group = _GROUPS.get(name)
        if group is not None:
            return group(arguments, found)
        macro = _MACROS.get(name)
        if macro is None:
            raise MacroError(f"unknown macro {name!r}")
        return macro(arguments[0], times)

    expanded = _MACRO.sub(replace, sql)
    return Expanded(expanded, found[-1] if found else None)


def _column(argument: str) -> str:
    if not argument:
        raise MacroError("missing time column argument for a macro")
    return argument


def _stamp(moment: datetime) -> str:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"'{text}Z'"


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())


def _nano(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


_MACROS: dict[str, Callable[[str, TimeRange], str]] = {
    "__time": lambda column, _: f'{_column(column)} AS "time"',
    "__timeEpoch": lambda column, _: f'extract(epoch from {_column(column)}) as "time"',
    "__timeFilter": lambda column, times: f"{_column(column)} BETWEEN {_stamp(times.start)} AND {_stamp(times.end)}",
    "__timeFrom": lambda _, times: _stamp(times.start),
    "__timeTo": lambda _, times: _stamp(times.end),
    "__unixEpochFilter": lambda column, times: (
        f"{_column(column)} >= {_unix(times.start)} AND {column} <= {_unix(times.end)}"
    ),
    "__unixEpochFrom": lambda _, times: str(_unix(times.start)),
    "__unixEpochTo": lambda _, times: str(_unix(times.end)),
    "__unixEpochNanoFilter": lambda column, times: (
        f"{_column(column)} >= {_nano(times.start)} AND {column} <= {_nano(times.end)}"
    ),
    "__unixEpochNanoFrom": lambda _, times: str(_nano(times.start)),
    "__unixEpochNanoTo": lambda _, times: str(_nano(times.end)),
}


def _grouped(arguments: Sequence[str], found: list[Fill], epoch: str) -> str:
    if len(arguments) < 2:
        raise MacroError("macro __timeGroup needs time column and interval and optional fill value")
    step = parse_length_ms(arguments[1])
    if len(arguments) > 2:
        found.append(_fill(arguments[2], step))
    seconds = f"{step / 1000:.10g}"
    return f"floor({epoch.format(arguments[0])}/{seconds})*{seconds}"


def _fill(text: str, step_ms: int) -> Fill:
    if text.upper() == "NULL":
        return Fill(step_ms, "null")
    if text == "previous":
        return Fill(step_ms, "previous")
    try:
        return Fill(step_ms, "value", float(text))
    except ValueError as error:
        raise MacroError(f"error parsing fill value {text}") from error


_GROUPS: dict[str, Callable[[list[str], list[Fill]], str]] = {
    "__timeGroup": lambda given, found: _grouped(given, found, "extract(epoch from {})"),
    "__timeGroupAlias": lambda given, found: _grouped(given, found, "extract(epoch from {})") + ' AS "time"',
    "__unixEpochGroup": lambda given, found: _grouped(given, found, "({})"),
    "__unixEpochGroupAlias": lambda given, found: _grouped(given, found, "({})") + ' AS "time"',
}


def expand_variables(sql: str, values: Mapping[str, str | Sequence[str]]) -> str:
    """Put the dashboard's variables in, as the browser does; several values become a list of SQL strings.

    A single value comes without quotes (its quotes are doubled), `${name:sqlstring}` with them, `${name:raw}` as it is.
    """

    def replace(match: re.Match[str]) -> str:
        name, style = match[1] or match[3] or match[4], match[2]
        if name not in values:
            return match[0]
        value = values[name]
        several = [value] if isinstance(value, str) else list(value)
        if style in {"raw", "csv"}:
            return ",".join(several)
        quoted = [item.replace("'", "''") for item in several]
        if style in {"sqlstring", "singlequote"} or not isinstance(value, str):
            return ",".join(f"'{item}'" for item in quoted)
        return quoted[0]

    return _VARIABLE.sub(replace, sql)


def seoul() -> ZoneInfo:
    """The time zone of the dashboards."""
    return ZoneInfo("Asia/Seoul")
