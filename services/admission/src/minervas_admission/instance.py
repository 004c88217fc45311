"""There is one running service per database: it holds a lock there, and hears of new decisions on the same connection.

The lock goes with the connection, so whoever looks knows for certain whether a service runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
from psycopg import sql

from minervas_admission.settings import DatabaseSettings
from minervas_admission.store.database import Connection, connect, database_away
from minervas_admission.store.decisions import DECISION_CHANNEL, INSTANCE_LOCK
from minervas_core.errors import Code, LocalFault, TransientFault

log = logging.getLogger(__name__)

TAKE_OVER_S = 5.0
"""How long a new service waits for one that is just ending."""

POLL_S = 0.2
RETRY_S = 1.0
LISTEN_S = 30.0


class Instance:
    """The lock and the ear of the running service."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None

    async def acquire(self) -> None:
        """Become the running service.

        Raises:
            LocalFault: ``internal`` if another service runs on this database.
            TransientFault: ``database_away``.
        """
        connection = await connect(self._settings, application="minervas-admission instance")
        try:
            await self._lock(connection)
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(DECISION_CHANNEL)))
        except psycopg.OperationalError as error:
            await connection.close()
            raise database_away(self._settings, error) from error
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def _lock(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TAKE_OVER_S
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (INSTANCE_LOCK,))
            row = await cursor.fetchone()
            if row is not None and row[0]:
                return
            if loop.time() > deadline:
                raise LocalFault(
                    Code.INTERNAL, "Another admission service works on this database", database=self._settings.name
                )
            await asyncio.sleep(POLL_S)

    async def listen(self, on_decision: Callable[[], None]) -> None:
        """Call `on_decision` for every notification, until cancelled; connects again after a loss.

        Raises:
            LocalFault: ``internal`` if another service has taken over meanwhile.
        """
        while True:
            try:
                if self._connection is None:
                    await self.acquire()
                    on_decision()  # notifications may have been lost
                await self._listen_once(on_decision)
            except (TransientFault, psycopg.Error) as error:
                log.warning("notifications_lost", extra={"fields": {"reason": " ".join(str(error).split())}})
                await self.release()
                await asyncio.sleep(RETRY_S)

    async def _listen_once(self, on_decision: Callable[[], None]) -> None:
        connection = self._connection
        while connection is not None:
            async for _ in connection.notifies(timeout=LISTEN_S):
                on_decision()
            await connection.execute("SELECT 1")  # a connection that broke silently is noticed here

    async def release(self) -> None:
        """Give lock and connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
