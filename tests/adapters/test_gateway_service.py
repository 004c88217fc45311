"""The whole gateway: from Modbus slaves on pseudo terminals to a ledger's side of the bus."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from prometheus_client import REGISTRY

from minervas_core.encoding import decode
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.metering import Generation, Reading, readings_root
from minervas_core.rights import rights_for
from minervas_core.topics import mesh
from minervas_devnet.simulated_bus.faults import FAULTS
from minervas_meter_gateway.service import Gateway
from minervas_meter_gateway.settings import GatewaySettings
from minervas_runtime.bus import BusRefused
from minervas_runtime.clock import SystemClock
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.presence import offline_will
from minervas_runtime.service import ServiceContext
from tests.support.fix_simulated_bus import BusRack
from tests.support.gateway import (
    ARRAY,
    GATEWAY,
    LEDGER,
    MEMBER,
    PV1,
    FakeChain,
    FakeLedger,
    Key,
    gateway_keys,
    load,
    make_issued,
    write_settings,
)
from tests.support.wait import wait_until_async

SLOT_MS = 2_000
INTERVAL_MS = 200


class Site:
    """A gateway with two meters on one bus, a broker in memory, and a ledger."""

    def __init__(self, directory: Path, device: Path) -> None:
        self.broker = MemoryBroker()
        self.chain = FakeChain(registered={PV1.key, ARRAY.key}, slot_ms=SLOT_MS)
        self.ledger = self._new_ledger()
        self._directory = directory
        self._file = write_settings(directory, {"roof": device}, [PV1, ARRAY], interval_ms=INTERVAL_MS)
        self.context: ServiceContext[GatewaySettings]
        self._running: asyncio.Task[None] | None = None
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start it (again), on whatever its directory has."""
        settings, ports = load(self._file)
        self.context = ServiceContext("meter-gateway", MEMBER, settings, SystemClock())
        rights = rights_for(GATEWAY, operator_member="other")
        bus = self.broker.connect(
            GATEWAY, rights, will=offline_will(MEMBER, GATEWAY.service, version="0", now_ms=0), timeout_s=1.0
        )
        gateway = Gateway(self.context, ports, bus, make_issued(self._directory), gateway_keys(self._directory))
        self._running = asyncio.create_task(gateway.run())

    async def stop_gateway(self) -> None:
        """Stop it as the service runner does."""
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def restart_ledger(self) -> None:
        """A new process of the ledger on the same database."""
        stored = self.ledger.stored
        self.ledger = self._new_ledger()
        self.ledger.stored = stored
        await self.ledger.start()

    async def end(self) -> BaseException | None:
        """Wait until the gateway ends by itself and return why."""
        assert self._running
        (outcome,) = await asyncio.gather(self._running, return_exceptions=True)
        return outcome if isinstance(outcome, BaseException) else None

    async def close(self) -> None:
        await self.stop_gateway()
        await self.ledger.stop()

    def spool_ids(self) -> set[str]:
        """Spools whose readings the ledger has."""
        return {spool for spool, _ in self.ledger.stored}

    def readings(self, key: Key) -> list[Reading]:
        """Stored readings of a channel, in order."""
        of_channel = [each for each in self.ledger.stored.values() if (each.meter, each.channel) == key]
        return sorted(of_channel, key=lambda each: each.sequence)

    async def wait_for_readings(self, count: int) -> None:
        """Wait until the ledger has so many more, without a gap."""
        wanted = len(self.ledger.stored) + count
        await wait_until_async(lambda: len(self.ledger.stored) >= wanted)

    async def wait_for_statements(self, key: Key, count: int) -> None:
        """Wait until so many statements of a channel are in blocks."""
        await wait_until_async(lambda: len(self.statements(key)) >= count, describe=lambda: str(self.health))

    def statements(self, key: Key) -> list[Generation]:
        """Statements of a channel that are in blocks."""
        return [each for each in self.chain.blocks if (each.meter, each.channel) == key]

    @property
    def health(self) -> dict[str, Any]:
        """What /healthz shows."""
        return self.context.status

    def _new_ledger(self) -> FakeLedger:
        return FakeLedger(self.broker.connect(LEDGER, rights_for(LEDGER, operator_member="other")), self.chain)


