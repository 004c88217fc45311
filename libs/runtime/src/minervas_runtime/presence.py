"""Presence: a retained hint of who is there, with a will that says offline (design section 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.errors import MinervasError
from minervas_core.identifiers import Principal
from minervas_core.messages import Presence
from minervas_core.topics import mesh
from minervas_runtime.bus import Bus, Will
from minervas_runtime.host_state import with_host_state

log = logging.getLogger(__name__)

KIND = "presence"
INTERVAL_S = 30.0
"""Pause between two publications when nothing changes."""


def offline_will(member: str, service: str, *, version: str, now_ms: int) -> Will:
    """The will to connect with: the broker publishes it when we are gone, in whatever way.

    Args:
        member: whose service it is.
        service: which.
        version: of the program.
        now_ms: time of connecting; the end itself is not known.
    """
    offline = Presence(state="offline", version=version, sent_at_ms=now_ms)
    return Will(mesh(Principal(member, service), KIND), encode(offline), retain=True)


class PresencePublisher:
    """Publishes presence after every connect, on every change that is told to it, and on a timer.

    After every connect, because on a takeover the broker publishes the old will just before it lets us in.

    Args:
        bus: the connection.
        member: whose service it is.
        service: which.
        fields: what to publish, asked each time.
        data: directory that the service keeps its data in; with it the state of the host is told, too.
        interval_s: pause between two publications when nothing changes.
    """

    def __init__(
        self,
        bus: Bus,
        member: str,
        service: str,
        fields: Callable[[], Presence],
        *,
        data: Path | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._bus = bus
        self._topic = mesh(Principal(member, service), KIND)
        self._fields = fields
        self._data = data
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        bus.on_connection_change(self._on_connection_change)

    def start(self) -> None:
        """Publish from now on."""
        self._changed.set()
        self._task = asyncio.create_task(self._work(), name="presence")

    def changed(self) -> None:
        """Publish soon; several calls in a row make one publication."""
        self._changed.set()

    async def stop(self) -> None:
        """Stop; the will says offline once the bus is stopped."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_connection_change(self, connected: bool) -> None:  # noqa: FBT001  # the bus' callback has this form
        if connected:
            self._changed.set()

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._changed.wait()
            except TimeoutError:
                pass  # nothing changed: time for the regular publication
            self._changed.clear()
            try:
                await self._bus.publish(self._topic, encode(self._now()), retain=True)
            except MinervasError as error:
                fields = {"code": error.code, "reason": str(error)}
                log.info("presence_not_published", extra={"fields": fields})

    def _now(self) -> Presence:
        fields = self._fields()
        return fields if self._data is None else with_host_state(fields, self._data)
