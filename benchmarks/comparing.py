"""Measuring two ways of doing the same in turns, so that both meet the same state of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.results import Result


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def least_disturbed(
    name: str, naive: Sequence[float], ours: Sequence[float], *, per_s: int, unit: str, goal: float | None
) -> list[Result]:
    """As `compared`, but of the best round of each: for rounds so short that some meet nobody else on the machine."""
    return compared(name, [min(naive)], [min(ours)], per_s=per_s, unit=unit, goal=goal)


def compared(
    name: str, naive: Sequence[float], ours: Sequence[float], *, per_s: int, unit: str, goal: float | None
) -> list[Result]:
    """Rates of both, and how many times faster ours is: the median over the rounds.

    Args:
        name: what was measured.
        naive: seconds of the baseline in each round.
        ours: seconds of the project in the same rounds.
        per_s: units of work in a round.
        unit: the rate's unit.
        goal: least ratio that is promised; None if it is only shown.
    """
    ratio = statistics.median(slow / fast for slow, fast in zip(naive, ours, strict=True))
    return [
        Result(f"{name}.naive", per_s / statistics.median(naive), unit),
        Result(f"{name}.ours", per_s / statistics.median(ours), unit),
        Result(f"{name}.ratio", ratio, "x", goal=goal),
    ]
