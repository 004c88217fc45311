"""What tests of access rest on: the double is as permissive as Grafana, and the database alone keeps rows apart.

These tests also pass on a real Grafana (MINERVAS_GRAFANA_URL), so they use names of their own and clean up.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from minervas_devnet.postgres import PostgresServer
from tests.support.fix_grafana import GrafanaServer

READER_PASSWORD = "reader-of-the-double"  # noqa: S105 - of a role that lives as long as this file's tests
ANY_TIME = {"from": "now-1h", "to": "now"}


@dataclass
class World:
    """An organisation with a viewer and a data source, on a database with a row of the viewer's and one that is not."""

    grafana: GrafanaServer
    org: int
    viewer: str
    password: str
    viewer_id: int
    server: PostgresServer
    database: str
    reader: str

    def api(self, user: str | None = None, password: str | None = None, org: int | None = None) -> httpx.Client:
        """A client of the API, as the server admin in the organisation unless told otherwise."""
        auth = (user, password or "") if user else (self.grafana.admin_user, self.grafana.admin_password)
        headers = {"X-Grafana-Org-Id": str(org or self.org)}
        return httpx.Client(base_url=f"{self.grafana.url}/api", auth=auth, headers=headers, timeout=60)

    def as_viewer(self) -> httpx.Client:
        """A client of the API as the viewer."""
        return self.api(self.viewer, self.password)

    def query(self, text: str, form: str = "table", **more: Any) -> httpx.Response:
        """Send SQL as the viewer."""
        asked = {"refId": "A", "datasource": {"uid": "solar"}, "rawSql": text, "format": form, **more}
        with self.as_viewer() as api:
            return api.post("/ds/query", json={**ANY_TIME, "queries": [asked]})


@pytest.fixture(scope="module")
def world(grafana: GrafanaServer, postgres_server: PostgresServer) -> Iterator[World]:
    mark = secrets.token_hex(4)
    database = postgres_server.create_database(f"double-{mark}")
    reader = f"gm_{mark}"
    with psycopg.connect(postgres_server.superuser_conninfo(database.name), autocommit=True) as connection:
        role = sql.Identifier(reader)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, READER_PASSWORD))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), role))
        connection.execute("CREATE TABLE reading (owner text, at timestamptz, watt int)")
        connection.execute("INSERT INTO reading VALUES (%s, now(), 7), ('another', now(), 9)", [reader])
        connection.execute("ALTER TABLE reading ENABLE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY own ON reading FOR SELECT USING (owner = session_user)")
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("GRANT SELECT ON reading TO {}").format(role))
    admin = (grafana.admin_user, grafana.admin_password)
    with httpx.Client(base_url=f"{grafana.url}/api", auth=admin, timeout=60) as api:
        org = api.post("/orgs", json={"name": f"double-{mark}"}).json()["orgId"]
        user = {"login": f"viewer-{mark}", "password": f"secret-{mark}", "OrgId": org}
        number = api.post("/admin/users", json=user).json()["id"]
        made = World(grafana, org, user["login"], user["password"], number, postgres_server, database.name, reader)
        with made.api() as in_org:
            assert in_org.post("/datasources", json=_source(made)).status_code == 200
        yield made
        api.delete(f"/admin/users/{number}")
        api.delete(f"/orgs/{org}")


def _source(world: World) -> dict[str, Any]:
    return {
        "name": "Solar",
        "uid": "solar",
        "type": "grafana-postgresql-datasource",
        "access": "proxy",
        "url": f"{world.server.host}:{world.server.port}",
        "user": world.reader,
        "database": world.database,
        "jsonData": {"database": world.database, "sslmode": "disable", "maxOpenConns": 2},
        "secureJsonData": {"password": READER_PASSWORD},
    }


def _values(answer: httpx.Response, frame: int = 0) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]["A"]["frames"][frame]["data"]["values"]


