"""Requests to our own ledger, which fail at once while it is known to be away."""

from __future__ import annotations

from typing import TypeVar

from minervas_core.encoding import Record
from minervas_core.errors import Code, TransientFault
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.node_link import NodeLink
from minervas_runtime.pending_replies import NoReply

LEDGER = "ledger"
"""Name of the service."""

TIMEOUT_S = 10.0
"""A ledger connects a full block in well under a second, but may be busy with a long sync."""

RETRY_MS = 2_000
"""While the ledger is away, one request in this time tries whether it has come back."""

Answer = TypeVar("Answer", bound=Record)


class LedgerLink:
    """Our end of the link to our own ledger."""

    def __init__(self, link: NodeLink, *, timeout_s: float = TIMEOUT_S) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._retry_at_ms: int | None = None
        self._times_heard = 0

    @property
    def is_away(self) -> bool:
        """Whether the ledger did not answer the last request, and has not been heard of since."""
        return self._retry_at_ms is not None

    def heard(self) -> None:
        """The ledger said something: it is there."""
        self._retry_at_ms = None
        self._times_heard += 1

    async def ask(
        self, kind: str, body: Record, answer_type: type[Answer], *, timeout_s: float | None = None
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            kind: of the request.
            body: its content.
            answer_type: of the answer.
            timeout_s: for who does not want to wait as long as a busy ledger may take; says nothing about whether the
                ledger is away.

        Raises:
            TransientFault: ``not_ready`` while the ledger is away, ``timeout`` or ``bus_offline``.
            RemoteError: if the ledger refused.
        """
        now_ms = monotonic_ms()
        if self._retry_at_ms is not None and now_ms < self._retry_at_ms:
            raise TransientFault(Code.NOT_READY, "Our own ledger does not answer", kind=kind)
        if self._retry_at_ms is not None:
            self._retry_at_ms = now_ms + RETRY_MS
        heard_before = self._times_heard
        try:
            answer = await self._link.request(LEDGER, kind, body, answer_type, timeout_s or self._timeout_s)
        except NoReply:
            if timeout_s is None and self._times_heard == heard_before:  # else only this request was lost
                self._retry_at_ms = monotonic_ms() + RETRY_MS
            raise
        self.heard()
        return answer

    async def tell(self, kind: str, body: Record) -> None:
        """Send an event.

        Raises:
            TransientFault: ``bus_offline``.
        """
        await self._link.send(LEDGER, kind, body)
