"""What readers of the database may see: Grafana's roles, in the operator's database (infra/postgres/readers.sql).

Each table, view and function of the schema has a decision here; a test takes them from the catalogue. What belongs to
one member is under row-level security keyed on the login role: a reader may send any SQL, `set_config` and several
statements at once included. Tables that everybody may see have none, because PostgreSQL cannot COPY into tables with it
and the chain is written with COPY.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from psycopg import sql

from minervas_ledger.store.connection import Connection

Sight: TypeAlias = Literal["everyone", "own", "fleet", "nobody"]
"""Who sees a table: every reader; a member its own rows and the operator all; the operator; no reader."""

MEMBERS: Final = "member_readers"
"""Group role of the members' login roles."""
FLEET: Final = "fleet_readers"
"""Group role of the operator's login role."""

TABLES: Final[dict[str, Sight]] = {
    # the chain, which every member's own node has, too
    "blocks": "everyone",
    "transactions": "everyone",
    "roster": "everyone",
    "node_state": "everyone",
    "state_rows": "everyone",
    "meters": "everyone",
    "channel_registers": "everyone",
    "statements": "everyone",
    "lots": "everyone",
    "orders": "everyone",
    "trades": "everyone",
    "obligations": "everyone",
    "retirements": "everyone",
    "slots": "everyone",
    "pending_fills": "everyone",
    "clearings": "everyone",
    "settlements": "everyone",
    "payments": "everyone",
    # what is told to every member's peer, or is about the chain and of the operator's node
    "mempool": "everyone",
    "votes": "everyone",
    "equivocations": "everyone",
    "abandoned_searches": "everyone",
    # what was metered
    "readings": "own",
    "readings_minute": "own",
    "readings_hour": "own",
    "reading_channels": "own",
    "reading_conflicts": "own",
    "expected_output": "own",
    # how the services are
    "fleet": "fleet",
    "readings_aside": "fleet",
    "reading_runs": "fleet",
    "reading_archives": "fleet",
    "statement_checks": "fleet",
    # proofs for other ledgers, and the tools' own
    "reading_batches": "nobody",
    "_yoyo_log": "nobody",
    "_yoyo_migration": "nobody",
    "_yoyo_version": "nobody",
    "yoyo_lock": "nobody",
}
"""Of every table, but for the days of `readings`, which are `DAY`."""

DAY: Final[Sight] = "nobody"
"""A partition of `readings`: it has no policy for readers, its parent has."""

VIEWS: Final[dict[str, Sight]] = {}
"""Of every view. Each is made WITH (security_invoker = true); materialized views cannot have row-level security."""

FUNCTIONS: Final[dict[str, Sight]] = {
    "current_member()": "everyone",
    "make_readings_day(integer)": "nobody",
    "drop_readings_day(integer,integer,text,bigint,bigint,bytea,bigint)": "nobody",
    "protect_readings_day(text)": "nobody",
}
"""Who may call each function, as `regprocedure` writes it."""

OWNER_SEES = "(SELECT has_table_privilege(session_user, 'public.readings', 'INSERT'))"
"""Functions and views of the owner act in its name: they see rows when the session is the ledger's or the owner's."""


def give_readers(connection: Connection, writer: str) -> None:
    """Set up row-level security, and the readers' rights where the database has readers. May be repeated.

    Args:
        connection: as the owner, inside a transaction.
        writer: the role that the ledger works with.
    """
    for table in (name for name, sight in TABLES.items() if sight == "own"):
        _protect(connection, table)
        _policy(connection, table, "owner_rows", "CURRENT_USER", OWNER_SEES)
        _policy(connection, table, "writer_rows", writer, "true")
    present = connection.execute("SELECT to_regnamespace('access') IS NOT NULL").fetchone()
    if present != (True,):
        return
    for table in (name for name, sight in TABLES.items() if sight == "own"):
        _policy(connection, table, "own_rows", MEMBERS, "member = (SELECT current_member())")
        _policy(connection, table, "fleet_rows", FLEET, "true")
    _grant(connection, MEMBERS, {"everyone", "own"})
    _grant(connection, FLEET, {"everyone", "own", "fleet"})


def _grant(connection: Connection, group: str, sights: set[Sight]) -> None:
    """Give a group exactly what it may see."""
    role = sql.Identifier(group)
    for statement in (
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}",
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {}",
    ):
        connection.execute(sql.SQL(statement).format(role))
    for name, sight in (TABLES | VIEWS).items():
        if sight in sights:
            connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(name), role))
    for function, sight in FUNCTIONS.items():
        if sight in sights:
            connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(function), role))


def _protect(connection: Connection, table: str) -> None:
    """Switch row-level security on, also for the owner; needs a lock against everybody, and so is not repeated."""
    done = connection.execute(
        "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", (table,)
    ).fetchone()
    if done != (True,):
        statement = sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        connection.execute(statement.format(sql.Identifier(table)))


def _policy(connection: Connection, table: str, name: str, role: str, using: str) -> None:
    """Make a policy if the table does not have it for this role. The condition of a name never changes."""
    who = sql.SQL("CURRENT_USER") if role == "CURRENT_USER" else sql.Identifier(role)
    found = connection.execute(
        """
        SELECT polroles = ARRAY[coalesce(to_regrole(%s), current_user::regrole)::oid] FROM pg_policy
        WHERE polrelid = %s::regclass AND polname = %s
        """,
        (None if role == "CURRENT_USER" else role, table, name),
    ).fetchone()
    if found == (True,):
        return
    names = {"name": sql.Identifier(name), "table": sql.Identifier(table), "who": who, "using": sql.SQL(using)}
    if found is not None:
        connection.execute(sql.SQL("DROP POLICY {name} ON {table}").format(**names))
    connection.execute(sql.SQL("CREATE POLICY {name} ON {table} TO {who} USING ({using})").format(**names))
