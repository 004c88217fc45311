"""Hands results to the ledger until it has answered: a found block or an abandoned search is never lost on the way.

Every request is safe to repeat: the ledger recognises a block by its hash and a search by its template.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from minervas_core.encoding import Record
from minervas_core.errors import MinervasError, TransientFault

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
"""How long to wait for one answer; a ledger connects a full block in well under a second."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

MAX_PENDING = 100
"""Results kept for a ledger that does not answer; the search yields at most one per time limit."""

Answer = TypeVar("Answer", bound=Record)


class LedgerLink(Protocol):
    """The part of `minervas_runtime.node_link.NodeLink` that a miner needs."""

    async def send(self, service: str, kind: str, body: Record) -> None:
        """Send an event to a service of our node."""

    async def request(
        self, service: str, kind: str, body: Record, reply_type: type[Answer], timeout_s: float
    ) -> Answer:
        """Ask a service of our node."""
        ...


class Deliveries:
    """Requests to the ledger that are repeated until it answers."""

    def __init__(self, link: LedgerLink, *, pause_s: float = FIRST_PAUSE_S) -> None:
        self._link = link
        self._pause_s = pause_s
        self._tasks: dict[asyncio.Task[None], str] = {}

    def pending(self, kind: str = "") -> int:
        """How many are not answered yet, of one kind or in all."""
        return sum(1 for each in self._tasks.values() if kind in ("", each))

    def start(self, kind: str, body: Record, answer_type: type[Answer], done: Callable[[Answer | None], None]) -> None:
        """Deliver `body`, in a task of its own.

        Args:
            kind: kind of the request.
            body: what to deliver.
            answer_type: what the ledger answers with.
            done: called once with the answer, or with None if the ledger refused the request for good.
        """
        if len(self._tasks) >= MAX_PENDING:
            log.error("delivery_dropped", extra={"fields": {"kind": kind, "pending": len(self._tasks)}})
            return
        task = asyncio.create_task(self._deliver(kind, body, answer_type, done), name=f"delivery of {kind}")
        self._tasks[task] = kind
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def close(self) -> None:
        """Give up whatever is not answered yet."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(
        self, kind: str, body: Record, answer_type: type[Answer], done: Callable[[Answer | None], None]
    ) -> None:
        pause_s = self._pause_s
        while True:
            try:
                answer = await self._link.request("ledger", kind, body, answer_type, ANSWER_TIMEOUT_S)
            except TransientFault as error:
                log.info("delivery_repeated", extra={"fields": {"kind": kind, "code": error.code, "pause_s": pause_s}})
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except MinervasError as error:
                log.warning("delivery_refused", extra={"fields": {"kind": kind, "code": error.code}})
                return done(None)
            else:
                return done(answer)
