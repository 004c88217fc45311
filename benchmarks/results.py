"""One measured number with its promise, and how a list of them is shown."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number."""

    name: str
    """Area and what was measured, such as ``mining.interrupt.p99``."""
    value: float
    unit: str
    goal: float | None = None
    """What is promised; None if the number is only shown."""
    better: Literal["higher", "lower"] = "higher"

    @property
    def is_met(self) -> bool:
        """Whether the promise holds (or there is none)."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


def percentile(values: Sequence[float], per_hundred: int) -> float:
    """The value below which that share of all values lies; the largest one for 100."""
    ordered = sorted(values)
    if per_hundred == 50:
        return statistics.median(ordered)
    return ordered[min(len(ordered) - 1, len(ordered) * per_hundred // 100)]


def as_table(results: Sequence[Result]) -> str:
    """Lines for people."""
    width = max(len(result.name) for result in results)
    lines = []
    for result in results:
        promise = ""
        if result.goal is not None:
            sign = ">=" if result.better == "higher" else "<="
            promise = f"   {sign} {result.goal:,.4g}   {'ok' if result.is_met else 'MISSED'}"
        lines.append(f"{result.name:<{width}}  {result.value:>14,.2f} {result.unit:<9}{promise}".rstrip())
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """The same for machines, with what it ran on."""
    content: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "system": platform.system(), "processor": platform.machine()},
        "results": [{**asdict(result), "met": result.is_met} for result in results],
    }
    return json.dumps(content, indent=2) + "\n"