def test_a_viewer_may_send_any_sql_and_the_database_decides_what_comes_back(world: World) -> None:
    assert _values(world.query("SELECT watt FROM reading")) == [[7]]
    assert _values(world.query("SELECT session_user::text AS who")) == [[world.reader]]
    refused = world.query("DROP TABLE reading")
    assert refused.status_code == 400
    assert "must be owner of table" in refused.json()["results"]["A"]["error"]


def test_what_a_query_sets_on_its_connection_is_there_for_the_next_one(world: World) -> None:
    world.query("SELECT set_config('app.member', 'another', false)")
    assert _values(world.query("SELECT current_setting('app.member', true) AS member")) == [["another"]]


def test_several_statements_in_one_query_are_run(world: World) -> None:
    answer = world.query("SET TIME ZONE 'UTC'; SELECT count(*)::int AS n FROM reading")
    assert _values(answer)[-1] == [1]


def test_macros_bound_the_time_and_rows_become_series(world: World) -> None:
    text = "SELECT at AS \"time\", 'CH2' AS metric, watt FROM reading WHERE $__timeFilter(at) ORDER BY 1"
    answer = world.query(text, "time_series")
    assert answer.status_code == 200, answer.text
    frame = answer.json()["results"]["A"]["frames"][0]
    assert [field["name"] for field in frame["schema"]["fields"]] == ["Time", "CH2"]
    assert frame["data"]["values"][1] == [7]


def test_the_password_of_a_data_source_is_never_given_back(world: World) -> None:
    with world.api() as api:
        for path in ("/datasources", "/datasources/uid/solar", "/datasources/name/Solar", "/frontend/settings"):
            answer = api.get(path)
            assert answer.status_code == 200
            assert READER_PASSWORD not in answer.text
        assert api.get("/datasources/uid/solar").json()["secureJsonFields"] == {"password": True}


def test_an_update_without_the_password_keeps_it(world: World) -> None:
    with world.api() as api:
        update = {name: value for name, value in _source(world).items() if name != "secureJsonData"}
        assert api.put("/datasources/uid/solar", json=update).status_code == 200
        assert api.get("/datasources/uid/solar/health").json()["message"] == "Database Connection OK"


def test_a_viewer_sees_neither_the_list_of_data_sources_nor_another_organisation(world: World) -> None:
    with world.as_viewer() as api:
        assert api.get("/datasources").status_code == 403
        assert api.post("/dashboards/db", json={"dashboard": {"title": "mine"}}).status_code == 403
        assert api.post("/user/using/1").status_code == 401
    with world.api(world.viewer, world.password, org=1) as api:
        assert api.get("/org").status_code >= 400


def test_a_disabled_user_is_refused_and_a_logged_out_one_has_no_session(world: World) -> None:
    login = {"user": world.viewer, "password": world.password}
    with httpx.Client(base_url=world.grafana.url, timeout=60) as browser, world.api() as admin:
        assert browser.post("/login", json=login).status_code == 200
        assert browser.get("/api/user").json()["login"] == world.viewer
        assert admin.post(f"/admin/users/{world.viewer_id}/logout").json()["message"] == "User logged out"
        assert browser.get("/api/user").status_code == 401
        admin.post(f"/admin/users/{world.viewer_id}/disable")
        try:
            assert browser.post("/login", json=login).status_code == 401
            assert world.query("SELECT 1").status_code == 401
        finally:
            admin.post(f"/admin/users/{world.viewer_id}/enable")


def test_a_role_that_was_closed_ends_the_queries_of_its_data_source(world: World) -> None:
    with psycopg.connect(world.server.superuser_conninfo(), autocommit=True) as connection:
        role = sql.Identifier(world.reader)
        assert _values(world.query("SELECT 1 AS n")) == [[1]]
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [world.reader])
        try:
            answer = world.query("SELECT 1")
            assert answer.status_code == 400
            assert "not permitted to log in" in answer.json()["results"]["A"]["error"]
        finally:
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(role))
