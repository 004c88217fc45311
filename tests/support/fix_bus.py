"""Fixture `bus_world`: the same bus tests run over the in-memory broker and over a real Mosquitto.

A world makes connections for principals, cuts all of them off, and takes a principal's membership away.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import pytest_asyncio

from minervas_core.identifiers import Principal
from minervas_core.rights import rights_for
from minervas_devnet.proxy import TcpProxy
from minervas_runtime.bus import Bus, Will
from minervas_runtime.memory_bus import MemoryBroker, MemoryBus
from minervas_runtime.mqtt_bus import MqttBus
from tests.support.fix_broker import OPERATOR_MEMBER, Broker
from tests.support.pki import CertFiles

_numbers = itertools.count(1)

CLIENT_TIMEOUT_S = 3.0
"""How long the clients of a world wait for a connection; short, because some tests wait it out."""


class CountingBus(Bus, Protocol):
    """A bus that also tells how many messages it dropped."""

    @property
    def dropped(self) -> int:
        """Messages dropped because a handler was too slow."""


class BusWorld(Protocol):
    """A broker of either kind."""

    name: str

    def member(self) -> str:
        """Return a member id that nobody has used."""

    def bus(self, principal: Principal, *, will: Will | None = None) -> CountingBus:
        """Return a bus with the rights of the table, not started."""

    async def connect(self, principal: Principal, *, will: Will | None = None) -> CountingBus:
        """Return a started bus with the rights of the table."""

    def cut(self) -> None:
        """End all connections and refuse new ones."""

    def restore(self) -> None:
        """Let everybody connect again."""

    def kick(self, principal: Principal) -> None:
        """End a principal's session and membership."""


class _World:
    """What both kinds have in common."""

    def __init__(self) -> None:
        self._buses: list[CountingBus] = []

    def member(self) -> str:
        return f"world-{next(_numbers)}"

    async def close(self) -> None:
        for bus in self._buses:
            await bus.stop()


class MemoryWorld(_World):
    """Over `MemoryBroker`."""

    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self._broker = MemoryBroker()

    def bus(self, principal: Principal, *, will: Will | None = None) -> MemoryBus:
        rights = rights_for(principal, operator_member=OPERATOR_MEMBER)
        bus = self._broker.connect(principal, rights, will=will, timeout_s=CLIENT_TIMEOUT_S)
        self._buses.append(bus)
        return bus

    async def connect(self, principal: Principal, *, will: Will | None = None) -> MemoryBus:
        bus = self.bus(principal, will=will)
        await bus.start()
        return bus

    def cut(self) -> None:
        self._broker.interrupt()

    def restore(self) -> None:
        self._broker.resume()

    def kick(self, principal: Principal) -> None:
        self._broker.revoke(principal)


class MosquittoWorld(_World):
    """Over a real broker, through a proxy that can be cut."""

    name = "mosquitto"

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker
        self._proxy = TcpProxy(broker.server.host, broker.server.port)
        self._proxy.start()
        self._files: dict[Principal, CertFiles] = {}

    def bus(self, principal: Principal, *, will: Will | None = None) -> MqttBus:
        if principal not in self._files:
            self._files[principal] = self._broker.admit(principal)
        bus = self._broker.bus(
            principal,
            self._files[principal],
            will=will,
            port=self._proxy.port,
            publish_timeout_s=CLIENT_TIMEOUT_S,
        )
        self._buses.append(bus)
        return bus

    async def connect(self, principal: Principal, *, will: Will | None = None) -> MqttBus:
        bus = self.bus(principal, will=will)
        await bus.start()
        return bus

    def cut(self) -> None:
        self._proxy.cut()

    def restore(self) -> None:
        self._proxy.restore()

    def kick(self, principal: Principal) -> None:
        self._broker.kick(principal)

    async def close(self) -> None:
        await super().close()
        self._proxy.stop()


@pytest_asyncio.fixture(params=["memory", "mosquitto"])
async def bus_world(request: pytest.FixtureRequest) -> AsyncIterator[BusWorld]:
    """A broker of each kind; connections made through it are closed at the end of the test."""
    world = MemoryWorld() if request.param == "memory" else MosquittoWorld(request.getfixturevalue("broker"))
    yield world
    await world.close()
