"""Counting and logging what was refused, by its stable code."""

from __future__ import annotations

import collections
import logging

from minervas_core.errors import MinervasError
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

SERVICE = "ledger"


def record(kind: str, error: MinervasError, *, origin: str) -> None:
    """Count one refusal and log it.

    Args:
        kind: what was refused: ``transaction``, ``block``, ``headers`` ...
        error: why.
        origin: member or service that sent it.
    """
    REFUSALS.labels(SERVICE, kind, error.code.value).inc()
    fields = {"kind": kind, "code": error.code.value, "origin": origin, "reason": str(error)}
    log.info("refused", extra={"fields": fields})


def by_code() -> dict[str, int]:
    """How often each code was given since start, also by the node link to frames that did not open."""
    counts: collections.Counter[str] = collections.Counter()
    for metric in REFUSALS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels.get("service") == SERVICE:
                counts[sample.labels["code"]] += int(sample.value)
    return dict(counts)
