"""Collect own transactions for a few milliseconds, so that one frame carries many (design section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from minervas_core.errors import Code, MinervasError, TransientFault
from minervas_core.messages import MAX_TRANSACTIONS_PER_FRAME

log = logging.getLogger(__name__)

LINGER_MS = 10
"""How long the first transaction of a frame waits for others."""

MAX_FRAME_CONTENT_BYTES = 500_000
"""Transactions of one frame; far below the broker's limit, so that frames of other members are not held up."""

MAX_WAITING = 2_000
"""Transactions that wait while the bus is slow or away."""

Publish = Callable[[Sequence[bytes]], Awaitable[None]]


class TransactionBatcher:
    """Hands batches of transactions to `publish`."""

    def __init__(self, publish: Publish, *, linger_ms: int = LINGER_MS, max_waiting: int = MAX_WAITING) -> None:
        self._publish = publish
        self._linger_ms = linger_ms
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def add(self, transaction: bytes) -> None:
        """Send a transaction to all members soon.

        Raises:
            TransientFault: ``pool_full`` if too many are waiting already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise TransientFault(Code.POOL_FULL, "Too many transactions wait to be sent", waiting=len(self._waiting))
        self._waiting.append(transaction)
        self._filled.set()

    async def run(self) -> None:
        """Send batches until cancelled."""
        while True:
            await self._filled.wait()
            if len(self._waiting) < MAX_TRANSACTIONS_PER_FRAME:
                await asyncio.sleep(self._linger_ms / 1000)
            batch = self._next_batch()
            try:
                await self._publish(batch)
            except MinervasError as error:
                fields = {"transactions": len(batch), "reason": str(error)}
                log.warning("transactions_not_sent", extra={"fields": fields})

    def _next_batch(self) -> list[bytes]:
        batch = [self._waiting.popleft()]
        size_bytes = len(batch[0])
        while self._waiting and len(batch) < MAX_TRANSACTIONS_PER_FRAME:
            size_bytes += len(self._waiting[0])
            if size_bytes > MAX_FRAME_CONTENT_BYTES:
                break
            batch.append(self._waiting.popleft())
        if not self._waiting:
            self._filled.clear()
        return batch
