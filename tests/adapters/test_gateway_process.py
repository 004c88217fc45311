"""The gateway as the process that members run: waits for approval, survives kill -9, stops cleanly."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from minervas_core.encoding import decode
from minervas_core.enrolment import ServiceEnrolment
from minervas_devnet.health import is_status
from minervas_devnet.ports import free_port
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_runtime.key_files import write_atomic
from tests.support.fix_broker import Broker
from tests.support.fix_simulated_bus import BusRack
from tests.support.gateway import (
    GATEWAY,
    LEDGER,
    NODE_KEY,
    PV1,
    PV2,
    FakeChain,
    FakeLedger,
    make_genesis,
    write_settings,
)
from tests.support.seed import seeded_random
from tests.support.wait import HANG_S, wait_until_async

KILLS = 2


class Node:
    """The directory of a node with a gateway, approved by hand, and its process."""

    def __init__(self, directory: Path, broker: Broker, device: Path) -> None:
        self.directory = directory
        self.health_port = free_port()
        more = f'[broker]\nhost = "{broker.server.host}"\nport = {broker.server.port}\n'
        more += f"[health]\nport = {self.health_port}\n"
        settings = write_settings(directory, {"roof": device}, [PV1, PV2], interval_ms=100, more=more)
        self._files = broker.admit(GATEWAY)
        self._install_key()
        self.process = ManagedProcess(
            "meter-gateway",
            [console_script("minervas-meter-gateway"), "run", "--config", settings],
            directory / "gateway.log",
        )

    def approve(self) -> None:
        """Install what `minervas join` installs after the operator's approval."""
        issued = self.directory / "issued"
        (issued / "certs").mkdir(parents=True)
        shutil.copy(self._files.cert_file, issued / "certs" / "meter-gateway.crt")
        shutil.copy(self._files.ca_file, issued / "ca.crt")
        (issued / "genesis.json").write_bytes(make_genesis().raw)
        (issued / "membership.json").write_bytes(b"[]")
        write_atomic(self.directory / "secrets" / "node.key", NODE_KEY.hex().encode())
        (issued / "ready").touch()

    def _install_key(self) -> None:
        """The key that the certificate is for; a gateway makes its own if there is none."""
        write_atomic(self.directory / "data" / "tls.key", self._files.key_file.read_bytes())


@pytest_asyncio.fixture
async def node(tmp_path: Path, own_broker: Broker, bus_rack: BusRack) -> AsyncIterator[Node]:
    await bus_rack.add("roof", {1: ("pzem-003", 120), 2: ("pzem-003", 120)})
    made = await asyncio.to_thread(Node, tmp_path, own_broker, bus_rack.device("roof"))
    yield made
    await asyncio.to_thread(made.process.stop)


async def wait_for_more(ledger: FakeLedger, count: int) -> None:
    """Wait until the ledger has so many more readings."""
    wanted = len(ledger.stored) + count
    await wait_until_async(lambda: len(ledger.stored) >= wanted)


def is_complete(numbers: list[int]) -> bool:
    """Whether no number is missing."""
    return numbers == list(range(len(numbers)))


async def test_killed_again_and_again_no_reading_is_lost_or_doubled(node: Node, own_broker: Broker) -> None:
    files = await asyncio.to_thread(own_broker.admit, LEDGER)
    ledger = FakeLedger(own_broker.bus(LEDGER, files), FakeChain())
    await ledger.start()
    await asyncio.to_thread(node.process.start)
    await asyncio.to_thread(node.process.wait_for_event, "waiting for approval", timeout_s=HANG_S)
    handed_in = (node.directory / "enrol" / "meter-gateway.json").read_bytes()
    enrolment = decode(handed_in, ServiceEnrolment, max_bytes=10_000)
    ledger.chain.gateway = enrolment.claim.signing_key
    node.approve()
    chance = seeded_random("gateway process")
    for _ in range(KILLS):
        await wait_for_more(ledger, chance.randint(5, 30))
        await asyncio.to_thread(node.process.kill)
        await asyncio.to_thread(node.process.start)
    await wait_for_more(ledger, 10)
    ((spool, _),) = dict(sorted(ledger.stored)).items()
    await wait_until_async(lambda: is_complete(ledger.sequences(spool)), describe=lambda: str(ledger.sequences(spool)))
    await wait_until_async(lambda: asyncio.to_thread(is_status, node.health_port, "ok"))
    await asyncio.to_thread(node.process.stop)
    assert node.process.exit_status == 0
    await ledger.stop()
