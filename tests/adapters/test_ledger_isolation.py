"""No trick of a member who may send any SQL brings another member's row back, nor the power to do harm.

Each trick is SQL as a Viewer's panel can send it: several statements at once, on a connection that is kept. It runs as
the role of `mine`; the rows of `other` have a value that appears nowhere else. A trick fails when that value, or the
other's existence where it should not show, is in anything that comes back: rows, plans, or error messages.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from minervas_devnet.postgres import PostgresServer
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reader_rights import TABLES
from tests.support.readers import OPERATOR, Readers

DAY = 20_000
DAY_MS = DAY * 86_400_000
MARK = 7_777_777
"""Power of every row of the other member."""
OWN = 1_234

FOREIGN = {str(MARK), "secret-roof"}
"""What must not come back. (Names of members are on the chain, which all have.)"""

DAY_TABLE = "readings_20241004"

ROWS = """
INSERT INTO readings
    SELECT %(member)s, %(meter)s, 'ch2', %(day)s + i * 1000, decode(repeat('0' || %(n)s, 16), 'hex'), i, 'measured',
        %(power)s, 1, 1, i, NULL, '', convert_to(%(power)s::text, 'UTF8'), 1
    FROM generate_series(0, 99) AS i;
INSERT INTO readings_minute
    (member, meter, channel, minute_ms, measured, substituted, missing, power_min_mw, power_max_mw, powers,
        power_sum_mw)
    SELECT %(member)s, %(meter)s, 'ch2', %(day)s + i * 60000, 60, 0, 0, %(power)s, %(power)s, 1, %(power)s
    FROM generate_series(0, 99) AS i;
INSERT INTO readings_hour
    (member, meter, channel, hour_ms, measured, substituted, missing, power_min_mw, power_max_mw, powers, power_sum_mw)
    VALUES (%(member)s, %(meter)s, 'ch2', %(day)s, 60, 0, 0, %(power)s, %(power)s, 1, %(power)s);
INSERT INTO reading_channels VALUES (%(member)s, %(meter)s, 'ch2', 1, 0, %(power)s);
INSERT INTO expected_output VALUES (%(member)s, %(meter)s, 'ch2', 1, 1, %(power)s, 1, '', 1);
INSERT INTO reading_conflicts VALUES
    (%(member)s, %(meter)s, 'ch2', 1, '', 1, sha256(''), convert_to(%(power)s::text, 'UTF8'), '', 1);
