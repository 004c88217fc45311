"""What the ledger's tests share: a migrated database, the chain in it, and a ledger between a fake peer and miner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from minervas_core.blocks import Block, sign_block_hash
from minervas_core.encoding import Record, encode
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import Code, TransientFault
from minervas_core.finality.state import Voter
from minervas_core.finality.votes import Vote, decode_vote
from minervas_core.genesis import Genesis
from minervas_core.identifiers import Principal
from minervas_core.messages import Bodies, ChainTip, Headers, Votes
from minervas_core.node_market_messages import NODE_MARKET_REQUEST_TYPES, Relay
from minervas_core.node_messages import (
    NODE_REQUEST_TYPES,
    Announce,
    BlockResult,
    DeliverBlock,
    FetchBodies,
    FetchHeaders,
    Found,
    GetStatus,
    GetTemplate,
    LedgerStatus,
    Pause,
    PeerTip,
    Submit,
    SubmitResults,
    Template,
    TipChanged,
)
from minervas_core.node_vote_messages import AnnounceVotes, FetchVotes
from minervas_core.rights import rights_for
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.audit import Audit, AuditReport
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.service import serve
from minervas_ledger.settings import DatabaseOwnerSettings, DatabaseSettings, DiskSettings, LedgerSettings
from minervas_ledger.store.connection import connect
from minervas_ledger.store.schema import migrate
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_ledger.vote_keys import VoteKeys
from minervas_runtime.clock import Clock, ManualClock, monotonic_ms
from minervas_runtime.enrolment import Issued
from minervas_runtime.key_ring import KeyRing
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.node_link import NodeLink
from minervas_runtime.service import ServiceContext
from minervas_runtime.settings import NodePaths
from tests.support.builders import FAR_FUTURE_MS, NETWORK, LocalChain, block_key, find_nonce, vote_key
from tests.support.wait import wait_until, wait_until_async

MEMBER = "m0"
"""Whose ledger is tested."""
NODE_KEY = b"n" * 32
LEDGER = Principal(MEMBER, "ledger")
VOTE_KEY = vote_key(MEMBER)
VOTER = Voter(member=MEMBER, vote_key=VOTE_KEY.public)

Answer = TypeVar("Answer", bound=Record)


def database_settings(database: NodeDatabase) -> DatabaseSettings:
    """The writer's settings of a database."""
    return DatabaseSettings(
        host=database.host,
        port=database.port,
        name=database.name,
        user=database.writer.user,
        password_file=database.writer.password_file,
    )


def owner_settings(database: NodeDatabase) -> DatabaseOwnerSettings:
    """The owner's settings of a database."""
    return DatabaseOwnerSettings(user=database.owner.user, password_file=database.owner.password_file)


def migrated(database: NodeDatabase) -> DatabaseSettings:
    """Migrate a database; returns the writer's settings."""
    settings = database_settings(database)
    migrate(settings, owner_settings(database))
    return settings


def audit(settings: DatabaseSettings, genesis: Genesis) -> AuditReport:
    """Audit a database; raises if a row does not follow."""
    connection = connect(settings, application="test audit")
    try:
        return Audit(connection, genesis, lambda _: None).run()
    finally:
        connection.close()


