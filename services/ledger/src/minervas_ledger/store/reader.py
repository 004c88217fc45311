"""Reading the database beside the chain's own thread, so that questions are answered while a long block is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg

from minervas_ledger.one_thread import OneThread
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import Connection, as_transient, connect

T = TypeVar("T")


class SideConnection:
    """A connection of its own with a thread of its own; connects again after a loss, at the next question."""

    def __init__(self, database: DatabaseSettings, application: str) -> None:
        self._database = database
        self._application = application
        self._connection: Connection | None = None
        self._thread = OneThread(application.replace(" ", "-"))

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Run a question; if it is asked again after a loss, nothing of it happened before.

        Raises:
            TransientFault: ``database_away``.
        """
        return await self._thread.run(lambda: self._ask(question))

    def _ask(self, question: Callable[[Connection], T]) -> T:
        with as_transient(self._database):
            if self._connection is not None:
                try:
                    return question(self._connection)
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    if not self._connection.broken:
                        raise
                    self._close()  # the server was restarted since the last question: that is no trouble by itself
            self._connection = connect(self._database, application=self._application)
            self._prepare(self._connection)
            return question(self._connection)

    def _prepare(self, connection: Connection) -> None:
        """Make a new connection ready."""

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._thread.run(self._close)
        self._thread.close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class DatabaseReader(SideConnection):
    """A connection that only reads."""

    def __init__(self, database: DatabaseSettings, application: str = "minervas-ledger reader") -> None:
        super().__init__(database, application)

    def _prepare(self, connection: Connection) -> None:
        connection.execute("SET default_transaction_read_only = on")


class DutyConnection(SideConnection):
    """A connection for what is neither chain nor readings: who is there, checks, archives."""

    def __init__(self, database: DatabaseSettings) -> None:
        super().__init__(database, "minervas-ledger duties")
