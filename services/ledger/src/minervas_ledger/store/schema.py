"""The schema: migrating it as the owner, and checking as the writer that it is what this version needs.

Migrations are plain SQL under yoyo. Two things of yoyo 9.0 are bent here: it takes the connection from a URL, which
would put the password through quoting, so its backend gets our connection; and its lock is a table row that a killed
run leaves behind, so an advisory lock of PostgreSQL, which ends with its session, guards the whole run.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from yoyo import read_migrations  # type: ignore[import-untyped]  # yoyo ships no types
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend  # type: ignore[import-untyped]
from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]

from minervas_core.errors import Code, LocalFault
from minervas_ledger.settings import DatabaseOwnerSettings, DatabaseSettings
from minervas_ledger.store.connection import Connection, as_transient, connect
from minervas_ledger.store.reader_rights import give_readers

APPLICATION = "minervas-ledger migrate"
MIGRATION_TABLE = "_yoyo_migration"
LOCK_KEY = 0x6D696E6572766173
"""Key of the advisory lock: "minervas" in ASCII."""

WRITER_RIGHTS = {
    "blocks": "SELECT, INSERT, UPDATE, DELETE",
    "transactions": "SELECT, INSERT, DELETE",
    "roster": "SELECT, INSERT, UPDATE, DELETE",
    "abandoned_searches": "SELECT, INSERT",
    "node_state": "SELECT, INSERT, UPDATE",
    "mempool": "SELECT, INSERT, DELETE",
    "state_rows": "SELECT, INSERT, DELETE",
    "votes": "SELECT, INSERT, DELETE",
    "equivocations": "SELECT, INSERT",
    "meters": "SELECT, INSERT, DELETE",
    "channel_registers": "SELECT, INSERT, DELETE",
    "statements": "SELECT, INSERT, DELETE",
    "lots": "SELECT, INSERT, UPDATE, DELETE",
    "orders": "SELECT, INSERT, DELETE",
    "slots": "SELECT, INSERT, DELETE",
    "pending_fills": "SELECT, INSERT, DELETE",
    "clearings": "SELECT, INSERT, DELETE",
    "trades": "SELECT, INSERT, DELETE",
    "obligations": "SELECT, INSERT, DELETE",
    "retirements": "SELECT, INSERT, DELETE",
    "settlements": "SELECT, INSERT, DELETE",
    "payments": "SELECT, INSERT, DELETE",
    "readings": "SELECT, INSERT",
    "reading_conflicts": "SELECT, INSERT",
    "readings_minute": "SELECT, INSERT, UPDATE",
    "readings_hour": "SELECT, INSERT, UPDATE",
    "reading_channels": "SELECT, INSERT, UPDATE",
    "reading_runs": "SELECT, INSERT, DELETE",
    "reading_batches": "SELECT, INSERT",
    "readings_aside": "SELECT, INSERT, DELETE",
    "reading_archives": "SELECT",
    "statement_checks": "SELECT, INSERT",
    "fleet": "SELECT, INSERT, UPDATE",
    "expected_output": "SELECT, INSERT, UPDATE",
    MIGRATION_TABLE: "SELECT",
}
"""What the writer may do, and nothing else: above all, it does not change the schema."""

WRITER_FUNCTIONS = (
    "make_readings_day(integer)",
    "drop_readings_day(integer, integer, text, bigint, bigint, bytea, bigint)",
)
"""Functions of the owner that the writer may call."""


def known_migrations() -> list[str]:
    """Ids of the migrations that this version brings, in order."""
    with _folder() as folder:
        return sorted(path.stem for path in folder.glob("*.sql") if not path.name.endswith(".rollback.sql"))


def migrate(database: DatabaseSettings, owner: DatabaseOwnerSettings) -> list[str]:
    """Bring the schema up to date and give the writer its rights. Does nothing if it is current.

    Returns:
        Ids of the migrations that were applied now.

    Raises:
        TransientFault: ``database_away``.
        LocalFault: ``schema_version`` if the database has a migration that this version does not know, or if a
            migration fails.
    """
    with as_transient(database), contextlib.closing(connect(database, role=owner, application=APPLICATION)) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        try:
            applied = _apply(database, owner)
        except psycopg.ProgrammingError as error:
            reason = " ".join(str(error).split())
            raise LocalFault(
                Code.SCHEMA_VERSION, "A migration failed; nothing of it was kept", name=database.name, reason=reason
            ) from error
        _grant(guard, database.user)
    return applied


def check_schema(connection: Connection, name: str) -> None:
    """Check that the schema is the one that this version needs.

    Raises:
        LocalFault: ``schema_version`` saying what to do.
    """
    present = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (MIGRATION_TABLE,)).fetchone()
    applied = _applied(connection) if present == (True,) else set()
    known = set(known_migrations())
    if missing := sorted(known - applied):
        raise LocalFault(
            Code.SCHEMA_VERSION, "The schema is not current; run minervas-ledger migrate", name=name, missing=missing[0]
        )
    _refuse_newer(applied - known, name)


def _refuse_newer(unknown: set[str], name: str) -> None:
    if unknown:
        raise LocalFault(
            Code.SCHEMA_VERSION,
            "The schema belongs to a newer version of the ledger; install that",
            name=name,
            unknown=min(unknown),
        )


def _applied(connection: Connection) -> set[str]:
    rows = connection.execute(sql.SQL("SELECT migration_id FROM {}").format(sql.Identifier(MIGRATION_TABLE))).fetchall()
    return {str(row[0]) for row in rows}


def _apply(database: DatabaseSettings, owner: DatabaseOwnerSettings) -> list[str]:
    with _folder() as folder, _Backend(database, owner) as backend:
        backend.init_database()
        backend.break_lock()  # we hold the advisory lock: a row can only be left from a run that was killed
        migrations = read_migrations(str(folder))
        waiting = backend.to_apply(migrations)
        _refuse_newer(_applied(backend.connection) - {item.id for item in migrations}, database.name)
        with backend.lock():
            backend.apply_migrations(waiting)
        return [str(item.id) for item in waiting]


def _grant(connection: Connection, writer: str) -> None:
    """Give the writer exactly `WRITER_RIGHTS`, whatever default privileges gave it before, and readers theirs."""
    role = sql.Identifier(writer)
    with connection.transaction():
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
        for table, rights in WRITER_RIGHTS.items():
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(rights), sql.Identifier(table), role))
        for function in WRITER_FUNCTIONS:
            connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(function), role))
        give_readers(connection, writer)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """The migrations as files, also when the package is zipped."""
    with importlib.resources.as_file(importlib.resources.files("minervas_ledger") / "migrations") as folder:
        yield folder


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """Yoyo's backend for psycopg 3 over our own connection."""

    def __init__(self, database: DatabaseSettings, owner: DatabaseOwnerSettings) -> None:
        self._database = database
        self._owner = owner
        where = DatabaseURI("postgresql+psycopg", owner.user, None, database.host, database.port, database.name, {})
        super().__init__(where, MIGRATION_TABLE)

    def connect(self, dburi: Any) -> Connection:  # noqa: ARG002 - yoyo passes what it was given
        return connect(self._database, role=self._owner, application=APPLICATION)

    def copy(self) -> _Backend:
        return _Backend(self._database, self._owner)

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        """Return a row of yoyo's log. Yoyo itself asks for our login name, and in many containers there is none."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": self._owner.user,
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }
