"""Several peers on one in-memory broker with the real rights, each with a stand-in for its ledger."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from minervas_core.encoding import Record, encode, sha256_hex
from minervas_core.errors import Code, TransientFault
from minervas_core.finality.votes import Checkpoint
from minervas_core.genesis import Parameters
from minervas_core.identifiers import Principal
from minervas_core.messages import (
    Bodies,
    ChainTip,
    GetBodies,
    GetHeaders,
    GetTransactionStatus,
    Headers,
    MembershipBatch,
    Reply,
    TransactionStatus,
    TransactionStatuses,
)
from minervas_core.node_messages import (
    Announce,
    BlockResult,
    DeliverBlock,
    FetchBodies,
    FetchHeaders,
    GetRoster,
    GetStatus,
    LedgerStatus,
    PeerTip,
    Roster,
    Submit,
    SubmitResult,
    SubmitResults,
    TipChanged,
)
from minervas_core.rights import ADMISSION, rights_for
from minervas_core.topics import mesh
from minervas_peer.epoch_store import EpochStore
from minervas_peer.node import NodeConfig, PeerNode
from minervas_peer.settings import GossipSettings
from minervas_runtime.bus import Message
from minervas_runtime.clock import SystemClock
from minervas_runtime.memory_bus import MemoryBroker, MemoryBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import offline_will
from minervas_runtime.requests import Request, Requester
from tests.support.peer import Consortium, Member, roster, seed

QUICK = GossipSettings(
    hello_interval_ms=200,
    ask_key_again_ms=200,
    sender_key_lifetime_ms=3_600_000,
    membership_interval_ms=500,
    ledger_interval_ms=200,
)
"""Intervals for tests, so that what is lost is made up for at once."""


def tip_at(height: int, name: str = "main") -> ChainTip:
    """A tip that differs by height and branch."""
    return ChainTip(height=height, hash=sha256_hex(f"{name}/{height}".encode()), work=f"{height + 1:x}")


class FakeLedger:
    """Answers as a ledger does, out of what the test sets, and records what it is given."""

    def __init__(self, broker: MemoryBroker, member: Member, node_key: bytes, network: str) -> None:
        principal = Principal(member.name, "ledger")
        self.bus = broker.connect(principal, rights_for(principal, operator_member="nobody"))
        self.link = NodeLink(self.bus, node_key, member.name, "ledger", network)
        self.tip = tip_at(0)
        self.roster: Roster = roster(height=0)
        self.parameters = Parameters()
        self.authority = ""
        self.submitted: list[tuple[str, bytes]] = []
        self.blocks: list[tuple[str, bytes]] = []
        self.peer_tips: list[PeerTip] = []
        self.headers: list[bytes] = []
        self.bodies: dict[str, bytes] = {}
        self.known: set[bytes] = set()
        self.refusal: SubmitResult | None = None
        """What every submission is answered with, if anything."""
        for kind, body_type, handle in (
            ("submit", Submit, self._submit),
            ("block", DeliverBlock, self._block),
            ("status", GetStatus, self._status),
            ("roster", GetRoster, self._roster),
            ("get_headers", GetHeaders, self._get_headers),
            ("get_bodies", GetBodies, self._get_bodies),
            ("tx_status", GetTransactionStatus, self._tx_status),
            ("peer_tip", PeerTip, self._peer_tip),
        ):
            self.on(kind, body_type, handle)

    def on(self, kind: str, body_type: type[Any], handle: Callable[[Any], Record | None]) -> None:
        """Handle a kind with a plain function."""

        async def handler(body: Any, _service: str) -> Record | None:
            return handle(body)

        self.link.on(kind, body_type, handler)

    async def start(self) -> None:
        await self.bus.start()
        await self.link.start()

    async def stop(self) -> None:
        await self.link.stop()
        await self.bus.stop()

    async def move(self, height: int, members: Roster | None = None) -> None:
        """Move to another tip, perhaps with another roster, and tell the peer."""
        self.tip = tip_at(height)
        self.roster = members or self.roster
        event = TipChanged(
            tip=self.tip,
            roster_hash=self.roster.roster_hash,
            syncing=False,
            authority=self.authority or msgspec.UNSET,
        )
        await self.link.send("peer", "tip", event)

    async def announce(self, block: bytes) -> None:
        """Let the peer announce a block that our miner found."""
        await self.link.send("peer", "announce", Announce(block=msgspec.Raw(block)))

    async def fetch_headers(self, member: str) -> list[bytes]:
        body = FetchHeaders(member=member, locator=[self.tip.hash], limit=10)
        answer = await self.link.request("peer", "fetch_headers", body, Headers, 5.0)
        return [bytes(raw) for raw in answer.headers]

    async def fetch_bodies(self, member: str, hashes: list[str]) -> list[bytes]:
        body = FetchBodies(member=member, hashes=hashes)
        answer = await self.link.request("peer", "fetch_bodies", body, Bodies, 5.0)
        return [bytes(raw) for raw in answer.blocks]

    def _submit(self, body: Submit) -> SubmitResults:
        results = []
        for raw in map(bytes, body.transactions):
            self.submitted.append((body.origin, raw))
            results.append(self.refusal or SubmitResult(status="known" if raw in self.known else "accepted"))
            self.known.add(raw)
        return SubmitResults(results=results)

    def _block(self, body: DeliverBlock) -> BlockResult:
        self.blocks.append((body.origin, bytes(body.block)))
        return BlockResult(status="connected", hash=sha256_hex(bytes(body.block)))

    def _status(self, _body: GetStatus) -> LedgerStatus:
        return LedgerStatus(
            member=self.link_member,
            tip=self.tip,
            tip_time_ms=0,
            difficulty=1,
            roster_hash=self.roster.roster_hash,
            active_members=len(self.roster.members),
            mempool_transactions=0,
            mempool_bytes=0,
            abandoned_searches=0,
            reorganisations=0,
            side_branches=0,
            justified=Checkpoint(height=0, hash="0" * 64),
            final=Checkpoint(height=0, hash="0" * 64),
            missing_voters=[],
            parameters=self.parameters,
            unknown_rules_height=0,
            authority=self.authority or msgspec.UNSET,
            syncing=False,
            refusals={},
        )

    @property
    def link_member(self) -> str:
        return self.bus.principal.partition(".")[0]

    def _roster(self, _body: GetRoster) -> Roster:
        return self.roster

    def _get_headers(self, body: GetHeaders) -> Headers:
        return Headers(headers=[msgspec.Raw(raw) for raw in self.headers[: body.limit]])

    def _get_bodies(self, body: GetBodies) -> Bodies:
        if not any(item in self.bodies for item in body.hashes):
            raise TransientFault(Code.DATABASE_AWAY, "No database in this test")
        return Bodies(blocks=[msgspec.Raw(self.bodies[item]) for item in body.hashes if item in self.bodies])

    def _tx_status(self, body: GetTransactionStatus) -> TransactionStatuses:
        statuses = [TransactionStatus(id=item, state="unknown") for item in body.ids]
        return TransactionStatuses(statuses=statuses, tip_height=self.tip.height, final_height=0)

    def _peer_tip(self, body: PeerTip) -> None:
        self.peer_tips.append(body)


class LossyBroker(MemoryBroker):
    """A broker that loses what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.loses: Callable[[Message], bool] = lambda _message: False

    def route(self, message: Message, *, retain: bool) -> None:
        """Deliver, or lose."""
        if not self.loses(message):
            super().route(message, retain=retain)


