"""Keeps what Home Assistant finds on the broker as the settings say: announced, and taken back when it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from minervas_core.errors import MinervasError
from minervas_runtime.bus import Bus
from minervas_runtime.key_files import write_atomic

log = logging.getLogger(__name__)

RETRY_S = 30.0
FILE_MODE = 0o600


class DiscoveryPublisher:
    """Publishes after every connect, because a broker may have lost what it retained.

    Args:
        bus: the connection.
        wanted: payload by topic; empty if nothing is to be found.
        memory: file with the topics that were announced before, so that those of a removed meter are taken back.
    """

    def __init__(self, bus: Bus, wanted: Mapping[str, bytes], memory: Path) -> None:
        self._bus = bus
        self._wanted = wanted
        self._memory = memory
        self._due = asyncio.Event()
        bus.on_connection_change(lambda connected: self._due.set() if connected else None)
        if bus.connected:
            self._due.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._publish()
            except MinervasError as error:
                fields = {"code": error.code, "reason": str(error)}
                log.warning("discovery_not_published", extra={"fields": fields})
                await asyncio.sleep(RETRY_S)
                self._due.set()

    async def _publish(self) -> None:
        before = self._remembered()
        known = before | self._wanted.keys()
        if known != before:
            self._remember(known)  # first, so that a crash leaves nothing on the broker that nobody takes back
        for topic in sorted(before - self._wanted.keys()):
            await self._bus.publish(topic, b"", retain=True)
        for topic, payload in self._wanted.items():
            await self._bus.publish(topic, payload, retain=True)
        if known != self._wanted.keys():
            self._remember(set(self._wanted))

    def _remembered(self) -> set[str]:
        try:
            return set(msgspec.json.decode(self._memory.read_bytes(), type=list[str]))
        except (OSError, msgspec.MsgspecError):  # none yet, or damaged: whatever is announced anew is known again
            return set()

    def _remember(self, topics: set[str]) -> None:
        write_atomic(self._memory, msgspec.json.encode(sorted(topics)), mode=FILE_MODE)
