"""Each table, view and function of the ledger's schema has a decision about who may read it; the server keeps to it.

Whoever adds one finds it here: it is decided in `minervas_ledger.store.reader_rights`, or these tests fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reader_rights import FLEET, FUNCTIONS, MEMBERS, TABLES, VIEWS
from tests.support.ledger import database_settings, migrated
from tests.support.readers import OPERATOR, Readers

RELATIONS = """
SELECT relname::text, relkind::text, relispartition, relrowsecurity AND relforcerowsecurity,
    coalesce('security_invoker=true' = ANY(reloptions), false)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""
RIGHTS = """
SELECT relname::text, has_table_privilege(%(who)s, oid, 'SELECT'),
    has_table_privilege(%(who)s, oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'),
    has_any_column_privilege(%(who)s, oid, 'SELECT, INSERT, UPDATE, REFERENCES')
FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'access'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""
CALLS = """
SELECT replace(oid::regprocedure::text, 'public.', ''), has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc
WHERE pronamespace IN ('public'::regnamespace, 'access'::regnamespace)
"""
A_DAY = 20_000


@pytest.fixture(scope="module")
def readers(postgres_server: PostgresServer) -> Readers:
    """A migrated database with readers and a day of readings."""
    database = postgres_server.create_database("test-reader-rights")
    readers = Readers(postgres_server, database)
    with psycopg.connect(database.conninfo(database.writer), autocommit=True) as writer:
        writer.execute("SELECT make_readings_day(%s)", (A_DAY,))
    return readers


@pytest.fixture(scope="module")
def catalogue(readers: Readers) -> Iterator[Connection]:
    """A connection that reads the catalogue."""
    with readers.connect_access() as connection:
        yield connection


def test_every_table_and_view_has_a_decision(catalogue: Connection) -> None:
    found = catalogue.execute(RELATIONS).fetchall()
    assert {str(name) for name, kind, day, *_ in found if kind in {"r", "p"} and not day} == TABLES.keys()
    assert {str(name) for name, kind, *_ in found if kind == "v"} == VIEWS.keys()
    assert [name for name, kind, *_ in found if kind in {"m", "f"}] == [], "cannot have row-level security"


def test_own_rows_and_days_are_under_row_level_security_also_for_the_owner(catalogue: Connection) -> None:
    found = catalogue.execute(RELATIONS).fetchall()
    days = {str(name) for name, _, day, *_ in found if day}
    assert days
    own = {name for name, sight in TABLES.items() if sight == "own"}
    assert {str(name) for name, _, _, protected, _ in found if protected} == own | days


def test_views_see_with_the_rights_of_who_asks(catalogue: Connection) -> None:
    found = catalogue.execute(RELATIONS).fetchall()
    assert [name for name, kind, *_, invoker in found if kind == "v" and not invoker] == []


def test_every_function_has_a_decision(catalogue: Connection) -> None:
    found = {str(name) for (name, _) in catalogue.execute(CALLS, ("pg_monitor",)).fetchall()}
    assert {name for name in found if not name.startswith("access.")} == FUNCTIONS.keys()


@pytest.mark.parametrize(("group", "sights"), [(MEMBERS, {"everyone", "own"}), (FLEET, {"everyone", "own", "fleet"})])
def test_readers_have_exactly_the_rights_that_were_decided(catalogue: Connection, group: str, sights: set[str]) -> None:
    rights = catalogue.execute(RIGHTS, {"who": group}).fetchall()
    decided = {name for name, sight in (TABLES | VIEWS).items() if sight in sights}
    assert {str(name) for name, select, _, _ in rights if select} == decided
    assert {str(name) for name, _, _, column in rights if column} == decided
    assert [name for name, _, change, _ in rights if change] == []
    calls = {str(name) for name, allowed in catalogue.execute(CALLS, (group,)).fetchall() if allowed}
    assert calls == {name for name, sight in FUNCTIONS.items() if sight in sights}


def test_admission_opens_and_closes_readers_and_has_no_other_right(readers: Readers, catalogue: Connection) -> None:
    for _, *rights in catalogue.execute(RIGHTS, {"who": readers.access.user}).fetchall():
        assert rights == [False, False, False]
    calls = {str(name) for name, allowed in catalogue.execute(CALLS, (readers.access.user,)).fetchall() if allowed}
    assert calls
    assert all(name.startswith("access.") for name in calls)
    attributes = catalogue.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = %s",
        (readers.access.user,),
    ).fetchone()
    assert attributes == (False, False, False, False, False)
    for statement in ("CREATE ROLE gm_x", "SET ROLE reader_keeper", f"GRANT {FLEET} TO {readers.access.user}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            catalogue.execute(statement.encode())


@pytest.mark.parametrize("member", ["", "M1", "m_1", "m1'; DROP ROLE x; --", "x" * 33])
def test_reader_is_opened_only_for_a_member_id(readers: Readers, member: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        readers.open(member)


def test_reader_gets_no_password_that_is_not_a_verifier(catalogue: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        catalogue.execute("SELECT access.open_reader('m1', 'plain')")


def test_reader_keeps_its_random_name_when_it_is_opened_again(readers: Readers) -> None:
    first = readers.open("m7")
    assert re.fullmatch("gm_[0-9a-f]{16}", first)
    old = readers.conninfo("m7")
    assert readers.open("m7") == first
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(old)
    assert readers.open("m8") != first


def test_what_a_member_did_to_its_own_role_ends_when_it_is_opened_again(readers: Readers) -> None:
    with readers.connect("m10") as grafana:
        grafana.execute("SET default_transaction_read_only = off")
        for change in ("SET search_path = nowhere", "SET statement_timeout = 0", "PASSWORD 'known'"):
            grafana.execute(f"ALTER ROLE CURRENT_USER {change}".encode())
        here = f'"{readers.database.name}"'
        for change in ("role = member_readers", "row_security = off"):  # the first can not be reset, and does no harm
            grafana.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {here} SET {change}".encode())
    readers.open("m10")
    with readers.connect("m10") as grafana:
        assert grafana.execute("SELECT current_member()").fetchone() == ("m10",)
        assert grafana.execute("SHOW statement_timeout").fetchone() == ("20s",)
        assert grafana.execute("SELECT count(*) FROM readings").fetchone() == (0,)


def test_a_reader_does_not_fill_the_disk_with_temporary_files(readers: Readers) -> None:
    with readers.connect("m11") as grafana:
        assert grafana.execute("SHOW temp_file_limit").fetchone() == ("512MB",)
        grafana.execute("SET default_transaction_read_only = off")
        for attempt in ("SET temp_file_limit = -1", "ALTER ROLE CURRENT_USER SET temp_file_limit = -1"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                grafana.execute(attempt.encode())
    for login in (readers.database.owner, readers.database.writer):
        with psycopg.connect(readers.database.conninfo(login)) as ledger:
            assert ledger.execute("SHOW temp_file_limit").fetchone() == ("-1",)


def test_closed_reader_sees_nothing_is_cut_and_comes_back_only_when_opened(readers: Readers) -> None:
    with readers.connect("m9") as grafana, readers.connect_access() as access:
        assert grafana.execute("SELECT current_member()").fetchone() == ("m9",)
        assert access.execute("SELECT access.end_sessions('m9')").fetchone() == (0,), "it is open"
        assert access.execute("SELECT access.close_reader('m9')").fetchone() == (True,)
        assert grafana.execute("SELECT current_member()").fetchone() == (None,)
        assert access.execute("SELECT access.end_sessions('m9')").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            grafana.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(readers.conninfo("m9"))
        assert access.execute("SELECT access.close_reader('nobody')").fetchone() == (False,)
    readers.open("m9")
    with readers.connect("m9") as grafana:
        assert grafana.execute("SELECT current_member()").fetchone() == ("m9",)


def test_database_without_readers_stays_closed_to_them(postgres_server: PostgresServer, readers: Readers) -> None:
    other = postgres_server.create_database("test-no-readers")
    migrated(other)
    elsewhere = psycopg.conninfo.make_conninfo(readers.conninfo(OPERATOR), dbname=other.name)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(elsewhere)


def test_ledger_works_on_under_row_level_security(node_database: NodeDatabase) -> None:
    settings = migrated(node_database)
    with psycopg.connect(node_database.conninfo(node_database.writer), autocommit=True) as writer:
        writer.execute("INSERT INTO reading_channels VALUES ('m1', 'roof', 'ch2', 1, 0, 1)")
        assert writer.execute("SELECT count(*) FROM reading_channels").fetchone() == (1,)
        writer.execute("UPDATE reading_channels SET stored = 2")
    assert settings == database_settings(node_database)
