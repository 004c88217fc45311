"""Count what was refused, by its stable code, for the status page and for Prometheus."""

from __future__ import annotations

import logging
from collections import Counter

from minervas_core.errors import Code, MinervasError
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

SERVICE = "peer"


class Refusals:
    """Refused inputs since start."""

    def __init__(self) -> None:
        self._by_code: Counter[str] = Counter()

    @property
    def by_code(self) -> dict[str, int]:
        """How many were refused, by code."""
        return dict(self._by_code)

    def count(self, kind: str, code: Code, *, member: str = "", number: int = 1) -> None:
        """Count refusals without an error object, such as frames that fell out of a full buffer.

        Args:
            kind: kind of message, one of a fixed set (it becomes a metric's label).
            code: why.
            member: who sent it, for the log.
            number: how many at once.
        """
        self._by_code[code] += number
        REFUSALS.labels(SERVICE, kind, code).inc(number)
        fields = {"kind": kind, "code": code, "from_member": member, "number": number}
        log.debug("refused", extra={"fields": fields})

    def note(self, kind: str, error: MinervasError, *, member: str = "") -> None:
        """Count an error and log it; an error is somebody's fault or passing trouble, never ours to fail on."""
        self._by_code[error.code] += 1
        REFUSALS.labels(SERVICE, kind, error.code).inc()
        fields = {"kind": kind, "code": error.code, "from_member": member, "reason": str(error)}
        log.info("refused", extra={"fields": fields})
