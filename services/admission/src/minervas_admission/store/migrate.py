"""Brings the tables up to date, as their owner, and gives the working role what it needs and no more.

Two things of yoyo 9.0 are bent here. Its lock is a table row that a killed run leaves behind, so an advisory lock of
PostgreSQL guards the whole run. Its log wants a login name, and in many containers there is none.
"""

from __future__ import annotations

import datetime as dt
import socket
import uuid
from typing import Any

import psycopg
from psycopg import sql
from yoyo import read_migrations  # type: ignore[import-untyped]  # yoyo ships no types
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend  # type: ignore[import-untyped]
from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]

from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.database import connection_parameters, database_away
from minervas_admission.store.schema import MIGRATION_TABLE, MIGRATIONS, check_not_newer
from minervas_core.errors import Code, LocalFault

LOCK = 0x6D69_6E65_7276_6101
"""Advisory lock of a running migration ("minerva", 1)."""

APPLICATION = "minervas-admission migrate"

WORKING_RIGHTS = {
    "applications": "SELECT, INSERT, UPDATE",
    "claimed_keys": "SELECT, INSERT, DELETE",
    "members": "SELECT, INSERT, UPDATE",
    "certificates": "SELECT, INSERT, UPDATE",
    "renewals": "SELECT, INSERT",
    "renewed_certificates": "SELECT, INSERT",
    "decisions": "SELECT, INSERT, UPDATE",
    "saga_steps": "SELECT, INSERT, UPDATE",
    "membership_transactions": "SELECT, INSERT, UPDATE",
    "presence": "SELECT, INSERT, UPDATE, DELETE",
    "operator_tip": "SELECT, UPDATE",
    "audit_log": "SELECT, INSERT",
    "audit_head": "SELECT, UPDATE",
    "application_forms": "SELECT, INSERT, UPDATE, DELETE",
    "operators": "SELECT, INSERT, UPDATE",
    "operator_sessions": "SELECT, INSERT, UPDATE, DELETE",
    "grafana_access": "SELECT, INSERT, UPDATE",
    "grafana_links": "SELECT, INSERT, UPDATE, DELETE",
    MIGRATION_TABLE: "SELECT",
}
"""What the working role may do: above all, it does not change the audit log or the schema."""


def migrate(settings: AdmissionSettings) -> list[str]:
    """Apply all migrations that are missing; returns their names.

    Raises:
        LocalFault: ``bad_settings`` without ``[database_owner]``; ``bad_key_file``; ``schema_version`` if the database
            is newer than this program or a migration fails.
        TransientFault: ``database_away``.
    """
    owner = settings.database_owner
    if owner is None:
        raise LocalFault(Code.BAD_SETTINGS, "migrate needs the section [database_owner] in the settings")
    parameters = connection_parameters(settings.database, role=owner, application=APPLICATION)
    conninfo = psycopg.conninfo.make_conninfo("", **parameters)
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            applied = _apply(conninfo, owner.user)
            if settings.database.user != owner.user:
                _grant(connection, settings.database.user)
    except psycopg.OperationalError as error:
        raise database_away(settings.database, error) from error
    except psycopg.Error as error:
        raise LocalFault(
            Code.SCHEMA_VERSION, "A migration failed; nothing of it was kept", reason=" ".join(str(error).split())
        ) from error
    return applied


def _apply(conninfo: str, user: str) -> list[str]:
    with _Backend(conninfo, user) as backend:
        backend.init_database()
        backend.break_lock()  # we hold the advisory lock: a row can only be left from a run that was killed
        migrations = read_migrations(str(MIGRATIONS))
        missing = backend.to_apply(migrations)
        rows = backend.execute(f"SELECT migration_id FROM {MIGRATION_TABLE}").fetchall()  # noqa: S608 - a constant
        check_not_newer({str(name) for (name,) in rows})
        with backend.lock():
            backend.apply_migrations(missing)
        return [str(migration.id) for migration in missing]


def _grant(connection: psycopg.Connection[Any], user: str) -> None:
    """Give the working role exactly `WORKING_RIGHTS`, whatever default privileges gave it before."""
    role = sql.Identifier(user)
    with connection.transaction():
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
        for table, rights in WORKING_RIGHTS.items():
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(rights), sql.Identifier(table), role))


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """Yoyo's backend for psycopg 3, connected as we connect: no password goes through a URL."""

    def __init__(self, conninfo: str, user: str) -> None:
        self._conninfo = conninfo
        self._user = user
        super().__init__(DatabaseURI("postgresql+psycopg", user, None, None, None, "", {}), MIGRATION_TABLE)

    def connect(self, dburi: Any) -> psycopg.Connection[Any]:  # noqa: ARG002 - yoyo passes what it was given
        return psycopg.connect(self._conninfo, autocommit=True)

    def copy(self) -> _Backend:
        return _Backend(self._conninfo, self._user)

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        """Return a row of yoyo's log."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": self._user,
            "hostname": socket.gethostname(),
            "created_at_utc": dt.datetime.now(dt.UTC).replace(tzinfo=None),
            "operation": operation,
        }
