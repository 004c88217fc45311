"""The node's chain on its thread: memory first, then the database, in one transaction for each operation.

Every operation that changes the chain's memory ends with a commit. If anything goes wrong in between, memory and
database may differ: then the chain is not `usable` any more, and `chain_worker` throws it away, with the queue, and
opens both again from what is committed. Only the verified signatures are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from minervas_core.blocks import Block, decode_block, decode_header
from minervas_core.chain import BlockOutcome, Chain, ConnectedBlock, TipChange
from minervas_core.errors import Code, InvalidTransaction, MinervasError
from minervas_core.finality.book import VoteBook
from minervas_core.market.records import Slot
from minervas_core.market.slots import current_slot
from minervas_core.mempool import Mempool
from minervas_core.node_market_messages import ChannelRegisters
from minervas_core.node_messages import AbandonedSearch, Roster, SideBranches
from minervas_core.state import BlockUndo
from minervas_core.template import BlockContent, build_draft
from minervas_core.transactions import Transaction
from minervas_ledger import metrics, refusals
from minervas_ledger.branches import list_side_branches
from minervas_ledger.chain_view import ChainView, count_side_branches, look
from minervas_ledger.gateways import Gateways, channel_registers, registered_gateways
from minervas_ledger.node_votes import NodeVotes
from minervas_ledger.prepared_bodies import PreparedBodies
from minervas_ledger.roster_view import changed_records, records_of, roster_of
from minervas_ledger.store.abandoned_searches import store_search
from minervas_ledger.store.chain_state import read_raw, read_undo
from minervas_ledger.store.chain_writes import ChainBatch, Tip
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.queue_rows import QueueRows
from minervas_ledger.sync import HeadersTaken, SyncState

log = logging.getLogger(__name__)


class NodeChain:
    """Chain, queue and the writing connection. Belongs to one thread.

    Args:
        connection: the writer's connection.
        chain: as it is committed; its loaders must be `load_block` and `load_undo` of this object.
        mempool: the queue, as it is committed.
        queue_rows: writes it.
        votes: all votes that are stored.
        reorganisations: how many are committed.
        abandoned_searches: how many are stored.
    """

    def __init__(
        self,
        connection: Connection,
        chain: Chain,
        mempool: Mempool,
        queue_rows: QueueRows,
        votes: VoteBook,
        *,
        reorganisations: int,
        abandoned_searches: int,
    ) -> None:
        self.usable = True
        """Whether memory and database still agree."""
        self._connection = connection
        self._chain = chain
        self._mempool = mempool
        self._queue_rows = queue_rows
        self.votes = NodeVotes(connection, chain, votes, self._memory_first)
        self._batch = ChainBatch()
        self._members = records_of(chain)
        self._reorganisations = reorganisations
        self._abandoned_searches = abandoned_searches
        self._side_branches = count_side_branches(chain)
        self._view: ChainView | None = None
        self._gateways: tuple[str, Gateways] | None = None

    def view(self) -> ChainView:
        """A snapshot; the same object until something changes."""
        if self._view is None:
            self._view = look(
                self._chain,
                self._mempool,
                self._registered_gateways(),
                side_branches=self._side_branches,
                abandoned_searches=self._abandoned_searches,
                reorganisations=self._reorganisations,
                votes=self.votes.count,
            )
        return self._view

    def _registered_gateways(self) -> Gateways:
        """They change with the tip only."""
        tip = self._chain.tip.hash
        if self._gateways is None or self._gateways[0] != tip:
            self._gateways = tip, registered_gateways(self._chain.state)
        return self._gateways[1]

    def decode(self, raw: bytes) -> Block:
        """Decode a block; transactions that wait in the queue are not decoded again.

        Raises:
            InvalidEncoding: if it is malformed.
        """
        return decode_block(raw, self._mempool.find)

    def take_blocks(
        self, blocks: Sequence[Block], now_ms: int, *, origin: str, until_refusal: bool = False
    ) -> list[BlockOutcome]:
        """Take in blocks from anybody and commit what became of them, all in one transaction.

        Args:
            blocks: in any order.
            now_ms: our clock.
            origin: who sent them, for logs.
            until_refusal: leave the rest alone once one is refused.

        Raises:
            psycopg.Error: then nothing of it is committed, and the chain is not usable any more.
        """
        with self._memory_first():
            outcomes: list[BlockOutcome] = []
            final_height = self._chain.final.height
            for block in blocks:
                outcome = self._chain.receive_block(block, now_ms)
                self._batch.add(outcome)
                self._batch.votes += self.votes.carried(outcome, now_ms)
                outcomes.append(outcome)
                if until_refusal and outcome.status == "refused":
                    break
            self._settle_mempool(outcomes)
            self._commit()
            self._count_connected(outcomes)
            _log_outcomes(outcomes, origin)
            self.votes.settle(final_height)
            if not all(_only_extends(outcome) for outcome in outcomes):
                self._side_branches = count_side_branches(self._chain)
        return outcomes

    def take_postponed(self, now_ms: int) -> list[BlockOutcome]:
        """Judge again the blocks that are no longer from the future."""
        blocks = self._chain.release_postponed(now_ms)
        return self.take_blocks(blocks, now_ms, origin="postponed") if blocks else []

    def take_headers(self, raw: Sequence[bytes], now_ms: int) -> HeadersTaken:
        """Take in headers while syncing.

        Raises:
            PeerFault: if they are malformed or break a rule; those before the bad one stay.
        """
        headers = [decode_header(item) for item in raw]
        self._view = None
        added = self._chain.receive_headers(headers, now_ms)
        known = [block_hash for block_hash in (header.hash() for header in headers) if self._chain.tree.get(block_hash)]
        return HeadersTaken(added, known[-1] if known else "", is_full=len(known) < len(headers))

    def take_bodies(self, bodies: PreparedBodies, now_ms: int, *, origin: str) -> int:
        """Take in blocks that were asked for, until one does not fit; returns how many were taken.

        Raises:
            PeerFault: if one is refused.
        """
        self._chain.signatures.remember(bodies.valid)
        taken = 0
        for outcome in self.take_blocks(bodies.blocks, now_ms, origin=origin, until_refusal=True):
            if outcome.status in ("connected", "side_branch", "known"):
                taken += 1
            elif outcome.error is not None:
                raise outcome.error
        return taken

    def sync_state(self, max_missing: int, branch: str) -> SyncState:
        """Where the chain stands, for sync."""
        tree = self._chain.tree
        head = tree.get(branch)
        if head is None:
            missing = self._chain.missing_bodies(max_missing)
        else:
            bodiless = [node.hash for node in tree.path(tree.fork_point(head), head) if node.state == "header"]
            missing = bodiless[:max_missing]
        return SyncState(
            height=self._chain.tip.height,
            target_height=max(self._chain.tip.height, tree.best_header.height),
            locator=tuple(tree.locator()),
            missing=tuple(missing),
            block_keys={record.member: record.keys.block for record in self._chain.state.roster.active_members()},
        )

    def has_block(self, block_hash: str) -> bool:
        """Whether a valid block is here, on any branch."""
        node = self._chain.tree.get(block_hash)
        return node is not None and node.state == "body"

    def forget_headers(self) -> None:
        """Forget headers whose bodies did not come."""
        self._view = None
        forgotten = self._chain.forget_bodiless()
        if forgotten:
            log.info("headers_forgotten", extra={"fields": {"headers": forgotten}})

    def submit(self, transactions: Sequence[Transaction], now_ms: int) -> list[bool | InvalidTransaction]:
        """Queue transactions, each on its own, and store those that are new, all in one statement.

        Args:
            transactions: from anybody.
            now_ms: our clock: a statement must not end later than the next block's time can be.

        Returns:
            For each: True once it is stored, False if it is known already, or why no block after the tip could carry
            it or the queue has no room.

        Raises:
            psycopg.Error: then nothing of it is stored, and the chain is not usable any more.
        """
        with self._memory_first():
            results = [self._queue(transaction, now_ms) for transaction in transactions]
            new = [each for each, result in zip(transactions, results, strict=True) if result is True]
            self._queue_rows.add(self._connection, new)
        return results

    def _queue(self, transaction: Transaction, now_ms: int) -> bool | InvalidTransaction:
        if self._chain.state.included_height(transaction.id) is not None:
            return False
        try:
            return self._mempool.add(transaction, self._chain.state, now_ms)
        except InvalidTransaction as error:
            return error

    def queued(self, tx_id: str) -> Transaction | None:
        """A transaction that waits in the queue."""
        return self._mempool.get(tx_id)

    def roster(self) -> Roster:
        """All members on the tip."""
        return roster_of(self._chain.state, self._chain.genesis.parameters)

    def side_branches(self, limit: int) -> SideBranches:
        """The branches beside the best chain, most work first."""
        return list_side_branches(self._chain.tree, limit)

    def channel_registers(self, member: str) -> ChannelRegisters:
        """A member's meters and where their channels' statements ended, at the tip."""
        return channel_registers(self._chain.state, member, self._chain.parameters.slot_ms)

    def market_slot(self) -> tuple[Slot, int]:
        """The market slot that goes on at the tip, and the length of the next one."""
        return current_slot(self._chain.state.market, self._chain.genesis), self._chain.parameters.slot_ms

    def draft(self, miner: str, now_ms: int) -> BlockContent:
        """The block to search for, with what it carries.

        Raises:
            TransientFault: ``block_miner_unknown`` or ``block_miner_too_soon``.
            LocalFault: ``software_too_old``.
        """
        return build_draft(self._chain, self._mempool, self.votes.candidates(), miner, now_ms)

    def store_search(self, search: AbandonedSearch) -> bool:
        """Store a verified abandoned search; returns whether it was new.

        Raises:
            psycopg.Error: then it is not stored.
        """
        is_new = store_search(self._connection, search)
        self._abandoned_searches += is_new
        self._view = None
        return is_new

    def load_block(self, block_hash: str) -> bytes:
        """Bytes of a block, committed or about to be."""
        return self._batch.raw(block_hash) or read_raw(self._connection, block_hash)

    def load_undo(self, block_hash: str) -> BlockUndo:
        """Undo data of a block of the best chain, committed or about to be, that is being taken back."""
        undo = self._batch.undo(block_hash) or read_undo(self._connection, block_hash)
        self._batch.name_rows(undo)
        return undo

    def close(self) -> None:
        """Close the connection."""
        self.usable = False
        self._connection.close()

    @contextmanager
    def _memory_first(self) -> Iterator[None]:
        """Whatever goes wrong inside leaves memory ahead of the database."""
        self._view = None
        try:
            yield
        except BaseException:
            self.usable = False
            raise

    def _commit(self) -> None:
        batch, self._batch = self._batch, ChainBatch()
        if batch.is_empty:
            return
        tip = self._chain.tip
        members = records_of(self._chain)
        with metrics.COMMIT_SECONDS.time(), self._connection.transaction():
            self._queue_rows.follow(self._connection, self._mempool)
            batch.write(
                self._connection,
                changed_records(self._members, members),
                self._chain.state,
                Tip(
                    tip.hash,
                    tip.height,
                    self._chain.landmarks,
                    self._chain.justified.height,
                    self._chain.final.height,
                ),
            )
        self._members = members
        self._reorganisations += len(batch.reorganisations)
        for depth in batch.reorganisations:
            metrics.REORGANISATIONS.inc()
            metrics.REORGANISATION_DEPTH.observe(depth)

    def _settle_mempool(self, outcomes: Sequence[BlockOutcome]) -> None:
        """Bring the queue in line with the new tip; it is committed with it, so that nothing is lost in between."""
        changes = [outcome.change for outcome in outcomes if outcome.change is not None]
        if not changes:
            return
        for change in changes:
            for connected in change.connected:
                self._mempool.remove_included(connected.block)
        for returned in filter(None, (change.returned() for change in changes)):
            dropped = self._mempool.give_back(returned, self._chain.state)
            note_dropped("reorganisation", ((transaction.id, error) for transaction, error in dropped))
        expired = self._mempool.expire(self._chain.tip.height + 1)
        metrics.MEMPOOL_DROPPED.labels("expiry", Code.TX_EXPIRED).inc(len(expired))
        disused = self._mempool.forget_disused(self._chain.state)
        metrics.MEMPOOL_DROPPED.labels("membership", Code.MEMBER_UNKNOWN).inc(len(disused))

    def _count_connected(self, outcomes: Sequence[BlockOutcome]) -> None:
        for outcome in outcomes:
            for connected in outcome.change.connected if outcome.change else ():
                node = self._chain.tree.get(connected.block.hash)
                metrics.BLOCKS_CONNECTED.inc()
                if node is not None and node.parent is not None:
                    metrics.BLOCK_INTERVAL.observe((node.time_ms - node.parent.time_ms) / 1_000)


def note_dropped(occasion: str, dropped: Iterable[tuple[str, MinervasError]]) -> None:
    """Count and log queued transactions that no longer apply: ids with reasons, by the occasion on which it showed."""
    for tx_id, error in dropped:
        metrics.MEMPOOL_DROPPED.labels(occasion, error.code).inc()
        fields = {"occasion": occasion, "tx": tx_id, "code": error.code}
        log.info("queued_transaction_dropped", extra={"fields": fields})


def _only_extends(outcome: BlockOutcome) -> bool:
    """Whether the best chain just grew, or nothing happened: then there are as many side branches as before."""
    if outcome.invalid or outcome.discarded:
        return False
    if outcome.change is None:
        return not outcome.stored
    return not outcome.change.disconnected and len(outcome.change.connected) == len(outcome.stored)


def _log_outcomes(outcomes: Sequence[BlockOutcome], origin: str) -> None:
    """Count and log what was refused; one line for all blocks that were connected in a commit."""
    connected: list[ConnectedBlock] = []
    for outcome in outcomes:
        refused: list[tuple[str, MinervasError]] = list(outcome.refused)
        if outcome.status == "refused" and outcome.error is not None:
            refused.append((outcome.hash, outcome.error))
        for _, error in refused:
            refusals.record("block", error, origin=origin)
        if outcome.change is not None:
            _log_reorganisation(outcome.change)
            connected += outcome.change.connected
    if connected:
        head = connected[-1].block
        fields = {
            "height": head.header.height,
            "hash": head.hash,
            "miner": head.header.miner,
            "blocks": len(connected),
            "transactions": sum(len(each.block.transactions) for each in connected),
            "origin": origin,
        }
        log.info("block_connected", extra={"fields": fields})


def _log_reorganisation(change: TipChange) -> None:
    if change.disconnected:
        fields = {
            "from_hash": change.disconnected[0].hash,
            "to_hash": change.connected[-1].block.hash,
            "depth": len(change.disconnected),
            "returned": len(change.returned()),
        }
        log.warning("reorganised", extra={"fields": fields})
