"""POST /ds/query: whoever may read may send any SQL, and gets the rows as data frames."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.grafana_double.database import DatabaseError, run
from tests.support.grafana_double.datasources import POSTGRES
from tests.support.grafana_double.frames import FrameError, frame_of
from tests.support.grafana_double.routing import Answer, Call, route
from tests.support.grafana_double.state import ApiError, Body, DataSource
from tests.support.grafana_macros import MacroError, TimeRange, expand, parse_range

_ERRORS = (DatabaseError, FrameError, MacroError)


@route("POST", "/ds/query", "Viewer", slow=True)
def query(call: Call) -> Answer:
    queries = call.body.get("queries")
    if not isinstance(queries, list) or not queries:
        raise ApiError(400, "No queries found")
    try:
        times = parse_range(str(call.body.get("from")), str(call.body.get("to")), now=datetime.now(UTC))
    except MacroError as error:
        raise ApiError(400, f"Invalid time range: {error}") from error
    sources = [_source(call, item) for item in queries]
    results: dict[str, Body] = {}
    for item, source in zip(queries, sources, strict=True):
        ref = str(item.get("refId") or "A")
        try:
            results[ref] = {"status": 200, "frames": _frames(item, source, times, ref)}
        except _ERRORS as error:
            text = f"db query error: {error}"
            results[ref] = {"error": text, "errorSource": "downstream", "status": 400, "frames": []}
    failed = any("error" in result for result in results.values())
    return Answer(400 if failed else 200, {"results": results})


def _source(call: Call, item: Body) -> DataSource:
    wanted = item.get("datasource")
    uid = wanted.get("uid") if isinstance(wanted, dict) else None
    if not uid:
        raise ApiError(400, "Query does not contain a valid data source identifier")
    source = call.org.data_sources.get(uid)
    if source is None:
        raise ApiError(404, "Data source not found")
    if source.body["type"] not in POSTGRES:
        raise ApiError(400, "the test double queries PostgreSQL only")
    return source


def _frames(item: Body, source: DataSource, times: TimeRange, ref: str) -> list[Any]:
    expanded = expand(str(item.get("rawSql") or ""), times, int(item.get("intervalMs") or 60_000))
    series = item.get("format", "time_series") != "table"
    return [frame_of(result, ref, expanded, times, series=series) for result in run(source, expanded.sql)]
