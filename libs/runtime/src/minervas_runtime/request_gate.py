"""What incoming requests must pass before work is done for them: not seen before, and not too many at once."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Coroutine
from typing import Any

REMEMBERED_MS = 60_000
"""How long a request is remembered; gossip and requests expire on the broker after as long."""

MAX_REMEMBERED = 10_000
MAX_RUNNING = 64
"""Requests worked on at the same time, in all."""
MAX_RUNNING_PER_MEMBER = 16
"""Requests worked on at the same time for one member, so that one cannot use up the place of all."""


class RequestGate:
    """Runs each request once, in a task of its own, within limits. Belongs to the event loop.

    Args:
        now_ms: any clock; it only serves to forget.
        max_per_sender: how many requests of one sender may run at the same time.
    """

    def __init__(self, now_ms: Callable[[], int], *, max_per_sender: int = MAX_RUNNING_PER_MEMBER) -> None:
        self._now_ms = now_ms
        self._max_per_sender = max_per_sender
        self._seen: collections.OrderedDict[tuple[str, bytes], int] = collections.OrderedDict()
        self._running: dict[asyncio.Task[None], str] = {}

    def is_repeated(self, topic: str, correlation: bytes) -> bool:
        """Whether the same request came before; remembers it."""
        now_ms = self._now_ms()
        while self._seen and (
            len(self._seen) >= MAX_REMEMBERED or next(iter(self._seen.values())) < now_ms - REMEMBERED_MS
        ):
            self._seen.popitem(last=False)
        if (topic, correlation) in self._seen:
            return True
        self._seen[topic, correlation] = now_ms
        return False

    def has_room(self, sender: str) -> bool:
        """Whether one more request of this sender may run."""
        of_sender = sum(1 for other in self._running.values() if other == sender)
        return len(self._running) < MAX_RUNNING and of_sender < self._max_per_sender

    def run(self, sender: str, work: Coroutine[Any, Any, None]) -> None:
        """Work on a request in a task of its own; `work` must deal with its errors itself."""
        task = asyncio.create_task(work, name=f"request of {sender}")
        self._running[task] = sender
        task.add_done_callback(lambda done: self._running.pop(done, None))

    async def close(self) -> None:
        """Cancel what is running."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
