"""Readings to the ledger: live at once, the backlog in order beside it, until the ledger has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.metering import MAX_READINGS_PER_BATCH
from minervas_core.node_market_messages import ReadingsStored
from minervas_core.rights import Rights, rights_for
from minervas_core.topics import mesh
from minervas_meter_gateway.ledger_link import LedgerLink
from minervas_meter_gateway.publisher import WINDOW, Publisher
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.node_link import NodeLink
from tests.support.gateway import (
    GATEWAY,
    GATEWAY_KEY,
    LEDGER,
    MEMBER,
    NETWORK,
    NODE_KEY,
    FakeChain,
    FakeLedger,
    gateway_keys,
    reading,
    settle,
)
from tests.support.wait import wait_until_async

PATIENCE_MS = 300


class Outlet:
    """A publisher between a spool and a ledger, on a broker in memory."""

    def __init__(self, directory: Path) -> None:
        self.broker = MemoryBroker()
        file = directory / "spool.db"
        self.spool = SpoolThread(
            lambda: Spool(file, network=NETWORK, member=MEMBER, max_bytes=10**8, max_age_ms=10**12)
        )
        self.bus = self.broker.connect(GATEWAY, rights_for(GATEWAY, operator_member="other"))
        self.ledger = self._new_ledger()
        self._link = NodeLink(self.bus, NODE_KEY, MEMBER, GATEWAY.service, NETWORK)
        LedgerLink(self._link, gateway_keys(directory)).on_stored(self._stored)
        self.publisher = Publisher(
            bus=self.bus,
            topic=mesh(GATEWAY, "reading"),
            spool=self.spool,
            network=NETWORK,
            member=MEMBER,
            key=lambda: GATEWAY_KEY,
            monotonic_ms=monotonic_ms,
            patience_ms=PATIENCE_MS,
        )
        self.bus.on_connection_change(lambda connected: self.publisher.resend_all() if connected else None)
        self._running: asyncio.Task[None] | None = None

    async def start(self, *, with_ledger: bool = True) -> None:
        """Connect and publish; everything that is in the spool by now is backlog."""
        if with_ledger:
            await self.ledger.start()
        await self.bus.start()
        await self._link.start()
        self._running = asyncio.create_task(self.publisher.run())

    async def close(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.ledger.stop()
        await self._link.stop()
        await self.bus.stop()
        self.spool.close()

    async def sample(self, count: int = 1) -> None:
        """Record readings as the recorder does."""
        first = self.spool.file.next_sequence
        readings = [reading(number, number, number) for number in range(first, first + count)]
        bodies = [encode(each) for each in readings]
        await self.spool.run(lambda spool: spool.append(bodies, {}, []))
        self.publisher.offer(readings)

    async def until_empty(self) -> None:
        """Wait until the ledger has acknowledged everything."""
        await wait_until_async(lambda: self.spool.file.depth == 0, describe=lambda: str(self.ledger.batches))

    def stored(self) -> list[int]:
        """Numbers that the ledger has."""
        return self.ledger.sequences(self.spool.file.id)

    def _new_ledger(self) -> FakeLedger:
        return FakeLedger(self.broker.connect(LEDGER, rights_for(LEDGER, operator_member="other")), FakeChain())

    async def _stored(self, stored: ReadingsStored) -> None:
        ranges = [(first, last) for first, last in stored.ranges]
        await self.spool.run(lambda spool: spool.acknowledge(ranges))
        self.publisher.wake()


@pytest_asyncio.fixture
async def outlet(tmp_path: Path) -> AsyncIterator[Outlet]:
    made = Outlet(tmp_path)
    yield made
    await made.close()


async def test_a_reading_is_published_at_once_and_leaves_the_spool_when_it_is_stored(outlet: Outlet) -> None:
    await outlet.start()
    await outlet.sample(2)
    await outlet.until_empty()
    assert outlet.ledger.batches == [[0, 1]]


async def test_without_an_acknowledgement_it_stays_and_is_sent_again(outlet: Outlet) -> None:
    await outlet.start()
    outlet.ledger.acknowledges = False
    await outlet.sample()
    await wait_until_async(lambda: len(outlet.ledger.batches) >= 2)
    assert outlet.spool.file.depth == 1
    outlet.ledger.acknowledges = True
    await outlet.until_empty()
    assert outlet.stored() == [0]


async def test_an_acknowledgement_by_the_broker_alone_is_not_enough(outlet: Outlet) -> None:
    await outlet.start(with_ledger=False)
    await outlet.sample(5)
    await settle()
    assert outlet.spool.file.depth == 5
    await outlet.ledger.start()
    await outlet.until_empty()
    assert outlet.stored() == [0, 1, 2, 3, 4]


async def test_the_backlog_goes_out_in_order_and_live_readings_do_not_wait_for_it(outlet: Outlet) -> None:
    count = 5 * MAX_READINGS_PER_BATCH + 10
    await outlet.sample(count)
    outlet.ledger.acknowledges = False
    await outlet.start()
    await wait_until_async(lambda: len(outlet.ledger.batches) >= 2)
    await outlet.sample()
    await wait_until_async(lambda: (outlet.spool.file.id, count) in outlet.ledger.stored)
    outlet.ledger.acknowledges = True
    await outlet.until_empty()
    backlog = [batch for batch in outlet.ledger.batches if count not in batch]
    assert all(batch == list(range(batch[0], batch[-1] + 1)) for batch in backlog)
    first_run = [batch[0] for batch in backlog][: len({batch[0] for batch in backlog})]
    assert first_run == sorted(first_run)
    assert max(len(batch) for batch in outlet.ledger.batches) == MAX_READINGS_PER_BATCH
    assert outlet.stored() == list(range(count + 1))


async def test_no_more_than_a_window_is_sent_ahead_of_the_acknowledgements(outlet: Outlet) -> None:
    await outlet.sample(3 * WINDOW)
    outlet.ledger.acknowledges = False
    await outlet.start()
    await wait_until_async(lambda: outlet.ledger.repeated > 0)
    assert len(outlet.stored()) == WINDOW
    outlet.ledger.acknowledges = True
    await outlet.until_empty()
    assert outlet.stored() == list(range(3 * WINDOW))


async def test_what_was_sampled_while_the_broker_was_away_arrives_afterwards(outlet: Outlet) -> None:
    await outlet.start()
    await outlet.sample(3)
    await outlet.until_empty()
    outlet.broker.interrupt()
    for _ in range(5):
        await outlet.sample(2)
    assert outlet.spool.file.depth == 10
    outlet.broker.resume()
    await outlet.until_empty()
    assert outlet.stored() == list(range(13))


async def test_acknowledgements_of_single_readings_out_of_order_leave_the_others(outlet: Outlet) -> None:
    await outlet.start()
    outlet.ledger.acknowledges = False
    await outlet.sample(4)
    await wait_until_async(lambda: len(outlet.stored()) == 4)
    await outlet.ledger.acknowledge(outlet.spool.file.id, [3, 1])
    await wait_until_async(lambda: outlet.spool.file.depth == 2)
    batches = len(outlet.ledger.batches)
    await wait_until_async(lambda: len(outlet.ledger.batches) > batches)
    assert outlet.ledger.batches[-1] == [0, 2]


async def test_only_the_ledger_can_acknowledge(outlet: Outlet, caplog: pytest.LogCaptureFixture) -> None:
    await outlet.start()
    outlet.ledger.acknowledges = False
    await outlet.sample()
    await wait_until_async(lambda: outlet.stored() == [0])
    peer = Principal(MEMBER, "peer")
    everything = Rights(publish=("#",), subscribe=("#",))
    bus = outlet.broker.connect(peer, everything)
    await bus.start()
    link = NodeLink(bus, NODE_KEY, MEMBER, "peer", NETWORK)
    await link.send("meter-gateway", "readings_stored", ReadingsStored(spool=outlet.spool.file.id, ranges=[[0, 0]]))
    await wait_until_async(lambda: "message_refused" in {record.message for record in caplog.records})
    assert outlet.spool.file.depth == 1
    await link.stop()
    await bus.stop()
