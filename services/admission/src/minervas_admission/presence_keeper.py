"""Keeps the newest presence of every member's processes, for the operator.

A presence is a hint: unsigned, and only as true as its sender's clock and the broker. It is bounded in every
direction: one row for each process that has a certificate, one message for each process between two writes, and texts
of known length.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

import msgspec

from minervas_admission.metrics import PRESENCE_KEPT, PRESENCE_REFUSED
from minervas_admission.store.database import Database
from minervas_admission.store.presence import HeardPresence, save_presences
from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidEncoding, InvalidFrame, MinervasError, PeerFault
from minervas_core.identifiers import RESERVED_MEMBER, Principal
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.topics import MeshTopic, parse_topic
from minervas_runtime.bus import Bus, Message
from minervas_runtime.clock import Clock

T = TypeVar("T")

log = logging.getLogger(__name__)

FILTER = "mesh/v1/+/+/presence"
SAVE_EVERY_S = 1.0
"""Pause between two writes: peers tell every new tip, and only the newest matters."""
RETRY_S = 2.0

MAX_UNSAVED = 8_192
"""Processes heard of between two writes; more than the broker has connections."""
MAX_VERSION = 64
"""Characters of a version that are kept."""


class PresenceKeeper:
    """Hears presences and writes them to the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._unsaved: dict[str, HeardPresence] = {}
        self._heard = asyncio.Event()

    async def keep_for_ever(self, bus: Bus) -> None:
        """Subscribe, as often as it takes, and write what is heard until cancelled."""
        while True:
            try:
                await bus.subscribe(FILTER, self.hear)
                break
            except MinervasError as error:
                log.warning("not_subscribed", extra={"fields": {"code": error.code, "reason": str(error)}})
                await asyncio.sleep(RETRY_S)
        while True:
            await self._heard.wait()
            try:
                await self.save()
            except MinervasError as error:
                log.warning("presence_not_saved", extra={"fields": {"code": error.code, "reason": str(error)}})
            await asyncio.sleep(SAVE_EVERY_S)

    def hear(self, message: Message) -> None:
        """Take a presence from the bus; what is none is counted."""
        try:
            sender = _sender(message.topic)
            if sender.member == RESERVED_MEMBER:
                return  # our own, and the consortium's other servers'
            heard = self._read(sender, message)
            if len(self._unsaved) >= MAX_UNSAVED and heard.principal not in self._unsaved:
                raise PeerFault(Code.RATE_LIMITED, "Presences of too many processes at once")
        except PeerFault as error:
            PRESENCE_REFUSED.labels(error.code).inc()
            log.debug("presence_refused", extra={"fields": {"topic": message.topic, "code": error.code}})
            return
        self._unsaved[heard.principal] = heard
        self._heard.set()

    async def save(self) -> None:
        """Write what was heard; what nobody has a certificate for is counted and dropped.

        Raises:
            TransientFault: ``database_away``; it is written with what is heard later.
        """
        batch = list(self._unsaved.values())
        async with self._database.transaction() as connection:
            known = await save_presences(connection, batch)
        for heard in batch:
            if self._unsaved.get(heard.principal) is heard:
                del self._unsaved[heard.principal]
            if heard.principal in known:
                PRESENCE_KEPT.inc()
            else:
                PRESENCE_REFUSED.labels(Code.MEMBER_UNKNOWN).inc()
        if not self._unsaved:
            self._heard.clear()

    def _read(self, sender: Principal, message: Message) -> HeardPresence:
        presence = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES)
        if not presence.version.isprintable() or len(presence.version) > MAX_VERSION:
            raise InvalidEncoding(Code.WRONG_SHAPE, "Not the version of a program")
        now_ms = self._clock.now_ms()
        live = presence.state == "online" and not message.retain  # a will was written long before it is sent
        tip = None if isinstance(presence.tip, msgspec.UnsetType) else presence.tip
        return HeardPresence(
            principal=str(sender),
            state=presence.state,
            heard_ms=now_ms,
            sent_at_ms=presence.sent_at_ms,
            version=presence.version,
            certificate_expires_ms=presence.certificate_expires_ms or None,
            tip_height=tip.height if tip else None,
            tip_hash=tip.hash if tip else None,
            disk_use_per_mille=_known(presence.disk_use_per_mille),
            spool_use_per_mille=_known(presence.spool_use_per_mille),
            spool_readings=_known(presence.spool_readings),
            clock_synchronised=_known(presence.clock_synchronised),
            clock_offset_ms=presence.sent_at_ms - now_ms if live else None,
        )


def _known(value: T | msgspec.UnsetType) -> T | None:
    return None if isinstance(value, msgspec.UnsetType) else value


def _sender(topic: str) -> Principal:
    """Who published it; the broker vouches for that.

    Raises:
        InvalidFrame: ``bad_topic``.
    """
    parsed = parse_topic(topic)
    if not isinstance(parsed, MeshTopic) or parsed.kind != "presence" or parsed.rest:
        raise InvalidFrame(Code.BAD_TOPIC, "Not a presence's topic", topic=topic)
    return parsed.owner
