"""Whether a bus connection is up, down or refused, and who wants to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from minervas_core.errors import Code
from minervas_runtime.bus import BusOffline, BusRefused
from minervas_runtime.metrics import BUS_CONNECTED, BUS_CONNECTS

log = logging.getLogger(__name__)


class ConnectionState:
    """State of one bus connection; belongs to the event loop."""

    def __init__(self, principal: str) -> None:
        self.connected = False
        self.refusal: BusRefused | None = None
        self._principal = principal
        self._settled = asyncio.Event()
        self._callbacks: list[Callable[[bool], None]] = []

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` after every connect (True) and loss (False)."""
        self._callbacks.append(callback)

    def up(self) -> None:
        """We are connected and subscribed."""
        self.refusal = None
        BUS_CONNECTS.labels(self._principal).inc()
        self._set(connected=True)

    def down(self) -> None:
        """The connection is lost, or was never there."""
        self._set(connected=False)

    def refused(self, refusal: BusRefused) -> None:
        """The broker refuses us; whoever waits is told so instead of waiting on."""
        self.refusal = refusal
        self._set(connected=False)

    def _set(self, *, connected: bool) -> None:
        changed = connected != self.connected
        self.connected = connected
        BUS_CONNECTED.labels(self._principal).set(int(connected))
        if connected or self.refusal:
            self._settled.set()
        else:
            self._settled.clear()
        for callback in self._callbacks if changed else ():
            try:
                callback(connected)
            except Exception:
                log.exception("connection_callback_failed")

    async def wait(self, timeout_s: float) -> None:
        """Return once connected.

        Raises:
            BusRefused: if the broker refuses us.
            BusOffline: if there is no connection after `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError as error:
            raise BusOffline(
                Code.BUS_OFFLINE, "Not connected to the broker", principal=self._principal, waited_s=str(timeout_s)
            ) from error
        if self.refusal is not None:
            refusal = self.refusal
            raise type(refusal)(refusal.code, refusal.message, **refusal.values) from refusal