"""

READ = [
    "SELECT * FROM {table}",
    "SELECT * FROM {table} WHERE member = 'other'",
    "SELECT count(*), max(t::text) FROM {table} AS t WHERE member <> 'mine'",
    "SELECT * FROM ONLY {table}",
    "TABLE {table}",
    "SELECT a.*, b.* FROM {table} a LEFT JOIN {table} b ON a.member <> b.member",
    "SELECT query_to_xml('TABLE {table}', true, true, '')",
    "SELECT table_to_xml('{table}', true, true, '')",
    "COPY (SELECT * FROM {table}) TO STDOUT",
    "COPY {table} TO STDOUT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM {table}; FETCH ALL FROM c; CLOSE c",
    "PREPARE p AS SELECT * FROM {table}; EXECUTE p; DEALLOCATE p",
    "SET row_security = off; SELECT * FROM {table}",
    "SELECT * FROM {table} TABLESAMPLE SYSTEM (100)",
    "SELECT * FROM {table} WHERE (SELECT set_config('app.member', 'other', false)) = 'other'",
]
"""Ways to read a table, tried on each that holds rows of members."""

TRICKS = {
    "a day past its parent": "SELECT * FROM {day}",
    "a day by COPY": "COPY {day} TO STDOUT",
    "a setting": "SELECT set_config('app.member', 'other', false); SELECT * FROM readings",
    "the search path": "SET search_path = pg_temp, public; SELECT * FROM public.readings",
    "another member's role": "SET ROLE {other}; SELECT * FROM readings",
    "the group's role": "SET ROLE member_readers; SELECT * FROM readings",
    "the operator's group": "SET ROLE fleet_readers; SELECT * FROM readings",
    "the keeper": "SET ROLE reader_keeper; SELECT * FROM access.reader_roles",
    "the owner": "SET ROLE {owner}; SELECT * FROM readings",
    "another session user": "SET SESSION AUTHORIZATION {other}; SELECT * FROM readings",
    "a grant": "GRANT fleet_readers TO {mine}",
    "opening a reader": "SELECT access.open_reader('other', 'x')",
    "who has which role": "SELECT * FROM access.reader_roles",
    "the list of roles": "SELECT * FROM access.list_readers()",
    "closing another": "SELECT access.close_reader('other')",
    "a temporary table": "CREATE TEMP TABLE mine AS SELECT * FROM readings; TABLE mine",
    "a temporary function": "CREATE FUNCTION pg_temp.current_member() RETURNS text LANGUAGE sql AS 'SELECT ''other'''",
    "an own function": "CREATE FUNCTION public.current_member(int) RETURNS text LANGUAGE sql AS 'SELECT ''other'''",
    "a view": "CREATE VIEW public.v AS SELECT * FROM readings",
    "a temporary view": "CREATE TEMP VIEW v AS SELECT * FROM readings",
    "an own schema": "CREATE SCHEMA mine",
    "an extension": "CREATE EXTENSION dblink",
    "dblink": "SELECT * FROM dblink('dbname=postgres', 'SELECT 1') AS t (x int)",
    "a block of code": "DO $$ BEGIN PERFORM set_config('role', 'fleet_readers', true); END $$; SELECT * FROM readings",
    "a leak by a message": "SELECT * FROM readings WHERE CAST(member || ':' || power_mw AS int) = 1",
    "a leak by division": "SELECT 1 / (power_mw - {mark}) FROM readings",
    "a leak by a function with messages": (
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM readings WHERE power_mw > 0 LOOP RAISE NOTICE '%', r;"
        " END LOOP; END $$"
    ),
    "a leak by json": "SELECT * FROM readings WHERE (member || power_mw)::json IS NULL",
    "statistics": "SELECT * FROM pg_stats WHERE tablename LIKE 'reading%'",
    "extended statistics": "SELECT * FROM pg_stats_ext",
    "raw statistics": "SELECT stavalues1 FROM pg_statistic",
    "a plan": "EXPLAIN (VERBOSE, ANALYZE) SELECT * FROM readings WHERE member = 'other'",
    "a plan's guess by value": "EXPLAIN SELECT * FROM readings_minute WHERE power_max_mw = 7777776",
    "other sessions": "SELECT query, usename FROM pg_stat_activity WHERE usename <> current_user AND query <> ''",
    "another's lock": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "a file": "SELECT pg_read_file('postgresql.auto.conf')",
    "a directory": "SELECT pg_ls_dir('.')",
    "a file by COPY": "COPY access.reader_roles FROM '/etc/passwd'",
    "a program": "COPY (SELECT 1) TO PROGRAM 'id'",
    "lo_import": "SELECT lo_import('/etc/passwd')",
    "lo_export": "SELECT lo_export(1, '/tmp/x')",
    "a large object": "SELECT lo_from_bytea(0, 'fills the disk')",
    "all large objects": "SELECT data FROM pg_largeobject",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "passwords by another view": "SELECT passwd FROM pg_shadow",
    "user mappings": "SELECT * FROM pg_user_mappings",
    "an own password": "ALTER ROLE {mine} PASSWORD 'x' SUPERUSER",
    "another's password": "ALTER ROLE {other} PASSWORD 'x'",
    "a system setting": "ALTER SYSTEM SET log_statement = 'all'",
    "a system-wide setting": "SET session_replication_role = replica",
    "switching security off": "ALTER TABLE readings DISABLE ROW LEVEL SECURITY",
    "an own policy": "CREATE POLICY mine ON readings USING (true)",
    "writing": "SET default_transaction_read_only = off; DELETE FROM readings",
    "writing to the chain": "SET transaction_read_only = off; UPDATE trades SET price_micro = 0",
    "inserting": "SET transaction_read_only = off; INSERT INTO reading_channels VALUES ('mine', '', '', 1, 1, 1)",
    "a day's maker": "SELECT make_readings_day(1)",
    "a day's end": "SELECT drop_readings_day(20000, 1, 'x', 200, 1, '', 1)",
    "holding the ledger up": "SELECT pg_advisory_lock(hashtext('make_readings_day'))",
    "holding up a migration": "SELECT pg_try_advisory_lock(1)",
    "filling the log": "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "the fleet": "SELECT * FROM fleet",
    "signed batches": "SELECT * FROM reading_batches",
    "other databases": "SELECT datname FROM pg_database; SELECT * FROM yoyo_lock",
    "the write-ahead log": "SELECT pg_switch_wal()",
    "ending sessions": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
}
"""What members of a Grafana organisation could send, by what it tries."""

HARMLESS = {
    "a setting", "the search path", "the group's role", "statistics", "extended statistics", "a plan",
    "a plan's guess by value", "other sessions", "user mappings", "a leak by a function with messages",
    "a leak by division",
}  # fmt: skip
"""Tricks that the database may carry out, because nothing comes of them; all others it has to refuse."""


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, readers: Readers) -> Readers:
    """Rows of both members in every table of members, statistics over them, and a large object of somebody."""
    database = readers.database
    with psycopg.connect(database.conninfo(database.writer), autocommit=True) as writer:
        writer.execute("SELECT make_readings_day(%s)", (DAY,))
        for member, meter, power in (("mine", "roof", OWN), ("other", "secret-roof", MARK)):
            values = {"member": member, "meter": meter, "power": power, "day": DAY_MS, "n": len(meter) % 10}
            psycopg.ClientCursor(writer).execute(ROWS, values)
    with psycopg.connect(postgres_server.superuser_conninfo(database.name), autocommit=True) as superuser:
        superuser.execute("ANALYZE")
        superuser.execute("SELECT lo_from_bytea(0, convert_to(%s, 'UTF8'))", (str(MARK),))
    readers.open("other")
    return readers


@pytest.fixture(scope="module")
def mine(world: Readers) -> Iterator[Connection]:
    """A connection as the member that tries."""
    with world.connect("mine") as connection:
        yield connection


@pytest.fixture(scope="module")
def others(world: Readers, mine: Connection) -> Iterator[dict[str, str]]:
    """The names of both roles, while the other has a session."""
    with world.connect("other") as other:
        other.execute("SELECT 'secret-roof'")
        yield {"mine": mine.info.user, "other": other.info.user}


def attempt(connection: Connection, statement: str) -> tuple[str, bool]:
    """Everything that comes back from statements, as text, and whether the database carried them out."""
    back: list[str] = []
    hear = lambda notice: back.append(str(notice.message_primary))  # noqa: E731 - to be taken away again
    connection.add_notice_handler(hear)
    try:
        cursor = connection.cursor()
        if statement.upper().startswith("COPY") and "STDOUT" in statement:
            with cursor.copy(statement.encode()) as copy:
                back += [bytes(row).decode(errors="replace") for row in copy]
            return "\n".join(back), True
        cursor.execute(statement.encode())
        while True:
            if cursor.description:
                back += [repr(row) for row in cursor.fetchall()]
            if not cursor.nextset():
                return "\n".join(back), True
    except psycopg.Error as error:
        back.append(f"{error} {error.diag.message_detail} {error.diag.context}")
        return "\n".join(back), False
    finally:
        connection.remove_notice_handler(hear)
        connection.execute("ROLLBACK")
        connection.execute("RESET ALL")
        connection.execute("RESET ROLE")


def assert_nothing_foreign(back: str) -> None:
    shown = {mark for mark in FOREIGN if mark in back}
    hidden_in_bytes = str(MARK).encode().hex() in back
    assert not shown, back[:500]
    assert not hidden_in_bytes, back[:500]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_brings_a_foreign_row(world: Readers, mine: Connection, others: dict[str, str], trick: str) -> None:
    names = {**others, "owner": world.database.owner.user, "day": DAY_TABLE}
    statement = TRICKS[trick].replace("{mark}", str(MARK))
    for name, value in names.items():
        statement = statement.replace(f"{{{name}}}", sql.Identifier(value).as_string(None))
    back, carried_out = attempt(mine, statement)
    assert_nothing_foreign(back)
    assert carried_out == (trick in HARMLESS), back[:500]


@pytest.mark.parametrize("table", sorted(name for name, sight in TABLES.items() if sight == "own"))
def test_no_way_of_reading_brings_a_foreign_row(mine: Connection, table: str) -> None:
    seen_own = False
    for way in READ:
        back, _ = attempt(mine, way.format(table=table))
        assert_nothing_foreign(back)
        seen_own = seen_own or "mine" in back
    assert seen_own, "the member sees its own rows, so these ways do read"


def test_the_tricks_would_show_the_foreign_rows_if_they_were_seen(world: Readers) -> None:
    with world.connect(OPERATOR) as operator:
        for table in (name for name, sight in TABLES.items() if sight == "own"):
            for way in READ[:2]:
                back, _ = attempt(operator, way.format(table=table))
                assert FOREIGN & {mark for mark in FOREIGN if mark in back}


@pytest.mark.parametrize(("table", "column"), [("readings", "power_mw"), ("readings_minute", "power_max_mw")])
def test_plans_tell_nothing_of_what_others_measured(mine: Connection, table: str, column: str) -> None:
    """The planner's guess is the same for a value that only the other has and for one that nobody has."""

    def guess(power: int) -> str:
        back, _ = attempt(mine, statement.replace("$", str(power)))
        assert "cost=" in back
        return back.replace(str(power), "$")

    statement = f"EXPLAIN SELECT * FROM {table} WHERE {column} = $"  # noqa: S608 - names of this test
    assert guess(MARK) == guess(MARK - 1)
    statement = statement.replace(" = ", " > ")
    assert guess(MARK - 1) == guess(OWN * 2)