class _NoMember:
    """A fetcher that reaches nobody; see `sync.Fetcher`."""

    async def headers(self, member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        raise TransientFault(Code.PEER_UNREACHABLE, "Nobody is there", member=member)

    async def bodies(self, member: str, hashes: Sequence[str]) -> list[bytes]:
        raise TransientFault(Code.PEER_UNREACHABLE, "Nobody is there", member=member)


def lonely_sync(worker: ChainWorker, clock: Clock, genesis: Genesis) -> Sync:
    """A sync driver without other members."""
    return Sync(WorkerSyncChain(worker, clock, genesis), _NoMember(), monotonic_ms)


class StoredChain:
    """A `NodeChain` that can be closed and opened again, as at a restart."""

    def __init__(self, settings: DatabaseSettings, genesis: Genesis) -> None:
        self.settings = settings
        self.genesis = genesis
        self.now = ChainOpener(settings, genesis, [VOTER]).open()

    def take(self, *blocks: Block, now_ms: int = FAR_FUTURE_MS) -> list[str]:
        """Hand blocks in, in one commit; returns what became of each."""
        return [outcome.status for outcome in self.now.take_blocks(blocks, now_ms, origin="test")]

    def reopen(self) -> NodeChain:
        """Close and open again, with nothing but the database."""
        self.now.close()
        wait_until(self._opened, describe="the server has noticed that the last one is gone")
        return self.now

    def _opened(self) -> bool:
        try:
            self.now = ChainOpener(self.settings, self.genesis, [VOTER]).open()
        except TransientFault:
            return False
        return True


@dataclass
class RemoteMember:
    """Another member as our peer reaches it: answers out of a chain, or not."""

    chain: LocalChain
    asked: list[str] = field(default_factory=list)
    spoil_headers: Callable[[list[bytes]], list[bytes]] = lambda headers: headers
    spoil_bodies: Callable[[list[bytes]], list[bytes]] = lambda bodies: bodies
    max_bodies: int = 128
    known_votes: Sequence[Vote] = ()
    silent: str = ""
    """Kind of question that it never answers."""

    @property
    def tip(self) -> ChainTip:
        """The tip that it claims truthfully."""
        tip = self.chain.tip
        proved = self.chain.chain.state.finality.head(self.chain.genesis.hash).justified.height
        return ChainTip(height=tip.height, hash=tip.hash, work=f"{tip.work:x}", justified_height=proved)

    async def headers(self, body: FetchHeaders) -> Headers:
        await self._hear("headers")
        nodes = self.chain.chain.tree.after(body.locator, body.limit)
        return Headers(headers=[msgspec.Raw(raw) for raw in self.spoil_headers([encode(n.header) for n in nodes])])

    async def bodies(self, body: FetchBodies) -> Bodies:
        await self._hear("bodies")
        known = [self.chain.store.blocks[each] for each in body.hashes if each in self.chain.store.blocks]
        return Bodies(blocks=[msgspec.Raw(raw) for raw in self.spoil_bodies(known[: self.max_bodies])])

    async def votes(self, body: FetchVotes) -> Votes:
        await self._hear("votes")
        known = [vote for vote in self.known_votes if body.question.voter in ("", vote.body.voter)]
        return Votes(votes=[msgspec.Raw(vote.raw) for vote in known])

    async def _hear(self, kind: str) -> None:
        self.asked.append(kind)
        if kind == self.silent:
            await asyncio.Event().wait()


class FakePeer:
    """Our peer's side of the node link."""

    def __init__(self, broker: MemoryBroker) -> None:
        me = Principal(MEMBER, "peer")
        self.bus = broker.connect(me, rights_for(me, operator_member="other"))
        self.link = NodeLink(self.bus, NODE_KEY, MEMBER, "peer", NETWORK)
        self.remotes: dict[str, RemoteMember] = {}
        self.tips: list[TipChanged] = []
        self.announced: list[Announce] = []
        self.relayed: list[bytes] = []
        self.votes: list[Vote] = []
        """Votes of the ledger, as it had them announced."""
        self.link.on("fetch_headers", FetchHeaders, self._on_fetch_headers)
        self.link.on("fetch_bodies", FetchBodies, self._on_fetch_bodies)
        self.link.on("fetch_votes", FetchVotes, self._on_fetch_votes)
        self.link.on("announce_votes", AnnounceVotes, self._on_announce_votes)
        self.link.on("tip", TipChanged, self._on_tip)
        self.link.on("announce", Announce, self._on_announce)
        self.link.on("relay", Relay, self._on_relay)

    async def start(self) -> None:
        await self.bus.start()
        await self.link.start()

    async def stop(self) -> None:
        await self.link.stop()
        await self.bus.stop()

    async def ask(self, kind: str, body: Record, answer_type: type[Answer]) -> Answer:
        """Send a request to the ledger."""
        assert NODE_REQUEST_TYPES[kind] == (type(body), answer_type)
        return await self.link.request("ledger", kind, body, answer_type, 10.0)

    async def ask_market(self, kind: str, body: Record, answer_type: type[Answer]) -> Answer:
        """Ask the ledger about metering and trading."""
        assert NODE_MARKET_REQUEST_TYPES[kind] == (type(body), answer_type)
        return await self.link.request("ledger", kind, body, answer_type, 10.0)

    async def deliver(self, block: Block, origin: str = "m1") -> BlockResult:
        """Hand a block in that a member announced."""
        return await self.ask("block", DeliverBlock(block=msgspec.Raw(block.raw), origin=origin), BlockResult)

    async def submit(self, *raw: bytes, origin: str = "consortium") -> SubmitResults:
        """Hand transactions in."""
        body = Submit(transactions=[msgspec.Raw(each) for each in raw], origin=origin)
        return await self.ask("submit", body, SubmitResults)

    async def status(self) -> LedgerStatus:
        return await self.ask("status", GetStatus(), LedgerStatus)

    async def meet(self, member: str, remote: RemoteMember, *, tip: ChainTip | None = None) -> None:
        """Reach another member and tell the ledger the tip that it claims."""
        self.remotes[member] = remote
        await self.link.send("ledger", "peer_tip", PeerTip(member=member, tip=tip or remote.tip))

    async def _on_fetch_headers(self, body: FetchHeaders, service: str) -> Headers:
        return await self._remote(body.member).headers(body)

    async def _on_fetch_votes(self, body: FetchVotes, service: str) -> Votes:
        return await self._remote(body.member).votes(body)

    async def _on_announce_votes(self, body: AnnounceVotes, service: str) -> None:
        self.votes += [decode_vote(bytes(raw)) for raw in body.votes]

    async def _on_fetch_bodies(self, body: FetchBodies, service: str) -> Bodies:
        return await self._remote(body.member).bodies(body)

    def _remote(self, member: str) -> RemoteMember:
        remote = self.remotes.get(member)
        if remote is None:
            raise TransientFault(Code.PEER_UNREACHABLE, "This member's peer is not there", member=member)
        return remote

    async def _on_tip(self, body: TipChanged, service: str) -> None:
        self.tips.append(body)

    async def _on_relay(self, body: Relay, service: str) -> None:
        self.relayed += [bytes(each) for each in body.transactions]

    async def _on_announce(self, body: Announce, service: str) -> None:
        self.announced.append(body)


class FakeMiner:
    """Our miner's side of the node link."""

    def __init__(self, broker: MemoryBroker) -> None:
        me = Principal(MEMBER, "miner")
        self.bus = broker.connect(me, rights_for(me, operator_member="other"))
        self.link = NodeLink(self.bus, NODE_KEY, MEMBER, "miner", NETWORK)
        self.orders: list[Template | Pause] = []
        self.link.on("template", Template, self._on_order)
        self.link.on("pause", Pause, self._on_order)

    async def start(self) -> None:
        await self.bus.start()
        await self.link.start()

    async def stop(self) -> None:
        await self.link.stop()
        await self.bus.stop()

    async def ask_for_template(self) -> None:
        await self.link.send("ledger", "get_template", GetTemplate())

    async def template(self, height: int = 0) -> Template:
        """Wait for a template, for a block at a height if that is not 0."""
        await wait_until_async(lambda: self._newest(height) is not None, describe=lambda: f"orders: {self.orders}")
        found = self._newest(height)
        assert found is not None
        return found

    async def paused(self, reason: str) -> None:
        """Wait until the last order is a pause with this reason."""
        pause = Pause(reason=reason)
        await wait_until_async(
            lambda: self.orders and self.orders[-1] == pause, describe=lambda: f"orders: {self.orders}"
        )

    async def deliver(self, template: Template, *, time_ms: int = 0, miner: str = MEMBER) -> BlockResult:
        """Search for a template's block, sign it and hand it in."""
        return await self.hand_in(found_block(template, time_ms=time_ms, miner=miner))

    async def hand_in(self, found: Found) -> BlockResult:
        return await self.link.request("ledger", "found", found, BlockResult, 10.0)

    def _newest(self, height: int) -> Template | None:
        last = self.orders[-1] if self.orders else None
        return last if isinstance(last, Template) and height in (0, last.draft.height) else None

    async def _on_order(self, body: Template | Pause, service: str) -> None:
        self.orders.append(body)


def found_block(template: Template, *, time_ms: int = 0, miner: str = MEMBER) -> Found:
    """What a miner hands in for a template."""
    draft = msgspec.structs.replace(template.draft, time_ms=time_ms or template.draft.time_ms)
    header = find_nonce(draft)
    signature = sign_block_hash(header.hash(), header.network, block_key(miner))
    return Found(template_id=template.template_id, header=header, signature=signature)


class LedgerNode:
    """A ledger as a service, over a bus inside the process and a real database."""

    def __init__(
        self,
        directory: Path,
        database: DatabaseSettings,
        genesis: Genesis,
        *,
        operator: str = "other",
        readings: Literal["own", "all"] = "own",
        readings_flush_ms: int = 1_000,
        readings_pull_s: int = 300,
        disk: DiskSettings | None = None,
    ) -> None:
        self._disk = disk or DiskSettings()
        self._operator = operator
        self._readings = readings
        self._readings_flush_ms = readings_flush_ms
        self._readings_pull_s = readings_pull_s
        self.clock = ManualClock(FAR_FUTURE_MS)
        self.broker = MemoryBroker()
        self.genesis = genesis
        self.database = database
        self.peer = FakePeer(self.broker)
        self.miner = FakeMiner(self.broker)
        self._directory = directory
        self.context = ServiceContext("ledger", MEMBER, self.settings_for(database), self.clock)
        self.running: asyncio.Task[None] | None = None

    def settings_for(self, database: DatabaseSettings) -> LedgerSettings:
        """Settings with another database."""
        here = self._directory
        paths = NodePaths(data=here, enrol=here, issued=here, secrets=here)
        return LedgerSettings(
            member=MEMBER,
            paths=paths,
            database=database,
            readings=self._readings,
            readings_flush_ms=self._readings_flush_ms,
            readings_pull_s=self._readings_pull_s,
            disk=self._disk,
        )

    async def start(self) -> None:
        """Start everything and wait until the ledger answers."""
        await self.peer.start()
        await self.miner.start()
        await self.start_ledger()

    async def start_ledger(self, *, wait: bool = True) -> None:
        nowhere = Path()
        issued = Issued(
            genesis=self.genesis,
            membership=[],
            broker=BrokerAddress(host="memory", port=1),
            ca_file=nowhere,
            cert_file=nowhere,
            key_file=nowhere,
            node_key=NODE_KEY,
            certificate_expires_ms=FAR_FUTURE_MS,
        )
        bus = self.broker.connect(LEDGER, rights_for(LEDGER, operator_member=self._operator))
        self.running = asyncio.create_task(serve(self.context, bus, issued, self._vote_keys()))
        if wait:
            await wait_until_async(lambda: self.peer.tips or self._ended(), describe="the ledger's first tip")

    def _vote_keys(self) -> VoteKeys:
        return VoteKeys(KeyRing(self._directory, "vote", lambda _seed: VOTE_KEY), MEMBER)

    async def stop_ledger(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
            self.running = None

    async def stop(self) -> None:
        await self.stop_ledger()
        await self.miner.stop()
        await self.peer.stop()

    async def until_tip(self, block_hash: str, timeout_s: float = 20.0) -> None:
        """Wait until the peer was told this tip."""
        await wait_until_async(
            lambda: self.peer.tips and self.peer.tips[-1].tip.hash == block_hash,
            timeout=timeout_s,
            describe=lambda: f"tip {block_hash}, last told: {self.peer.tips[-1:]}",
        )

    def _ended(self) -> bool:
        if self.running is not None and self.running.done():
            self.running.result()
        return False
