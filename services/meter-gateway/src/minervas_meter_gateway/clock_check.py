"""Whether the clock of this machine can be trusted with a statement (design section 8).

A statement's times decide which slot energy belongs to, so three are asked, and each can say no:

* the kernel: is the clock kept by NTP or another source (adjtimex(2))? Can be switched off where nothing tells it so.
* the ledger: the newest block of the consortium must not lie ahead of our clock by more than the chain allows.
* the clock itself: after a step against the monotonic clock, samples before and after it do not fit together, so
  nothing is stated until it has been steady for a while.
"""

from __future__ import annotations

from collections.abc import Callable

from minervas_runtime.clock import Clock

STEP_MS = 1_000
"""A change against the monotonic clock of more than this between two looks is a step; NTP slews far slower."""
SETTLE_MS = 10_000
"""How long the clock must be steady after a step."""


class ClockCheck:
    """Looks at the clock whenever asked. Belongs to the event loop.

    Args:
        clock: to be judged.
        monotonic_ms: against which steps are noticed.
        kernel: asks the kernel; None if it need not be asked.
    """

    def __init__(self, clock: Clock, monotonic_ms: Callable[[], int], kernel: Callable[[], bool] | None) -> None:
        self._clock = clock
        self._monotonic_ms = monotonic_ms
        self._kernel = kernel
        self._offset_ms = clock.now_ms() - monotonic_ms()
        self._steady_from_ms = monotonic_ms()
        self._tip_time_ms = 0
        self._tolerated_ms = 0

    def note_tip(self, time_ms: int, tolerated_ms: int) -> None:
        """Remember the time of our ledger's newest block, and how far ahead of a right clock it may be."""
        self._tip_time_ms = time_ms
        self._tolerated_ms = tolerated_ms

    def problem(self) -> str:
        """Why the clock cannot be trusted now; empty if it can."""
        now_ms, monotonic_ms = self._clock.now_ms(), self._monotonic_ms()
        offset_ms = now_ms - monotonic_ms
        if abs(offset_ms - self._offset_ms) > STEP_MS:
            self._steady_from_ms = monotonic_ms + SETTLE_MS
        self._offset_ms = offset_ms
        if self._kernel is not None and not self._kernel():
            return "the kernel says that the clock is not synchronised"
        if self._tip_time_ms > now_ms + self._tolerated_ms:
            return f"the clock is {self._tip_time_ms - now_ms} ms behind the newest block"
        if monotonic_ms < self._steady_from_ms:
            return "the clock was set a moment ago"
        return ""
