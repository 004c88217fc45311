"""Connections to the node's database, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import psycopg
from psycopg.adapt import PyFormat

from minervas_core.errors import Code, TransientFault
from minervas_ledger.settings import DatabaseOwnerSettings, DatabaseSettings
from minervas_ledger.store.arrays import Packed, PackedDumper
from minervas_runtime.key_files import read_secret

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]
"""A connection whose rows are tuples."""

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 60_000
"""A statement that takes longer hangs: the longest, a reorganisation, takes seconds."""
OPTIONS = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC"


def connect(database: DatabaseSettings, *, role: DatabaseOwnerSettings | None = None, application: str) -> Connection:
    """Open a connection in autocommit mode; transactions are begun explicitly.

    Args:
        database: where it is.
        role: who connects; the database's user if not given.
        application: shown in ``pg_stat_activity``.

    Raises:
        TransientFault: ``database_away`` if it cannot be reached or does not let us in.
        LocalFault: ``bad_key_file`` if the password file is unusable.
    """
    who = role or database
    password = read_secret(who.password_file).strip().decode("utf-8", "replace")
    try:
        connection = psycopg.connect(
            host=database.host,
            port=database.port,
            dbname=database.name,
            user=who.user,
            password=password,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=application,
            options=OPTIONS,
            keepalives_idle=5,  # a server whose machine is gone is noticed within some 15 seconds
            keepalives_interval=5,
            keepalives_count=2,
            tcp_user_timeout=15_000,
        )
    except psycopg.OperationalError as error:
        raise database_away(database, error) from error
    _prefer_compiled_dumper(connection)
    connection.adapters.register_dumper(Packed, PackedDumper)
    return connection


def database_away(database: DatabaseSettings, error: psycopg.Error) -> TransientFault:
    """Say which database is away, as whom we came, and why, in one line."""
    reason = " ".join(str(error).split())
    return TransientFault(
        Code.DATABASE_AWAY,
        "The database does not answer",
        host=database.host,
        port=database.port,
        name=database.name,
        user=database.user,
        reason=reason,
    )


def _prefer_compiled_dumper(connection: Connection) -> None:
    """Let COPY dump bytes with the compiled dumper: by the column's type, psycopg finds one written in Python."""
    connection.adapters.register_dumper(bytes, connection.adapters.get_dumper(bytes, PyFormat.BINARY))


@contextmanager
def as_transient(database: DatabaseSettings) -> Iterator[None]:
    """Turn the loss of the connection into a `TransientFault`; errors of the statements themselves stay what they are.

    Raises:
        TransientFault: ``database_away``.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise database_away(database, error) from error
