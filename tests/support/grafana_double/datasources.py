"""Data sources, whose secrets are never given back, and what the browser is told at the start."""

from __future__ import annotations

from tests.support.grafana_double.database import DatabaseError, check_connection
from tests.support.grafana_double.routing import Answer, Call, route
from tests.support.grafana_double.state import UID, ApiError, Body, DataSource

POSTGRES = ("grafana-postgresql-datasource", "postgres")
_FIELDS = {
    "name": "",
    "type": "",
    "access": "proxy",
    "url": "",
    "user": "",
    "database": "",
    "basicAuth": False,
    "basicAuthUser": "",
    "withCredentials": False,
    "isDefault": False,
    "jsonData": {},
}


def _shown(call: Call, source: DataSource) -> Body:
    return {
        "id": source.id,
        "uid": source.uid,
        "orgId": call.org.id,
        **source.body,
        "secureJsonFields": dict.fromkeys(source.secrets, True),
        "version": source.version,
        "readOnly": False,
    }


def _by_uid(call: Call) -> DataSource:
    source = call.org.data_sources.get(call.path["uid"])
    if source is None:
        raise ApiError(404, "Data source not found")
    return source


def _by_name(call: Call) -> DataSource:
    for source in call.org.data_sources.values():
        if source.body["name"] == call.path["name"]:
            return source
    raise ApiError(404, "Data source not found")


def _fields(call: Call, known: DataSource | None = None) -> tuple[Body, dict[str, str]]:
    body = {name: call.body.get(name) or default for name, default in _FIELDS.items()}
    if not body["name"] or not body["type"]:
        raise ApiError(400, "bad request data")
    for other in call.org.data_sources.values():
        if other is not known and other.body["name"] == body["name"]:
            raise ApiError(409, "data source with the same name already exists")
    return body, {name: str(value) for name, value in (call.body.get("secureJsonData") or {}).items()}


def _told(call: Call, source: DataSource, message: str) -> Body:
    name = source.body["name"]
    return {"datasource": _shown(call, source), "id": source.id, "message": message, "name": name}


def _delete(call: Call, source: DataSource) -> Body:
    del call.org.data_sources[source.uid]
    return {"message": "Data source deleted", "id": source.id}


@route("GET", "/datasources", "Admin")
def list_sources(call: Call) -> list[Body]:
    return [_shown(call, source) for source in call.org.data_sources.values()]


@route("POST", "/datasources", "Admin")
def create_source(call: Call) -> Body:
    uid = str(call.body.get("uid") or call.grafana.new_uid())
    if not UID.fullmatch(uid):
        raise ApiError(400, "uid contains illegal characters or is too long")
    if uid in call.org.data_sources:
        raise ApiError(409, "data source with the same uid already exists")
    body, secrets = _fields(call)
    source = DataSource(call.grafana.new_id(), uid, body, secrets)
    call.org.data_sources[uid] = source
    return _told(call, source, "Datasource added")


@route("GET", "/datasources/name/{name}", "Admin")
def by_name(call: Call) -> Body:
    return _shown(call, _by_name(call))


@route("DELETE", "/datasources/name/{name}", "Admin")
def delete_by_name(call: Call) -> Body:
    return _delete(call, _by_name(call))


@route("GET", "/datasources/id/{name}", "Admin")
def id_by_name(call: Call) -> Body:
    return {"id": _by_name(call).id}


@route("GET", "/datasources/uid/{uid}", "Admin")
def by_uid(call: Call) -> Body:
    return _shown(call, _by_uid(call))


@route("PUT", "/datasources/uid/{uid}", "Admin")
def update_source(call: Call) -> Body:
    source = _by_uid(call)
    if call.body.get("version") not in (None, source.version):
        raise ApiError(409, "Datasource has already been updated by someone else. Please reload and try again")
    source.body, secrets = _fields(call, source)
    source.secrets = {**source.secrets, **secrets}  # what is left out stays
    source.version += 1
    return _told(call, source, "Datasource updated")


@route("DELETE", "/datasources/uid/{uid}", "Admin")
def delete_source(call: Call) -> Body:
    return _delete(call, _by_uid(call))


@route("GET", "/datasources/uid/{uid}/health", "Viewer", slow=True)
def source_health(call: Call) -> Answer | Body:
    source = _by_uid(call)
    if source.body["type"] not in POSTGRES:
        return {"status": "OK", "message": "Data source is working"}
    try:
        check_connection(source)
    except DatabaseError as error:
        return Answer(400, {"status": "ERROR", "message": str(error)})
    return {"status": "OK", "message": "Database Connection OK"}


@route("GET", "/frontend/settings", "signed in")
def frontend_settings(call: Call) -> Body:
    sources = call.org.data_sources.values() if call.caller is not None and call.caller.org is not None else []
    shown = {
        source.body["name"]: {"id": source.id, "uid": source.uid, "type": source.body["type"], "readOnly": False}
        for source in sources
    }
    build = {"version": call.grafana.version, "commit": "test-double", "env": "production"}
    return {"buildInfo": build, "datasources": shown}


@route("GET", "/health", "nobody")
def health(call: Call) -> Body:
    return {"commit": "test-double", "database": "ok", "version": call.grafana.version}
