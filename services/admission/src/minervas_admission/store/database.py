"""The connection to the database, and what its errors mean.

Admission has little to do at any moment, so the service uses one connection and one transaction after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from minervas_admission.settings import DatabaseOwnerSettings, DatabaseSettings
from minervas_core.errors import Code, TransientFault
from minervas_runtime.key_files import read_secret

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000
"""A statement that takes longer hangs."""


def connection_parameters(
    database: DatabaseSettings, *, role: DatabaseOwnerSettings | None = None, application: str
) -> dict[str, str]:
    """How to connect, password included: keep it out of logs.

    Args:
        database: where it is.
        role: who connects; the database's user if not given.
        application: shown in ``pg_stat_activity``.

    Raises:
        LocalFault: ``bad_key_file`` if the password file is unusable.
    """
    who = role or database
    return {
        "host": database.host,
        "port": str(database.port),
        "dbname": database.name,
        "user": who.user,
        "password": read_secret(who.password_file).strip().decode("utf-8", "replace"),
        "application_name": application,
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        "keepalives_idle": "10",  # a server whose machine is gone is noticed within half a minute
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }


def database_away(database: DatabaseSettings, error: BaseException) -> TransientFault:
    """Say which database is away, and why, in one line."""
    return TransientFault(
        Code.DATABASE_AWAY,
        "The database does not answer",
        host=database.host,
        port=database.port,
        name=database.name,
        user=database.user,
        reason=" ".join(str(error).split()),
    )


async def connect(database: DatabaseSettings, *, application: str) -> Connection:
    """Open a connection in autocommit mode.

    Raises:
        TransientFault: ``database_away`` if it can not be reached or does not let us in.
        LocalFault: ``bad_key_file`` if the password file is unusable.
    """
    parameters = connection_parameters(database, application=application)
    try:
        return await psycopg.AsyncConnection.connect(psycopg.conninfo.make_conninfo("", **parameters), autocommit=True)
    except psycopg.OperationalError as error:
        raise database_away(database, error) from error


class Database:
    """The service's connection; opened when it is first needed, and again after a loss."""

    def __init__(self, settings: DatabaseSettings, *, application: str) -> None:
        self._settings = settings
        self._application = application
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @property
    def settings(self) -> DatabaseSettings:
        """Where it is."""
        return self._settings

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed at the end, rolled back if the block raises.

        Raises:
            TransientFault: ``database_away``; whether a commit that was under way succeeded is then unknown.
        """
        async with self._lock:
            connection = await self._usable()
            try:
                async with connection.transaction():
                    yield connection
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await self._drop()
                raise database_away(self._settings, error) from error

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            await self._drop()

    async def _usable(self) -> Connection:
        if self._connection and not await _is_alive(self._connection):
            await self._drop()
        if self._connection is None:
            self._connection = await connect(self._settings, application=self._application)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _is_alive(connection: Connection) -> bool:
    """Whether a kept connection still works: after a restart of the server it only looks as if it did."""
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    try:
        await connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
