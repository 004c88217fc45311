"""Virtual time: events in the order of their time, each a step of the simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.builders import GENESIS_TIME_MS

BEGIN_MS = GENESIS_TIME_MS + 1_000
"""When every simulation begins."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens at its time."""

    run: Callable[[], None]
    kind: str
    """``deliver``, a timer's name, or an upheaval's."""
    subject: str = ""
    """Address to which it happens."""
    source: str = ""
    """Whose message it is."""
    content: object = ""
    """The message."""


class Timeline:
    """A clock that jumps from event to event, so that a simulated hour costs only what happens in it."""

    def __init__(self) -> None:
        self.now_ms = BEGIN_MS
        self._heap: list[tuple[int, int, Event]] = []
        self._count = 0

    @property
    def elapsed_ms(self) -> int:
        """Virtual time since the beginning."""
        return self.now_ms - BEGIN_MS

    def after(self, delay_ms: int, event: Event) -> None:
        """Let an event happen in `delay_ms`; of two at the same time, the one planned first goes first."""
        self._count += 1
        heapq.heappush(self._heap, (self.now_ms + max(delay_ms, 0), self._count, event))

    def next(self) -> Event:
        """Go to the next event; some timer is always running."""
        at_ms, _, event = heapq.heappop(self._heap)
        self.now_ms = at_ms
        return event
