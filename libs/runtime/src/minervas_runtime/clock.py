"""Time, always in integer milliseconds: wall clock for the protocol, monotonic clock for durations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time of day from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that only moves when it is told to, for tests and simulations."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The time that was last set."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Set the time, also backwards, as a real clock may be."""
        self._now_ms = now_ms

    def advance(self, by_ms: int) -> None:
        """Move the time on."""
        self._now_ms += by_ms


def monotonic_ms() -> int:
    """Milliseconds of a clock that never goes back; only differences mean anything."""
    return time.monotonic_ns() // 1_000_000