@pytest_asyncio.fixture
async def site(tmp_path: Path, bus_rack: BusRack) -> AsyncIterator[Site]:
    await bus_rack.add("roof", {1: ("pzem-003", 120), 3: ("sdm630", 30_000)}, start_wh=70_000)
    made = Site(tmp_path, bus_rack.device("roof"))
    yield made
    await made.close()


def assert_complete(site: Site) -> None:
    """The ledger has every reading exactly once, without a gap."""
    (spool,) = site.spool_ids()
    numbers = site.ledger.sequences(spool)
    assert numbers == list(range(len(numbers)))


def assert_statements_rest_on_readings(site: Site, key: Key) -> None:
    """Each statement starts where the last ended, and says what the stored readings say."""
    readings = site.readings(key)
    by_time = {each.time_ms: each for each in readings}
    statements = site.statements(key)
    for earlier, later in itertools.pairwise(statements):
        assert later.start == earlier.end
    for each in statements:
        first, last = by_time[each.start.time_ms], by_time[each.end.time_ms]
        assert isinstance(first.energy_mwh, int)
        assert isinstance(last.energy_mwh, int)
        assert each.start.register_wh == first.energy_mwh // 1000
        assert each.end.register_wh == last.energy_mwh // 1000
        span = [reading for reading in readings if first.sequence <= reading.sequence <= last.sequence]
        assert each.readings_root == readings_root(span)
        assert each.measured + each.missing == len(span) - 1


async def test_readings_are_stored_and_statements_mint_what_the_registers_rose(site: Site, bus_rack: BusRack) -> None:
    await site.ledger.start()
    await site.wait_for_statements(ARRAY.key, 3)
    assert_complete(site)
    assert_statements_rest_on_readings(site, ARRAY.key)
    blocks = site.statements(ARRAY.key)
    assert site.chain.minted_wh(ARRAY.key) == blocks[-1].end.register_wh - blocks[0].start.register_wh > 0
    assert not any(each.reset for each in blocks)
    await wait_until_async(lambda: site.health["status"] == "ok")
    assert site.health["channels"]["pv1.dc"]["registered"]
    presence = site.broker.retained(mesh(GATEWAY, "presence"))[0]
    assert decode(presence.payload, Presence, max_bytes=MAX_PRESENCE_BYTES).state == "online"


async def test_ledger_and_broker_away_and_a_restart_lose_and_double_nothing(site: Site) -> None:
    await site.ledger.start()
    await site.wait_for_statements(ARRAY.key, 1)
    await site.ledger.stop()
    before = site.readings(PV1.key)[-1].sequence
    spool = site.spool_ids()
    await wait_until_async(lambda: site.health["spool"]["unacknowledged"] >= 10)
    await site.stop_gateway()
    site.broker.interrupt()
    site.start_gateway()
    await wait_until_async(lambda: len(site.health) > 1 and not site.health["connected"])
    waiting = site.health["spool"]["unacknowledged"]
    await wait_until_async(lambda: site.health["spool"]["unacknowledged"] > waiting + 5)
    site.broker.resume()
    await site.restart_ledger()
    await site.wait_for_statements(ARRAY.key, 3)
    await wait_until_async(lambda: site.health["spool"]["unacknowledged"] <= 2)
    assert site.readings(PV1.key)[-1].sequence > before
    assert site.spool_ids() == spool
    assert_complete(site)
    assert_statements_rest_on_readings(site, ARRAY.key)


