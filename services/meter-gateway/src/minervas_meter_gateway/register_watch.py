"""Notices when an energy register does not go on from where it was. Pure.

Between two samples a register may rise by what the channel can deliver in that time, and never falls. What does not fit
is doubtful: a reading without values, so that one garbled frame with a good checksum can neither make energy nor a
reset. When three samples in a row agree with each other, they are right: the register was reset, ran over, or the meter
was replaced.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["continues", "doubtful", "new_baseline"]

CONFIRMING_SAMPLES = 3
MJ_PER_MWH = 3_600
MARGIN_TENTHS = 11
"""Rated power x 1.1, as the chain allows (design section 5)."""


class RegisterWatch:
    """The energy register of one channel.

    Args:
        rated_w: what the channel can deliver at most.
        step_wh: step in which the register counts.
    """

    def __init__(self, rated_w: int, step_wh: int) -> None:
        self._rated_w = rated_w
        self._step_mwh = step_wh * 1_000
        self._last: tuple[int, int] | None = None
        self._candidate: tuple[int, int] | None = None
        self._agreeing = 0

    def resume(self, energy_mwh: int, monotonic_ms: int) -> None:
        """Begin where an earlier run ended: with this register, at this monotonic time (possibly negative)."""
        self._last = (energy_mwh, monotonic_ms)

    def judge(self, energy_mwh: int, monotonic_ms: int) -> Verdict:
        """Judge a sample and remember it."""
        if self._last is None or self._follows(self._last, energy_mwh, monotonic_ms):
            self._accept(energy_mwh, monotonic_ms)
            return "continues"
        agrees = self._candidate is not None and self._follows(self._candidate, energy_mwh, monotonic_ms)
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._candidate = (energy_mwh, monotonic_ms)
        if self._agreeing < CONFIRMING_SAMPLES:
            return "doubtful"
        self._accept(energy_mwh, monotonic_ms)
        return "new_baseline"

    def _accept(self, energy_mwh: int, monotonic_ms: int) -> None:
        self._last = (energy_mwh, monotonic_ms)
        self._candidate = None
        self._agreeing = 0

    def _follows(self, before: tuple[int, int], energy_mwh: int, monotonic_ms: int) -> bool:
        """Whether the register can have got from one sample to the next; it may also have counted a step late."""
        elapsed_ms = max(0, monotonic_ms - before[1])
        reach_mwh = self._rated_w * elapsed_ms * MARGIN_TENTHS // (10 * MJ_PER_MWH) + 2 * self._step_mwh
        return before[0] <= energy_mwh <= before[0] + reach_mwh
