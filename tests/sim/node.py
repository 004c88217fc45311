"""A node without its processes: chain, queue and miner, driven by messages and timers."""

from __future__ import annotations

from collections.abc import Callable

from minervas_core.blocks import Block, assemble_block, sign_block_hash
from minervas_core.chain import BlockOutcome
from minervas_core.errors import InvalidTransaction, TransientFault
from minervas_core.mempool import Mempool
from minervas_core.template import build_draft
from minervas_core.transactions import Transaction
from tests.sim.disk import Disk
from tests.sim.messages import (
    BlockMessage,
    Message,
    TipMessage,
    TransactionMessage,
    VoteMessage,
    VotesReply,
    VotesRequest,
)
from tests.sim.surroundings import INTERVAL_MS, TRIES_PER_INTERVAL, Surroundings
from tests.sim.sync import Sync
from tests.sim.trader import Trader
from tests.sim.voting import VoterPart
from tests.support.builders import block_key, find_nonce


class Node:
    """One member's node. Created down; `start` brings it up from its disk.

    Args:
        address: where the bus delivers; other than the member for its twins.
        member: as whom it mines and trades.
        world: its surroundings.
        power: its share of the network's hash rate, in per mille.
    """

    def __init__(self, address: str, member: str, world: Surroundings, *, power: int = 250) -> None:
        self.address = address
        self.member = member
        self.honest = True
        self.up = False
        self.mining = True
        self.skew_ms = 0
        """How far its clock is ahead."""
        self.tears_next_commit = False
        """It dies while it writes the next change of its chain: memory has it, the disk has not."""
        self.disk = Disk(world.genesis)
        self.world = world
        self.chain = self.disk.open(world.signatures)
        self._power = power
        self._life = 0
        """Counts starts, so that timers of an earlier life do nothing."""
        self._search = 0
        """Counts searches for a block."""
        self._start_parts()

    @property
    def now_ms(self) -> int:
        """What its clock shows."""
        return self.world.timeline.now_ms + self.skew_ms

    # life

    def _start_parts(self) -> None:
        """What lives in memory only."""
        self.mempool = Mempool(self.world.genesis, self.world.signatures)
        self.sync = Sync(self)
        self.trader = Trader(self)
        self.voter = VoterPart(self)

    def start(self) -> None:
        """Come up with what is on the disk."""
        self._life += 1
        self.up = True
        self.chain = self.disk.open(self.world.signatures)
        self._start_parts()
        self.world.bus.attach(self.address, self.receive)
        self._search_anew()
        self._every(INTERVAL_MS, "tick", self._tick)
        self._every(3 * INTERVAL_MS, "trade", self.trader.act)

    def stop(self) -> None:
        """Die: what was committed is on the disk."""
        self.disk.save_state(self.chain)
        self._die()

    def _die(self) -> None:
        self.up = False
        self._life += 1
        self.world.bus.detach(self.address)

    def _every(self, mean_ms: int, name: str, act: Callable[[], None]) -> None:
        """Run a timer in this life."""
        life = self._life

        def run() -> None:
            if self.up and self._life == life:
                act()
                self.world.after(self.world.wait_ms(mean_ms), name, self.address, run)

        self.world.after(self.world.wait_ms(mean_ms), name, self.address, run)

    # hearing

    def receive(self, source: str, message: Message) -> None:
        """Take a message from the bus."""
        match message:
            case TransactionMessage(transaction):
                self.submit(transaction)
            case BlockMessage(block):
                if self.take(block).status == "orphan":
                    self.sync.begin(source)
            case VoteMessage() | VotesRequest() | VotesReply():
                self.voter.receive(source, message)
            case _:
                self.sync.receive(source, message)

    def submit(self, transaction: Transaction) -> bool:
        """Queue a transaction from anybody; False if it is known or refused."""
        if self.chain.state.included_height(transaction.id) is not None:
            return False
        try:
            return self.mempool.add(transaction, self.chain.state, self.now_ms)
        except InvalidTransaction as error:
            self.world.watch.counts[f"refused_{error.code}"] += 1
            return False

    def take(self, block: Block) -> BlockOutcome:
        """Take in a block from anybody, commit what became of it, and bring the queue in line."""
        if self.tears_next_commit:
            self.disk.save_state(self.chain)
        outcome = self.chain.receive_block(block, self.now_ms)
        self.world.watch.saw_outcome(self.address, self.chain, outcome, honest=self.honest)
        if self.tears_next_commit and outcome.change is not None:
            self.tears_next_commit = False
            self._die()
            return outcome
        self.disk.keep(outcome)
        self.voter.took_blocks(stored.block for stored in outcome.stored)
        if outcome.change is not None:
            self._settle_queue(outcome)
            self._search_anew()
            self.voter.vote()
        return outcome

    def _settle_queue(self, outcome: BlockOutcome) -> None:
        assert outcome.change is not None
        for connected in outcome.change.connected:
            self.mempool.remove_included(connected.block)
        self.mempool.give_back(outcome.change.returned(), self.chain.state)
        self.mempool.expire(self.chain.tip.height + 1)

    # acting

    def announce(self, transaction: Transaction) -> None:
        """Queue an own transaction and tell the others."""
        if self.submit(transaction):
            self.world.bus.broadcast(self.address, TransactionMessage(transaction))

    def _tick(self) -> None:
        """What happens from time to time: tell the tip, look after sync and blocks kept aside."""
        for block in self.chain.release_postponed(self.now_ms):
            if self.up:
                self.take(block)
        if self.up:
            self.world.bus.broadcast(self.address, TipMessage(self.claim()))
            self.sync.look_after()
            self.voter.look_after()

    def claim(self) -> tuple[int, ...]:
        """How good the own chain is."""
        return (self.chain.justified.height, self.chain.tip.work)

    def _search_anew(self) -> None:
        """Search for a block on the new tip. A search does not remember, so it ends after a random time."""
        self._search += 1
        search, life = self._search, self._life
        mean_ms = self.chain.next_difficulty() * INTERVAL_MS * 1_000 / (TRIES_PER_INTERVAL * self._power)

        def run() -> None:
            if self.up and (self._search, self._life) == (search, life):
                self._found()

        self.world.after(self.world.wait_ms(mean_ms), "mine", self.address, run)

    def _found(self) -> None:
        """The search has found a block, if there was one to search for."""
        try:
            votes = self.voter.candidates()
            draft, transactions, carried, _ = build_draft(self.chain, self.mempool, votes, self.member, self.now_ms)
        except TransientFault:
            self._search_anew()
            return
        if not self.mining:
            self._search_anew()
            return
        header = find_nonce(draft, start=self.world.random.getrandbits(62))
        signature = sign_block_hash(header.hash(), header.network, block_key(self.member))
        block = assemble_block(header, signature, transactions, carried)
        self.world.watch.counts["mined"] += 1
        if self.take(block).status == "connected" and self.up:
            self.world.bus.broadcast(self.address, BlockMessage(block))
