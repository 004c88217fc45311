"""The chain's thread as the event loop sees it: operations go in, results and snapshots come out.

When the database goes away, the operation under way fails with ``database_away``, the chain is thrown away, and
`keep_open` opens it again as soon as the database is back. Until then every operation fails the same way; whoever
asked tries again later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import psycopg

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_ledger import metrics
from minervas_ledger.chain_view import ChainView, show_metrics
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.one_thread import OneThread
from minervas_runtime.clock import monotonic_ms

log = logging.getLogger(__name__)

T = TypeVar("T")
V = TypeVar("V")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
REMIND_MS = 30_000
"""How often the log repeats that the database is away."""

Changed = Callable[[ChainView, ChainView], None]
"""Called on the event loop with the snapshots before and after."""


class ChainWorker:
    """Owns the thread, and the chain on it.

    Args:
        open_chain: connects and loads; see `chain_open.ChainOpener.open`.
        as_transient: turns lost connections into ``database_away``.
    """

    def __init__(
        self, open_chain: Callable[[], NodeChain], as_transient: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._open_chain = open_chain
        self._as_transient = as_transient
        self._thread = OneThread("chain")
        self._chain: NodeChain | None = None
        self._view: ChainView | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost = asyncio.Event()
        self._listeners: list[Changed] = []
        self.trouble = ""
        """Why the chain is not there at present; empty if it is, or is being loaded for the first time."""

    @property
    def view(self) -> ChainView:
        """The last snapshot; only after `start`."""
        if self._view is None:
            raise TransientFault(Code.NOT_READY, "The chain is not loaded yet")
        return self._view

    @property
    def last_view(self) -> ChainView | None:
        """The last snapshot; None before the chain was loaded for the first time."""
        return self._view

    def on_change(self, listener: Changed) -> None:
        """Call `listener` after every operation that changed something."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Open the chain; tries for ever while the database is away.

        Raises:
            LocalFault: ``schema_version``, ``bad_genesis`` or ``audit_mismatch``.
        """
        self._loop = asyncio.get_running_loop()
        pause_s, reminded_ms = FIRST_PAUSE_S, 0
        while True:
            try:
                view = await self._thread.run(self._open)
            except TransientFault as error:
                self.trouble = str(error)
                if not reminded_ms or monotonic_ms() - reminded_ms >= REMIND_MS:
                    reminded_ms = monotonic_ms()
                    fields = {"code": error.code, "reason": str(error), "retry": "until it is back"}
                    log.warning("database_away", extra={"fields": fields})
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                break
        self.trouble = ""
        metrics.DATABASE_UP.set(1)
        log.info("chain_opened", extra={"fields": {"height": view.tip.height, "hash": view.tip.hash}})
        self._show(view)

    async def keep_open(self) -> None:
        """Open the chain again whenever it is lost, until cancelled.

        Raises:
            LocalFault: as `start`; nothing but a person can mend that.
        """
        while True:
            await self._lost.wait()
            self._lost.clear()
            await self.start()

    async def run(self, operation: Callable[[NodeChain], T]) -> T:
        """Run an operation on the chain's thread.

        Raises:
            TransientFault: ``database_away``.
            MinervasError: whatever the operation raises.
        """
        return await self._thread.run(lambda: self._run(operation))

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._thread.run(self._close)
        self._thread.close()

    def _open(self) -> ChainView:
        """On the thread."""
        self._close()
        self._chain = self._open_chain()
        return self._chain.view()

    def _close(self) -> None:
        """On the thread."""
        if self._chain is not None:
            self._chain.close()
            self._chain = None

    def _run(self, operation: Callable[[NodeChain], T]) -> T:
        """On the thread. The snapshot is shown before the caller goes on, even if it is not there any more."""
        chain = self._chain
        if chain is None:
            raise TransientFault(Code.DATABASE_AWAY, "The chain is not loaded at present")
        try:
            with self._as_transient():
                result = operation(chain)
        except Exception as error:
            if chain.usable and not _is_of_database(error):
                self._call_on_loop(self._show, chain.view())
                raise
            raise self._lose(error) from error
        self._call_on_loop(self._show, chain.view())
        return result

    def _lose(self, error: Exception) -> Exception:
        """On the thread: throw the chain away, for what it has in memory may not be what is committed."""
        self._close()
        self._call_on_loop(self._note_loss, str(error))
        if not isinstance(error, psycopg.Error):
            return error
        log.error("database_refused", exc_info=error)
        reason = " ".join(str(error).split())
        return LocalFault(Code.INTERNAL, "The database refuses what the chain writes", reason=reason)

    def _call_on_loop(self, function: Callable[[V], None], value: V) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, value)

    def _note_loss(self, reason: str) -> None:
        self.trouble = reason
        self._lost.set()
        metrics.DATABASE_UP.set(0)
        metrics.DATABASE_LOSSES.inc()
        log.warning("chain_dropped", extra={"fields": {"reason": reason}})

    def _show(self, view: ChainView) -> None:
        before, self._view = self._view, view
        if before is view:
            return
        show_metrics(view)
        if before is not None:
            for listener in self._listeners:
                listener(before, view)


def _is_of_database(error: Exception) -> bool:
    away = isinstance(error, TransientFault) and error.code == Code.DATABASE_AWAY
    return away or isinstance(error, psycopg.Error)