async def test_failed_reads_are_shown_and_counted_by_meter_and_kind(site: Site, bus_rack: BusRack) -> None:
    def counted() -> float:
        labels = {"meter": "pv1", "kind": "crc"}
        return REGISTRY.get_sample_value("minervas_gateway_read_faults_total", labels) or 0.0

    before = counted()
    await site.ledger.start()
    await site.wait_for_readings(2)
    bus_rack.bus("roof").faults.order("bad_crc", 2, address=1)
    await wait_until_async(lambda: site.health["ports"]["roof"]["faults"].get("pv1", {}).get("crc") == 2)
    await wait_until_async(lambda: counted() == before + 2)
    faults = site.health["ports"]["roof"]["faults"]
    # On a starved machine the rest of a reply that came too late harms the next one, once for each timeout.
    late = sum(kinds.get("timeout", 0) for kinds in faults.values())
    assert sum(number for kind, number in faults.get("array", {}).items() if kind != "timeout") <= late


async def test_whatever_goes_wrong_on_the_bus_each_sample_is_stored_once_with_its_kind(
    site: Site, bus_rack: BusRack
) -> None:
    bus = bus_rack.bus("roof")

    def kinds() -> Counter[str]:
        return Counter(str(each.fault) for each in site.readings(PV1.key) if each.quality == "missing")

    async def measured_again() -> None:
        known = len(site.readings(PV1.key))
        await wait_until_async(
            lambda: any(each.quality == "measured" for each in site.readings(PV1.key)[known:]),
            describe=lambda: str(kinds()),
        )

    await site.ledger.start()
    for fault in FAULTS:
        await measured_again()
        bus.faults.order(fault, 1, address=PV1.address)
        await wait_until_async(lambda: bus.faults.injected[fault] == 1)  # noqa: B023 - now
    await measured_again()
    bus.faults.silent.add(PV1.address)
    silent = kinds()["timeout"]
    await wait_until_async(lambda: kinds()["timeout"] > silent)
    bus.faults.silent.clear()
    await measured_again()
    bus.wire.vanish()
    await wait_until_async(lambda: kinds()["port"] > 0)
    bus.wire.appear()
    await measured_again()
    given = site.health["spool"]["next_sequence"]
    await wait_until_async(lambda: len(site.ledger.stored) >= given)
    assert_complete(site)
    found, measured = kinds(), [each for each in site.readings(PV1.key) if each.quality == "measured"]
    assert {"timeout", "crc", "short", "wrong_slave", "echo", "port"} <= set(found)
    assert found.total() - found["port"] >= len(FAULTS) + 1
    assert len(measured) <= bus.faults.answered[PV1.address]
    assert {each.reply for each in measured} != {""}


async def test_until_its_meters_are_registered_readings_stay_in_the_spool(site: Site) -> None:
    site.chain.registered.clear()
    site.ledger.acknowledges = False
    await site.ledger.start()
    await site.wait_for_readings(10)
    await wait_until_async(lambda: site.health["spool"]["unacknowledged"] >= 10)
    assert site.chain.submitted == []
    assert site.health["channels"]["pv1.dc"]["registered"] is False


async def test_readings_that_the_ledger_put_aside_leave_the_spool_and_are_counted(site: Site) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("minervas_gateway_readings_put_aside_total") or 0.0

    before = counted()
    site.ledger.puts_aside = True
    await site.ledger.start()
    await site.wait_for_readings(10)
    await wait_until_async(lambda: site.health["spool"]["unacknowledged"] <= 2)
    assert counted() >= before + 8


async def test_a_gateway_that_the_broker_refuses_ends_with_the_reason(site: Site) -> None:
    await site.ledger.start()
    await wait_until_async(lambda: site.health.get("connected"))
    await site.stop_gateway()
    site.broker.revoke(GATEWAY)
    site.start_gateway()
    outcome = await site.end()
    assert isinstance(outcome, ExceptionGroup)
    assert isinstance(outcome.exceptions[0], BusRefused)


async def test_without_any_port_the_gateway_says_that_it_fails(tmp_path: Path) -> None:
    site = Site(tmp_path, tmp_path / "nothing.tty")
    await site.ledger.start()
    await wait_until_async(lambda: site.health.get("connected"))
    await wait_until_async(lambda: {each.fault for each in site.readings(PV1.key)} == {"port"})
    await wait_until_async(lambda: "No such file" in site.health["ports"]["roof"]["lost"])
    assert site.health["status"] == "failing"
    await site.close()