def test_role_names_do_not_tell_whose_they_are(mine: Connection) -> None:
    back, _ = attempt(mine, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'gm%'")
    assert back.count("gm_") >= 2
    assert "other" not in back


def test_what_the_owner_makes_by_mistake_shows_nothing(world: Readers) -> None:
    """A view without security_invoker, with a right for all: the mistake for which row-level security is forced."""
    database = world.database
    with psycopg.connect(database.conninfo(database.owner), autocommit=True) as owner:
        owner.execute("CREATE VIEW mistaken AS SELECT * FROM readings_minute")
        owner.execute(sql.SQL("GRANT SELECT ON mistaken, {} TO member_readers").format(sql.Identifier(DAY_TABLE)))
        try:
            with world.connect("mine") as connection:
                for table in ("mistaken", DAY_TABLE):
                    back, carried_out = attempt(connection, f"TABLE {table}")
                    assert (back, carried_out) == ("", True)
        finally:
            owner.execute("DROP VIEW mistaken")
            owner.execute(sql.SQL("REVOKE ALL ON {} FROM member_readers").format(sql.Identifier(DAY_TABLE)))


def test_a_member_has_few_connections(world: Readers) -> None:
    taken = [psycopg.connect(world.conninfo("mine")) for _ in range(5)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            taken += [psycopg.connect(world.conninfo("mine")) for _ in range(2)]
    finally:
        for connection in taken:
            connection.close()
