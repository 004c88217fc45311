"""Counting and logging what was refused, by its stable code."""

from __future__ import annotations

import collections
import logging

from minervas_core.errors import MinervasError
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

SERVICE = "ledger"


class Refusals:
    """Refused inputs since start."""

    def __init__(self) -> None:
        self._by_code: collections.Counter[str] = collections.Counter()

    def record(self, kind: str, error: MinervasError, *, origin: str) -> None:
        """Count one refusal and log it.

        Args:
            kind: what was refused: ``transaction``, ``block``, ``headers`` ...
            error: why.
            origin: member or service that sent it.
        """
        self._by_code[error.code.value] += 1
        REFUSALS.labels(SERVICE, kind, error.code.value).inc()
        fields = {"kind": kind, "code": error.code.value, "origin": origin, "reason": str(error)}
        log.warning("refused", extra={"fields": fields})

    def by_code(self) -> dict[str, int]:
        """How often each code was given."""
        return dict(self._by_code)
