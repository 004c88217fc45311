"""A broker inside the process with the rights semantics of the real one, for tests and simulations.

Retained messages, wills, denied publishes and subscriptions, size limit, interruption and revocation behave as with
Mosquitto; tests/adapters/test_bus_contract.py runs against both. Message expiry is not simulated: nothing is queued
for absent clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.rights import Rights
from minervas_core.topics import matches
from minervas_runtime.bus import (
    MAX_PACKET_BYTES,
    PACKET_OVERHEAD_BYTES,
    BusDenied,
    BusOffline,
    BusRefused,
    Handler,
    Message,
    Will,
    check_size,
    revoked_refusal,
    taken_over_refusal,
)
from minervas_runtime.connection_state import ConnectionState
from minervas_runtime.subscriptions import Subscriptions


def covers(allowed: str, wanted: str) -> bool:
    """Whether every topic that the filter `wanted` matches is matched by the filter `allowed`."""
    outer, inner = allowed.split("/"), wanted.split("/")
    for position, level in enumerate(outer):
        if level == "#":
            return True
        if position >= len(inner) or inner[position] == "#" or level not in ("+", inner[position]):
            return False
    return len(outer) == len(inner)


class MemoryBroker:
    """All clients, subscriptions and retained messages of one simulated broker."""

    def __init__(self, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._online = asyncio.Event()
        self._online.set()
        self._sessions: dict[str, MemoryBus] = {}
        self._revoked: set[str] = set()
        self._retained: dict[str, Message] = {}

    def connect(
        self, principal: Principal | str, rights: Rights, *, will: Will | None = None, timeout_s: float = 10.0
    ) -> MemoryBus:
        """Make a client; it is connected once its `start` returns."""
        return MemoryBus(self, str(principal), rights, will, timeout_s)

    def interrupt(self) -> None:
        """Cut everybody off, as the end of a broker process does."""
        self._online.clear()
        for bus in list(self._sessions.values()):
            self.detach(bus)

    def resume(self) -> None:
        """Let everybody connect again."""
        self._online.set()

    def revoke(self, principal: Principal | str) -> None:
        """End a client's session and refuse it from now on. Its will is not published, as with Mosquitto."""
        name = str(principal)
        self._revoked.add(name)
        if (bus := self._sessions.pop(name, None)) is not None:
            bus.kicked()

    async def attach(self, bus: MemoryBus) -> None:
        """Connect a client; a second one of the same name takes the session over.

        Raises:
            BusRefused: if it is revoked.
        """
        await self._online.wait()
        if bus.principal in self._revoked:
            raise BusRefused(Code.BUS_REFUSED, "The broker refuses our certificate: it is revoked", alert="revoked")
        if (earlier := self._sessions.get(bus.principal)) is not None:
            self.detach(earlier, taken_over=True)
        self._sessions[bus.principal] = bus

    def detach(self, bus: MemoryBus, *, taken_over: bool = False) -> None:
        """End a client's session and publish its will."""
        if self._sessions.get(bus.principal) is not bus:
            return
        del self._sessions[bus.principal]
        if bus.will is not None and bus.may_publish(bus.will.topic):
            self.route(Message(bus.will.topic, bus.will.payload), retain=bus.will.retain)
        bus.lost(taken_over=taken_over)

    def route(self, message: Message, *, retain: bool) -> None:
        """Deliver to everybody who subscribed and may read."""
        if retain and message.payload:
            self._retained[message.topic] = message
        elif retain:
            self._retained.pop(message.topic, None)
        for bus in list(self._sessions.values()):
            bus.receive(message)

    def retained(self, topic_filter: str) -> list[Message]:
        """Retained messages under a filter."""
        return [
            Message(kept.topic, kept.payload, retain=True)
            for kept in self._retained.values()
            if matches(topic_filter, kept.topic)
        ]


class MemoryBus:
    """One client of a `MemoryBroker`; see `minervas_runtime.bus.Bus`."""

    def __init__(
        self, broker: MemoryBroker, principal: str, rights: Rights, will: Will | None, timeout_s: float
    ) -> None:
        self.principal = principal
        self.will = will
        self._broker = broker
        self._rights = rights
        self._timeout_s = timeout_s
        self._state = ConnectionState(principal)
        self._subscriptions = Subscriptions()
        self._reconnecting: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def connected(self) -> bool:
        """Whether the broker has our session."""
        return self._state.connected

    @property
    def refusal(self) -> BusRefused | None:
        """Why the broker refuses us at present."""
        return self._state.refusal

    @property
    def max_payload_bytes(self) -> int:
        """Largest payload that `publish` accepts."""
        return self._broker.max_packet_bytes - PACKET_OVERHEAD_BYTES

    @property
    def dropped(self) -> int:
        """Messages dropped because a handler was too slow."""
        return self._subscriptions.dropped

    def on_connection_change(self, callback: Callable[[bool], None]) -> None:
        """See `Bus.on_connection_change`."""
        self._state.on_change(callback)

    async def start(self) -> None:
        """See `Bus.start`."""
        await self._broker.attach(self)
        self._state.up()

    async def stop(self) -> None:
        """See `Bus.stop`."""
        self._stopped = True
        if self._reconnecting:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        self._broker.detach(self)
        await self._subscriptions.close()

    async def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """See `Bus.subscribe`."""
        await self._wait()
        if not any(covers(allowed, topic_filter) for allowed in self._rights.subscribe):
            raise BusDenied(Code.BUS_DENIED, "The broker does not let us subscribe to this", topic=topic_filter)
        self._subscriptions.add(topic_filter, handler)
        for kept in self._broker.retained(topic_filter):
            self.receive(kept)

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,  # noqa: ARG002  # nothing is queued here that could expire
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """See `Bus.publish`."""
        check_size(topic, payload, response_topic, correlation, self.max_payload_bytes)
        await self._wait()
        if not self.may_publish(topic):
            raise BusDenied(Code.BUS_DENIED, "The broker does not let us publish this", topic=topic)
        message = Message(topic, payload, response_topic=response_topic, correlation=correlation)
        self._broker.route(message, retain=retain)
        await asyncio.sleep(0)  # as with a real broker, others get their turn before the acknowledgement is here

    def may_publish(self, topic: str) -> bool:
        """Whether our rights cover a topic."""
        return any(matches(allowed, topic) for allowed in self._rights.publish)

    def receive(self, message: Message) -> None:
        """Take a message from the broker, if our rights let us read it."""
        if any(matches(allowed, message.topic) for allowed in self._rights.subscribe):
            self._subscriptions.deliver(message)

    def lost(self, *, taken_over: bool) -> None:
        """The session has ended: connect again, unless we wanted it so or another process has our name."""
        if taken_over:
            self._state.refused(taken_over_refusal(self.principal))
            return
        self._state.down()
        if not self._stopped:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    def kicked(self) -> None:
        """The operator has ended our session."""
        self._state.refused(revoked_refusal(self.principal))

    async def _reconnect(self) -> None:
        try:
            await self._broker.attach(self)
        except BusRefused as refusal:
            self._state.refused(refusal)
            return
        for topic_filter in self._subscriptions.filters:
            for kept in self._broker.retained(topic_filter):
                self.receive(kept)
        self._state.up()

    async def _wait(self) -> None:
        if self._stopped:
            raise BusOffline(Code.BUS_OFFLINE, "The bus connection is stopped", principal=self.principal)
        await self._state.wait(self._timeout_s)
