"""When to read: ticks on a monotonic clock that never drift, and growing pauses for what does not answer. Pure."""

from __future__ import annotations


class TickSchedule:
    """Ticks at a fixed distance from a fixed start. A late tick does not move the next ones; what is missed is counted.

    Args:
        start_ms: monotonic time of the first tick.
        interval_ms: distance between two ticks.
    """

    def __init__(self, start_ms: int, interval_ms: int) -> None:
        self._next_ms = start_ms
        self._interval_ms = interval_ms

    def wait_ms(self, now_ms: int) -> int:
        """Milliseconds until the next tick; 0 if it is due."""
        return max(0, self._next_ms - now_ms)

    def take(self, now_ms: int) -> int:
        """Take the latest tick that is due.

        Returns:
            How many earlier ones were missed.
        """
        missed = max(0, now_ms - self._next_ms) // self._interval_ms
        self._next_ms += (missed + 1) * self._interval_ms
        return missed


class BackOff:
    """How long something that fails is left alone: not at all at first, then twice as long each time.

    Args:
        tolerated: failures in a row before the first pause.
        first_ms: first pause.
        longest_ms: longest pause.
    """

    def __init__(self, *, tolerated: int, first_ms: int, longest_ms: int) -> None:
        self._tolerated = tolerated
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._failures = 0
        self._due_ms = 0

    @property
    def active(self) -> bool:
        """Whether it has failed so often that it is left alone between two tries."""
        return self._failures > self._tolerated

    def is_due(self, now_ms: int) -> bool:
        """Whether it may be tried."""
        return now_ms >= self._due_ms

    def failed(self, now_ms: int) -> None:
        """It failed (again)."""
        self._failures += 1
        if self.active:
            doubled_ms = self._first_ms << min(self._failures - self._tolerated - 1, 20)
            self._due_ms = now_ms + min(doubled_ms, self._longest_ms)

    def succeeded(self) -> None:
        """It works."""
        self._failures = self._due_ms = 0
