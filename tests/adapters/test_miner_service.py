"""The whole miner over a bus: a ledger's side of the node link gives templates and gets signed blocks."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from minervas_core.blocks import block_signature_is_valid
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import Code, MinervasError, PeerFault, TransientFault
from minervas_core.identifiers import Principal
from minervas_core.messages import Presence
from minervas_core.node_messages import (
    Abandoned,
    BlockResult,
    Found,
    GetTemplate,
    Pause,
    SearchProgress,
    Stored,
    Template,
)
from minervas_core.rights import Rights, rights_for
from minervas_core.topics import mesh
from minervas_miner.service import serve
from minervas_miner.settings import MinerSettings
from minervas_runtime.bus import Message
from minervas_runtime.clock import SystemClock
from minervas_runtime.enrolment import Issued
from minervas_runtime.key_ring import KeyRing
from minervas_runtime.memory_bus import MemoryBroker, MemoryBus
from minervas_runtime.metrics import REFUSALS
from minervas_runtime.node_link import NodeLink
from minervas_runtime.service import ServiceContext
from minervas_runtime.settings import NodePaths
from tests.support.miner import BLOCK_KEY, EASY, IMPOSSIBLE, MEMBER, NETWORK, NOW_MS, make_genesis, make_template
from tests.support.wait import wait_until_async

NODE_KEY = b"n" * 32
LEDGER = Principal(MEMBER, "ledger")
MINER = Principal(MEMBER, "miner")


@dataclass
class FakeLedger:
    """A ledger's side of the node link that answers with what the test says."""

    bus: MemoryBus
    link: NodeLink = field(init=False)
    asked: int = 0
    found: list[Found] = field(default_factory=list)
    abandoned: list[Abandoned] = field(default_factory=list)
    progress: list[SearchProgress] = field(default_factory=list)
    template: Template | None = None
    """What a request for a template is answered with."""
    failures: list[MinervasError] = field(default_factory=list)
    """What the next results are refused with."""

    def __post_init__(self) -> None:
        self.link = NodeLink(self.bus, NODE_KEY, MEMBER, "ledger", NETWORK)
        self.link.on("get_template", GetTemplate, self._on_get_template)
        self.link.on("found", Found, self._on_found)
        self.link.on("abandoned", Abandoned, self._on_abandoned)
        self.link.on("progress", SearchProgress, self._on_progress)

    async def start(self) -> None:
        await self.bus.start()
        await self.link.start()
        online = Presence(state="online", version="0", sent_at_ms=0)
        await self.bus.publish(mesh(LEDGER, "presence"), encode(online), retain=True)

    async def stop(self) -> None:
        await self.link.stop()
        await self.bus.stop()

    async def give(self, template: Template) -> None:
        await self.link.send("miner", "template", template)

    async def _on_get_template(self, body: GetTemplate, service: str) -> None:
        self.asked += 1
        if self.template is not None:
            await self.give(self.template)

    async def _on_found(self, body: Found, service: str) -> BlockResult:
        self.found.append(body)
        if self.failures:
            raise self.failures.pop(0)
        return BlockResult(status="connected", hash=body.header.hash())

    async def _on_abandoned(self, body: Abandoned, service: str) -> Stored:
        self.abandoned.append(body)
        if self.failures:
            raise self.failures.pop(0)
        return Stored()

    async def _on_progress(self, body: SearchProgress, service: str) -> None:
        self.progress.append(body)


class Node:
    """A miner and a fake ledger on one broker inside the process."""

    def __init__(self, tmp_path: Path) -> None:
        self.broker = MemoryBroker()
        self.genesis = make_genesis()
        self.bus = self.broker.connect(MINER, rights_for(MINER, operator_member="other"))
        paths = NodePaths(data=tmp_path, enrol=tmp_path, issued=tmp_path, secrets=tmp_path)
        settings = MinerSettings(member=MEMBER, paths=paths)
        self.context = ServiceContext("miner", MEMBER, settings, SystemClock())
        self.ledger = self.new_ledger()
        self.running: asyncio.Task[None] | None = None

    def new_ledger(self) -> FakeLedger:
        return FakeLedger(self.broker.connect(LEDGER, rights_for(LEDGER, operator_member="other")))

    async def start(self) -> None:
        await self.ledger.start()
        nowhere = Path()
        issued = Issued(
            genesis=self.genesis,
            membership=[],
            broker=BrokerAddress(host="memory", port=1),
            ca_file=nowhere,
            cert_file=nowhere,
            key_file=nowhere,
            node_key=NODE_KEY,
            certificate_expires_ms=NOW_MS,
        )
        keys = KeyRing(self.context.settings.paths.data, "block", lambda _seed: BLOCK_KEY)
        self.running = asyncio.create_task(serve(self.context, self.bus, issued, keys))

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        await self.ledger.stop()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.start()
    yield made
    await made.stop()


def hard(node: Node, number: int) -> Template:
    """A template that is never solved: after the first blocks any difficulty above the floor may be right."""
    return make_template(node.genesis, number, height=100, prev="ab" * 32, difficulty=IMPOSSIBLE)


