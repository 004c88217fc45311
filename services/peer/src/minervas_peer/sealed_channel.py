"""Seal what we send to other members, and open what they send: gossip, requests and replies alike."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from minervas_core.encoding import Record, decode, encode
from minervas_core.frames import seal_gossip
from minervas_core.messages import MAX_CONTENT_BYTES
from minervas_peer.frame_opening import FrameOpener, KeyMissing
from minervas_peer.key_courier import KeyCourier
from minervas_peer.key_exchange import Identity, KeyExchange
from minervas_runtime.bus import Message
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_frame_nonce

Content = TypeVar("Content", bound=Record)


class SealedChannel:
    """The member's end of all sealed traffic."""

    def __init__(
        self,
        *,
        network: str,
        identity: Identity,
        exchange: KeyExchange,
        opener: FrameOpener,
        courier: KeyCourier,
        clock: Clock,
    ) -> None:
        self._network = network
        self._identity = identity
        self._exchange = exchange
        self._opener = opener
        self._courier = courier
        self._clock = clock

    def seal(self, content: Record, topic: str, correlation: bytes = b"") -> bytes:
        """Seal content under our current sender key, for one topic and request."""
        return seal_gossip(
            encode(content),
            topic=topic,
            correlation=correlation,
            network=self._network,
            key=self._exchange.own_key,
            wallet=self._identity.wallet,
            nonce=new_frame_nonce(),
            sent_at_ms=self._clock.now_ms(),
        )

    def open(self, message: Message, sender: str, kind: type[Content]) -> Content:
        """Open a frame that came over a topic of `sender`.

        Raises:
            KeyMissing: if its key is not known (yet).
            PeerFault: if the frame or its content must be refused.
        """
        return decode(self._opener.open(message, sender), kind, max_bytes=MAX_CONTENT_BYTES)

    async def open_soon(self, message: Message, sender: str, kind: type[Content], timeout_s: float) -> Content:
        """As `open`, but ask for a missing key and wait for it.

        Raises:
            KeyMissing: if the key did not come in time.
            PeerFault: as `open`.
        """
        try:
            return self.open(message, sender, kind)
        except KeyMissing as missing:
            await self._courier.ask(missing.sender, missing.key_id)
            return await self._open_when_keys_came(message, sender, kind, timeout_s)

    async def _open_when_keys_came(
        self, message: Message, sender: str, kind: type[Content], timeout_s: float
    ) -> Content:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            arrived = await self._courier.wait_for_key(deadline - loop.time())
            try:
                return self.open(message, sender, kind)
            except KeyMissing:
                if not arrived:
                    raise
