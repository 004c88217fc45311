"""The bus side of the key exchange: carries its messages, and keeps the times of Hellos and of key changes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_core.frames import SenderKey
from minervas_core.identifiers import Principal
from minervas_core.node_messages import Roster
from minervas_core.topics import MeshTopic, mesh, parse_topic
from minervas_peer.epoch_store import EpochStore
from minervas_peer.key_exchange import KeyExchange, Outgoing
from minervas_peer.refusals import Refusals
from minervas_peer.settings import GossipSettings
from minervas_runtime.bus import Bus, BusOffline, Message
from minervas_runtime.clock import Clock, monotonic_ms
from minervas_runtime.randomness import new_salt, new_secret
from minervas_runtime.requests import Request, Requester

log = logging.getLogger(__name__)

PEER: Final = "peer"
"""Name of our service and of those we exchange keys with."""

EXPIRY_S = 60
"""How long the broker keeps gossip (design section 3)."""

JITTER_PER_MILLE = 250
"""Pauses between Hellos vary by this share, so that members do not all speak at once."""

RETRY_S = 5.0
"""Pause before a key change that failed is tried again."""

Receive = Callable[[str, bytes, int], list[Outgoing]]
KeyListener = Callable[[str], None]
"""Called with a member whose frames may open now."""


def new_sender_key(member: str, epochs: EpochStore, now_ms: int) -> SenderKey:
    """Make a sender key of a new epoch, which is on disk before the key is used.

    Raises:
        LocalFault: if the epoch can not be stored.
    """
    return SenderKey(member, epochs.next_epoch(now_ms), new_salt(), new_secret())


class KeyCourier:
    """Connects a `KeyExchange` with the bus."""

    def __init__(
        self,
        *,
        bus: Bus,
        requester: Requester,
        exchange: KeyExchange,
        epochs: EpochStore,
        refusals: Refusals,
        clock: Clock,
        settings: GossipSettings,
    ) -> None:
        self._bus = bus
        self._requester = requester
        self._exchange = exchange
        self._epochs = epochs
        self._refusals = refusals
        self._clock = clock
        self._settings = settings
        self._me = Principal(exchange.own_key.member, PEER)
        self._change_wanted = asyncio.Event()
        self._key_came = asyncio.Event()
        self._listeners: list[KeyListener] = []
        self._speak = asyncio.Event()
        self._jitter = random.SystemRandom()
        requester.listen("sender_key", self._take("sender_key", exchange.on_sender_key))
        requester.listen("key_request", self._take("key_request", exchange.on_key_request))
        bus.on_connection_change(lambda connected: self._speak.set() if connected else None)

    def on_key(self, listener: KeyListener) -> None:
        """Call `listener` whenever a sender key or a roster has come."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Subscribe to Hellos.

        Raises:
            BusDenied, BusRefused, BusOffline: as `Bus.subscribe`.
        """
        await self._bus.subscribe("mesh/v1/+/+/hello", self._on_hello)

    async def run(self) -> None:
        """Say Hello and change the key in time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_saying_hello(), name="hellos")
            group.create_task(self._keep_changing_key(), name="key changes")

    def has_key(self, member: str, key_id: str) -> bool:
        """Whether we hold this sender key of a member."""
        return self._exchange.keys.find(member, key_id) is not None

    async def ask(self, member: str, key_id: str) -> None:
        """Ask a member for a key, unless that was done lately."""
        await self._send(self._exchange.ask(member, key_id, monotonic_ms()))

    async def wait_for_key(self, timeout_s: float) -> bool:
        """Return True when the next sender key of anybody, or a roster, has come; False if none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._key_came.wait()
        except TimeoutError:
            return False
        return True

    async def take_roster(self, roster: Roster) -> None:
        """Take over the roster of our own tip; a lost member means a new key, at once."""
        messages, must_change = self._exchange.on_roster(roster)
        if must_change:
            self._change_wanted.set()
        self._notify(self._exchange.keys.announcers())  # frames may have waited for the roster too
        await self._send(messages)

    async def _keep_saying_hello(self) -> None:
        """After every connect, and on a timer; whoever was not reached before gets our key then."""
        while True:
            self._speak.clear()
            if self._bus.connected:
                await self._send(self._exchange.resume())
            spread_ms = self._settings.hello_interval_ms * JITTER_PER_MILLE // 1000
            pause_ms = self._settings.hello_interval_ms + self._jitter.randint(-spread_ms, spread_ms)
            try:
                async with asyncio.timeout(pause_ms / 1000):
                    await self._speak.wait()
            except TimeoutError:
                continue

    async def _keep_changing_key(self) -> None:
        """On a timer, and when a member was lost; a failure to store the new epoch is tried again, never skipped."""
        while True:
            reason = "roster"
            try:
                async with asyncio.timeout(self._settings.sender_key_lifetime_ms / 1000):
                    await self._change_wanted.wait()
            except TimeoutError:
                reason = "timer"
            self._change_wanted.clear()
            try:
                await self._change_key(reason)
            except LocalFault as error:
                log.error("sender_key_not_changed", extra={"fields": {"reason": str(error)}})  # noqa: TRY400
                await asyncio.sleep(RETRY_S)
                self._change_wanted.set()

    async def _change_key(self, reason: str) -> None:
        me, now_ms = self._me.member, self._clock.now_ms()
        key = await asyncio.to_thread(new_sender_key, me, self._epochs, now_ms)
        log.info("sender_key_changed", extra={"fields": {"reason": reason, "epoch": key.epoch}})
        await self._send(self._exchange.change_key(key))

    async def _on_hello(self, message: Message) -> None:
        topic = parse_topic(message.topic)
        if not isinstance(topic, MeshTopic) or topic.owner == self._me:
            return
        await self._handle("hello", self._exchange.on_hello, topic.owner, message.payload)

    def _take(self, kind: str, receive: Receive) -> Callable[[Request], Awaitable[None]]:
        async def handle(request: Request) -> None:
            await self._handle(kind, receive, request.sender, request.payload)

        return handle

    async def _handle(self, kind: str, receive: Receive, sender: Principal, payload: bytes) -> None:
        """Let the exchange judge one message, then send what it answers."""
        if sender.service != PEER:
            self._refusals.count(kind, Code.FRAME_FOREIGN_SENDER, member=sender.member)
            return
        try:
            answers = receive(sender.member, payload, monotonic_ms())
        except MinervasError as error:
            self._refusals.note(kind, error, member=sender.member)
            return
        if kind == "sender_key":
            self._notify([sender.member])
        await self._send(answers)

    def _notify(self, members: Sequence[str]) -> None:
        """Let those try again who wait for these members' keys."""
        self._key_came.set()
        self._key_came = asyncio.Event()
        for member in members:
            for listener in self._listeners:
                listener(member)

    async def _send(self, messages: list[Outgoing]) -> None:
        """Publish; what can not be sent now is made up for by the next Hello."""
        for message in messages:
            try:
                if not self._bus.connected:
                    raise BusOffline(Code.BUS_OFFLINE, "Not connected to the broker")
                if message.recipient:
                    await self._requester.send(message.recipient, PEER, message.kind, message.payload)
                else:
                    await self._bus.publish(mesh(self._me, message.kind), message.payload, expiry_s=EXPIRY_S)
            except MinervasError as error:
                fields = {"kind": message.kind, "to": message.recipient, "reason": str(error)}
                log.info("key_message_not_sent", extra={"fields": fields})
                if message.kind == "sender_key":
                    self._exchange.not_given(message.recipient)