def search_process_id() -> int:
    """Process id of the one search process that is a child of ours."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    searching = [
        int(pid)
        for pid in children
        if "minervas_miner.search_process" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    ]
    assert len(searching) == 1
    return searching[0]


async def test_miner_asks_at_start_and_delivers_a_signed_block(node: Node) -> None:
    node.ledger.template = make_template(node.genesis)
    await wait_until_async(lambda: node.ledger.found)
    found = node.ledger.found[0]
    assert found.template_id == node.ledger.template.template_id
    assert int(found.header.hash(), 16) < 2**256 // EASY
    assert block_signature_is_valid(found.header, found.header.hash(), found.signature, BLOCK_KEY.public)


@pytest.mark.parametrize("code", [Code.DATABASE_AWAY, Code.NOT_READY])
async def test_block_is_delivered_again_when_the_ledger_is_in_trouble(node: Node, code: Code) -> None:
    node.ledger.failures = [TransientFault(code, "not now")]
    node.ledger.template = make_template(node.genesis)
    await wait_until_async(lambda: len(node.ledger.found) == 2)
    assert node.ledger.found[0] == node.ledger.found[1]


async def test_stale_block_is_not_delivered_again_and_a_template_asked_for(node: Node) -> None:
    node.ledger.failures = [PeerFault(Code.TEMPLATE_STALE, "no such template")]
    await node.ledger.give(make_template(node.genesis))
    await wait_until_async(lambda: node.ledger.found)
    asked = node.ledger.asked
    await wait_until_async(lambda: node.ledger.asked > asked)
    assert len(node.ledger.found) == 1


async def test_search_without_success_is_delivered_as_abandoned_and_can_be_checked(node: Node) -> None:
    await node.ledger.give(msgspec.structs.replace(hard(node, 1), give_up_ms=300, retime_ms=100))
    await wait_until_async(lambda: node.ledger.abandoned)
    search = node.ledger.abandoned[0].search
    assert search.header.hash() == search.lowest_hash
    assert search.elapsed_ms >= 300
    assert search.tries > 1_000
    asked = node.ledger.asked
    await wait_until_async(lambda: node.ledger.asked > asked)


async def test_progress_is_told_while_searching(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: len(node.ledger.progress) >= 2)
    first, second = node.ledger.progress[:2]
    assert first.tries < second.tries
    assert second.tries_per_second > 10_000
    assert second.height == 100


async def test_restarted_ledger_is_asked_for_a_template(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    offline = Presence(state="offline", version="0", sent_at_ms=0)
    await node.ledger.bus.publish(mesh(LEDGER, "presence"), encode(offline), retain=True)  # as its will does
    await node.ledger.stop()
    node.ledger = node.new_ledger()
    node.ledger.template = make_template(node.genesis, 2)
    await node.ledger.start()
    await wait_until_async(lambda: node.ledger.found)


async def test_miner_asks_again_after_the_broker_was_away(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    asked = node.ledger.asked
    node.broker.interrupt()
    node.broker.resume()
    await wait_until_async(lambda: node.ledger.asked > asked)


async def test_killed_search_process_is_replaced_during_a_search(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    os.kill(search_process_id(), signal.SIGKILL)
    before = node.ledger.progress[-1].tries
    await wait_until_async(lambda: node.ledger.progress[-1].tries > before + 50_000)


async def test_pause_from_the_ledger_ends_the_search(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    await node.ledger.link.send("miner", "pause", Pause(reason="syncing"))
    await wait_until_async(lambda: node.context.status.get("paused") == "syncing")
    assert node.context.status["tries_per_second"] == 0 or node.context.status["searching_height"] == 0


async def test_bad_template_is_refused_and_counted_and_the_search_goes_on(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    counter = REFUSALS.labels("miner", "template", Code.WRONG_NETWORK)
    before = counter._value.get()
    await node.ledger.give(make_template(node.genesis, 2, network="6" * 32))
    await wait_until_async(lambda: counter._value.get() == before + 1)
    known = len(node.ledger.progress)
    await wait_until_async(lambda: len(node.ledger.progress) > known)
    assert node.ledger.progress[-1].height == 100


async def test_another_service_of_the_node_cannot_command_the_search(node: Node) -> None:
    """Even if the broker let it write to the miner: it holds the same node key."""
    peer = Principal(MEMBER, "peer")
    bus = node.broker.connect(peer, Rights(publish=(f"inbox/v1/{MEMBER}/miner/{MEMBER}/peer/+",), subscribe=()))
    await bus.start()
    link = NodeLink(bus, NODE_KEY, MEMBER, "peer", NETWORK)
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    await link.send("miner", "pause", Pause(reason="because"))
    known = len(node.ledger.progress)
    await wait_until_async(lambda: len(node.ledger.progress) > known + 1)
    assert not node.context.status["paused"]
    await bus.stop()


async def test_presence_says_online_and_the_will_offline(node: Node) -> None:
    seen: list[str] = []

    def note(message: Message) -> None:
        seen.append(decode(message.payload, Presence, max_bytes=4_096).state)

    watcher = Principal(MEMBER, "peer")
    bus = node.broker.connect(watcher, rights_for(watcher, operator_member="other"))
    await bus.start()
    await bus.subscribe(mesh(MINER, "presence"), note)
    await wait_until_async(lambda: seen == ["online"])
    await bus.stop()


async def test_revoked_miner_stops_searching(node: Node) -> None:
    await node.ledger.give(hard(node, 1))
    await wait_until_async(lambda: node.ledger.progress)
    node.broker.revoke(MINER)
    await wait_until_async(lambda: node.context.status.get("tries_per_second") == 0)
    assert node.context.status["status"] == "failing"
    assert "operator" in str(node.context.status["paused"])
