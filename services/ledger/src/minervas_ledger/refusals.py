"""Counting and logging what was refused, by its stable code."""

from __future__ import annotations

import collections
import logging

from minervas_core.errors import MinervasError
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

SERVICE = "ledger"

LOG_EVERY_MS = 1_000
"""Refusals of one kind for one reason from one origin are all counted, but logged so often only: a member may send ten
thousand bad transactions a second."""
MAX_REMEMBERED = 4_096

_logged: dict[tuple[str, str, str], tuple[int, int]] = {}
"""When each was logged last, and how many were not since."""


def record(kind: str, error: MinervasError, *, origin: str) -> None:
    """Count one refusal, and log it unless the same was logged just now.

    Args:
        kind: what was refused: ``transaction``, ``block``, ``headers`` ...
        error: why.
        origin: member or service that sent it.
    """
    REFUSALS.labels(SERVICE, kind, error.code.value).inc()
    same, now_ms = (kind, error.code.value, origin), monotonic_ms()
    logged_ms, skipped = _logged.pop(same, (now_ms - LOG_EVERY_MS, 0))
    if now_ms - logged_ms < LOG_EVERY_MS:
        _logged[same] = logged_ms, skipped + 1
        return
    _logged[same] = now_ms, 0
    while len(_logged) > MAX_REMEMBERED:
        _logged.pop(next(iter(_logged)), None)
    fields = {"kind": kind, "code": error.code.value, "origin": origin, "reason": str(error), "skipped": skipped}
    log.info("refused", extra={"fields": fields})


def by_code() -> dict[str, int]:
    """How often each code was given since start, also by the node link to frames that did not open."""
    counts: collections.Counter[str] = collections.Counter()
    for metric in REFUSALS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels.get("service") == SERVICE:
                counts[sample.labels["code"]] += int(sample.value)
    return dict(counts)
