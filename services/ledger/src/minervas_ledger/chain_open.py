"""Opening the node's chain from what is committed in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minervas_core.blocks import decode_block
from minervas_core.chain import Chain, RestoredNode
from minervas_core.finality.book import VoteBook
from minervas_core.finality.state import Finality, Voter
from minervas_core.genesis import Genesis
from minervas_core.governance.state import Governance
from minervas_core.mempool import Mempool
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import BlockUndo, ChainState
from minervas_core.tree import is_better
from minervas_ledger.node_chain import NodeChain, note_dropped
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.abandoned_searches import count_searches
from minervas_ledger.store.chain_state import (
    NodeState,
    become_writer,
    open_node_state,
    read_members,
    read_nodes,
    read_recent_ids,
    read_time_ms,
)
from minervas_ledger.store.connection import Connection, as_transient, connect
from minervas_ledger.store.market_state import read_market
from minervas_ledger.store.queue_rows import QueueRows, read_queue
from minervas_ledger.store.schema import check_schema
from minervas_ledger.store.state_rows import read_state_rows, rows_of
from minervas_ledger.store.votes import read_votes
from minervas_ledger.verifying import VerifyingThreads

APPLICATION = "minervas-ledger"


class ChainOpener:
    """Opens the chain with its queue, at start and again after the database was away.

    Args:
        database: where it is.
        genesis: the consortium's genesis.
        voters: whose votes this ledger casts, one entry for each key; none for a command that casts none. It may grow.
    """

    def __init__(self, database: DatabaseSettings, genesis: Genesis, voters: Sequence[Voter]) -> None:
        self._database = database
        self._voters = voters
        self._genesis = genesis
        self._signatures = SignatureCache(genesis, spread=VerifyingThreads())

    def open(self) -> NodeChain:
        """Connect and load.

        Raises:
            TransientFault: ``database_away``.
            LocalFault: ``schema_version``, ``bad_genesis`` or ``audit_mismatch``.
        """
        with as_transient(self._database):
            connection = connect(self._database, application=APPLICATION)
            try:
                return self._load(connection)
            except BaseException:
                connection.close()
                raise

    def _load(self, connection: Connection) -> NodeChain:
        check_schema(connection, self._database.name)
        become_writer(connection, self._database.name)
        loaders = _Loaders()
        with connection.transaction():
            state = open_node_state(connection, self._genesis.hash, self._database.name)
            chain = load_chain(connection, self._genesis, state, loaders.load_block, loaders.load_undo)
            chain.signatures = self._signatures
            abandoned_searches = count_searches(connection)
            mempool = Mempool(self._genesis, self._signatures)
            queue_rows = load_queue(connection, mempool, chain.state)
            voter = self._voters[0].member if self._voters else ""
            votes = VoteBook(self._genesis, self._voters, read_votes(connection, state.final_height, voter))
        loaders.source = NodeChain(
            connection,
            chain,
            mempool,
            queue_rows,
            votes,
            reorganisations=state.reorganisations,
            abandoned_searches=abandoned_searches,
        )
        _go_on(loaders.source, chain)
        return loaders.source


def _go_on(node_chain: NodeChain, chain: Chain) -> None:
    """Follow the best stored branch: an older software may have stopped below blocks whose rules it did not have."""
    heads = [branch.head for branch in chain.tree.side_branches() if is_better(branch.head, chain.tip)]
    for head in heads[:1]:
        if head.state == "body":
            block = decode_block(node_chain.load_block(head.hash))
            node_chain.take_blocks([block], head.time_ms, origin="restart")


def load_chain(
    connection: Connection,
    genesis: Genesis,
    state: NodeState,
    load_block: Callable[[str], bytes],
    load_undo: Callable[[str], BlockUndo],
) -> Chain:
    """Load tree and state as they are committed; no block is replayed.

    Raises:
        LocalFault: ``audit_mismatch`` if blocks, work and state do not belong together.
    """
    above = state.tip_height - genesis.parameters.max_expiry_blocks
    tip_time_ms = read_time_ms(connection, state.tip_hash)
    rows = list(read_state_rows(connection))
    restored = ChainState.restore(
        state.tip_height,
        state.tip_hash,
        genesis.body.created_ms if tip_time_ms is None else tip_time_ms,
        members=read_members(connection),
        recent_ids=read_recent_ids(connection, above),
        market=read_market(connection),
        finality=rows_of(Finality, rows),
        governance=rows_of(Governance, rows),
    )
    nodes = (
        RestoredNode(
            header=node.header,
            hash=node.hash,
            work=node.work,
            has_body=True,
            invalid=node.invalid,
            order=node.first_seen,
        )
        for node in read_nodes(connection)
    )
    return Chain.restore(genesis, nodes, restored, load_block, load_undo, landmarks=state.landmarks)


def load_queue(connection: Connection, mempool: Mempool, state: ChainState) -> QueueRows:
    """Fill an empty queue with what is stored, through all checks; what no longer applies is counted and deleted."""
    transactions, unreadable, rows = read_queue(connection)
    note_dropped("restart", unreadable)
    dropped = mempool.restore(transactions, state)
    note_dropped("restart", ((transaction.id, error) for transaction, error in dropped))
    rows.follow(connection, mempool)
    return rows


class _Loaders:
    """Ties the chain to the `NodeChain` that is made around it."""

    source: NodeChain

    def load_block(self, block_hash: str) -> bytes:
        return self.source.load_block(block_hash)

    def load_undo(self, block_hash: str) -> BlockUndo:
        return self.source.load_undo(block_hash)