class FakeAdmission:
    """Admission as far as peers see it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = broker.connect(ADMISSION, rights_for(ADMISSION, operator_member="nobody"))
        self.requester = Requester(self.bus, SystemClock())
        self.transactions: list[bytes] = []
        self.page_size = 400
        self.first_page_only = False
        self.requester.serve("get_membership", self._get_membership)

    async def start(self) -> None:
        await self.bus.start()
        await self.requester.start()

    async def stop(self) -> None:
        await self.requester.stop()
        await self.bus.stop()

    def batch(self, first: int = 0) -> MembershipBatch:
        page = self.transactions[first : first + self.page_size]
        return MembershipBatch(
            transactions=[msgspec.Raw(raw) for raw in page], first=first, total=len(self.transactions)
        )

    async def publish(self) -> None:
        await self.bus.publish(mesh(ADMISSION, "tx"), encode(self.batch()))

    async def _get_membership(self, request: Request) -> bytes:
        after = int(msgspec.json.decode(request.payload)["after"])
        return encode(Reply(body=msgspec.Raw(encode(self.batch(0 if self.first_page_only else after)))))


class Node:
    """A member's peer and its ledger."""

    def __init__(self, network: PeerNetwork, member: Member) -> None:
        self.member = member
        self.network = network
        self.principal = Principal(member.name, "peer")
        self.ledger = FakeLedger(network.broker, member, self.node_key, network.consortium.genesis.network)
        self.bus, self.peer, self._task = self._make()

    @property
    def node_key(self) -> bytes:
        return seed(f"node/{self.member.name}")

    def _make(self) -> tuple[MemoryBus, PeerNode, asyncio.Task[None]]:
        rights = rights_for(self.principal, operator_member="nobody")
        will = offline_will(self.member.name, "peer", version="test", now_ms=0)
        bus = self.network.broker.connect(self.principal, rights, will=will)
        config = NodeConfig(
            genesis=self.network.consortium.genesis,
            identity=self.member.identity,
            node_key=self.node_key,
            gossip=self.network.gossip,
        )
        epochs = EpochStore(self.network.directory / self.member.name / "state.json")
        peer = PeerNode(config, bus, epochs, SystemClock())
        return bus, peer, asyncio.create_task(peer.run())

    async def restart(self) -> None:
        """Stop the peer and start it with empty memory."""
        await self.stop_peer()
        self.bus, self.peer, self._task = self._make()

    async def stop_peer(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        await self.stop_peer()
        await self.ledger.stop()

    def holds_key_of(self, other: Node) -> bool:
        key = other.peer.exchange.own_key
        return self.peer.exchange.keys.find(other.member.name, key.key_id) == key

    def refused(self, code: Code) -> int:
        return self.peer.refusals.by_code.get(code, 0)


class PeerNetwork:
    """Use as an asynchronous context manager."""

    def __init__(self, *, gossip: GossipSettings = QUICK) -> None:
        self.consortium = Consortium()
        self.broker = LossyBroker()
        self.gossip = gossip
        self.admission = FakeAdmission(self.broker)
        self.nodes: dict[str, Node] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="peer-network-")
        self.directory = Path(self._scratch.name)

    async def __aenter__(self) -> Self:
        await self.admission.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.stop()
        await self.admission.stop()
        self._scratch.cleanup()

    async def add(self, name: str, *, members: Roster | None = None, height: int = 0) -> Node:
        """Start a node whose ledger is on a tip with this roster."""
        node = Node(self, self.consortium.member(name))
        node.ledger.roster = members or node.ledger.roster
        node.ledger.tip = tip_at(height)
        await node.ledger.start()
        self.nodes[name] = node
        return node

    async def spy(self, topic_filter: str) -> list[Message]:
        """Everything that peers see under a filter from now on."""
        name = Principal(f"spy{len(topic_filter)}", "peer")
        bus = self.broker.connect(name, rights_for(name, operator_member="nobody"))
        await bus.start()
        seen: list[Message] = []
        await bus.subscribe(topic_filter, seen.append)
        return seen

    def complete(self) -> bool:
        """Whether every peer holds the current key of every other."""
        nodes = list(self.nodes.values())
        return all(one.holds_key_of(two) for one in nodes for two in nodes if one is not two)
