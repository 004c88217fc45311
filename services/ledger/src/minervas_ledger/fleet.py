"""Who is there: presence of all services of all members, kept in a table for the operator's Grafana."""

from __future__ import annotations

import asyncio
import logging

from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidFrame, MinervasError, TransientFault
from minervas_core.identifiers import Principal
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.topics import MeshTopic, parse_topic
from minervas_ledger import refusals
from minervas_ledger.store.fleet_rows import Heard, write_fleet
from minervas_ledger.store.reader import DutyConnection
from minervas_runtime.bus import Message
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

KIND = "presence"
WRITE_S = 1.0
MAX_WAITING = 10_000
"""Services whose presence waits to be written: more than a consortium has. Names come from the broker's rights."""


class Fleet:
    """Takes presence in and writes it, the newest of each service, once a second.

    Args:
        database: to write to.
        clock: time of day.
    """

    def __init__(self, database: DutyConnection, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: dict[Principal, Heard] = {}

    def receive(self, message: Message) -> None:
        """Take in a presence. Anybody may claim anything of itself, and nothing of others."""
        try:
            topic = parse_topic(message.topic)
            if not isinstance(topic, MeshTopic):
                raise InvalidFrame(Code.BAD_TOPIC, "Not an outbox", topic=message.topic)
            if not message.payload:
                return  # the broker's operator took a retained one away
            presence = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES)
            if topic.owner in self._waiting or len(self._waiting) < MAX_WAITING:
                now_ms = self._clock.now_ms()
                self._waiting[topic.owner] = Heard(topic.owner, presence, now_ms, retained=message.retain)
        except MinervasError as error:
            refusals.record(KIND, error, origin=message.topic)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            if self._waiting:
                await self._write()

    async def _write(self) -> None:
        written, self._waiting = self._waiting, {}
        try:
            await self._database.ask(lambda connection: write_fleet(connection, written.values()))
        except TransientFault as error:
            log.info("fleet_waits", extra={"fields": {"code": error.code}})
            self._waiting = written | self._waiting
