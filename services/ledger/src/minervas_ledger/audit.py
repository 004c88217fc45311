"""The audit: replay the chain from genesis out of the database, and find the first row that does not follow from it.

Everything is read in one read-only snapshot, so the ledger may go on working meanwhile. Best chain first, with the
transactions, metering statements, lots, trades and retirements in it; then what the state tables say of the tip; then
the blocks beside the best chain; then the abandoned searches, which are checked by recomputation. `audit_scope` names
what it leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from minervas_core.audit import ReplayedBlock, replay
from minervas_core.encoding import encode
from minervas_core.errors import PeerFault
from minervas_core.genesis import Genesis
from minervas_core.state import ChainState
from minervas_core.tree import BlockTree
from minervas_ledger.audit_branches import SideBranchAudit
from minervas_ledger.audit_compare import block_name, block_row, compare, compare_transactions, mismatch
from minervas_ledger.audit_market import MarketAudit
from minervas_ledger.audit_searches import check_search_row
from minervas_ledger.store.audit_rows import (
    BlockRow,
    TransactionRow,
    best_chain_blocks,
    best_chain_transactions,
    count_blocks,
    count_node_states,
    search_rows,
    snapshot,
    stray_transaction,
)
from minervas_ledger.store.chain_state import NodeState, read_members, read_node_state
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.state_rows import read_state_rows, state_rows


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What has been checked so far, or in all."""

    height: int
    target_height: int
    tip_hash: str
    transactions: int = 0
    members: int = 0
    lots: int = 0
    trades: int = 0
    retirements: int = 0
    side_blocks: int = 0
    abandoned_searches: int = 0


class Audit:
    """One audit of one database.

    Args:
        connection: of any role that may read; not in a transaction.
        genesis: the consortium's genesis, from its signed file and not from the database.
        on_progress: called after every block of the best chain.
    """

    def __init__(self, connection: Connection, genesis: Genesis, on_progress: Callable[[AuditReport], None]) -> None:
        self._connection = connection
        self._genesis = genesis
        self._on_progress = on_progress
        self._tree = BlockTree(genesis)
        self._justified = self._tree.root
        self._state = ChainState.fresh(genesis)
        """After the last block of the best chain that was checked."""
        self.report = AuditReport(0, 0, genesis.hash)

    def run(self) -> AuditReport:
        """Check everything.

        Raises:
            LocalFault: ``audit_mismatch`` naming table and row of the first that does not follow.
            psycopg.Error: if the database goes away.
        """
        with snapshot(self._connection):
            best_count, side_count = count_blocks(self._connection)
            self.report = replace(self.report, target_height=best_count)
            market = self._check_best_chain()
            self._check_node_state()
            self._check_roster()
            market.check_end()
            self._check_state_rows()
            SideBranchAudit(self._connection, self._genesis, self._tree, self._justified).run()
            self._check_strays()
            searches = self._check_searches()
        self.report = replace(self.report, side_blocks=side_count, abandoned_searches=searches)
        return self.report

    def _check_best_chain(self) -> MarketAudit:
        transactions = _Groups(best_chain_transactions(self._connection))
        market = MarketAudit(self._connection)
        for row, replayed in self._replayed():
            block = replayed.block
            expected = block_row(
                block,
                work=replayed.work,
                first_seen=row.first_seen,
                best_chain=True,
                invalid=False,
                undo=replayed.undo,
            )
            compare("blocks", block_name(row), row, expected)
            compare_transactions(block, transactions.of(block.hash))
            market.check_block(replayed)
            node = self._tree.add(block.header, block.hash, self._tree.tip)
            self._tree.set_body(node, row.first_seen)
            self._tree.move_tip(node)
            self._state = replayed.state
            self.report = replace(
                self.report,
                height=replayed.height,
                tip_hash=block.hash,
                transactions=self.report.transactions + len(block.transactions),
                lots=market.lots,
                trades=market.trades,
                retirements=market.retirements,
            )
            self._on_progress(self.report)
        return market

    def _replayed(self) -> Iterator[tuple[BlockRow, ReplayedBlock]]:
        """Rows of the best chain, each with the block that follows from genesis at its place."""
        current: list[BlockRow] = []

        def feed() -> Iterator[bytes]:
            for row in best_chain_blocks(self._connection):
                current[:] = [row]
                yield row.raw

        blocks = replay(self._genesis, feed())
        while True:
            try:
                replayed = next(blocks, None)
            except PeerFault as error:
                raise mismatch("blocks", block_name(current[0]), str(error)) from error
            if replayed is None:
                return
            yield current[0], replayed

    def _check_node_state(self) -> None:
        state = read_node_state(self._connection)
        if state is None:
            if self.report.height:
                raise mismatch("node_state", "the only row", "the row is missing")
            return
        for column, found, expected in (
            ("genesis_hash", state.genesis_hash, self._genesis.hash),
            ("tip_hash", state.tip_hash, self.report.tip_hash),
            ("tip_height", state.tip_height, self.report.height),
        ):
            if found != expected:
                raise mismatch("node_state", "the only row", f"{column} is {found}, not {expected}")
        if count_node_states(self._connection) > 1:
            raise mismatch("node_state", "the second row", "there can only be one")
        self._check_landmarks(state)

    def _check_landmarks(self, state: NodeState) -> None:
        """They may be ahead of what this chain proves, but must lie on it."""
        proved = self._state.finality.head(self._genesis.hash)
        for column, block_hash, height, least in (
            ("justified", state.landmarks.justified, state.justified_height, proved.justified.height),
            ("final", state.landmarks.final, state.final_height, proved.final.height),
        ):
            node = self._tree.main_at(height)
            if node is None or node.hash != block_hash:
                raise mismatch("node_state", "the only row", f"{column}_hash is not the best chain's at its height")
            if height < least:
                raise mismatch("node_state", "the only row", f"{column}_height is {height}, less than {least}")
        self._justified = self._tree.main_at(state.justified_height) or self._tree.root

    def _check_roster(self) -> None:
        found = {record.member: record for record in read_members(self._connection)}
        expected = {record.member: record for record in self._state.roster.members()}
        for member in sorted(found.keys() | expected.keys()):
            if member not in found:
                raise mismatch("roster", member, "the row is missing")
            if member not in expected:
                raise mismatch("roster", member, "nobody was admitted under this id")
            if found[member] != expected[member]:
                raise mismatch("roster", member, f"is {encode(found[member])!r}, not {encode(expected[member])!r}")
        self.report = replace(self.report, members=len(expected))

    def _check_strays(self) -> None:
        stray = stray_transaction(self._connection)
        if stray is not None:
            name = f"position {stray.position} of block {stray.block}"
            raise mismatch("transactions", name, "there is no such block")

    def _check_state_rows(self) -> None:
        """Rows of the state without tables of their own, and how far finality has come."""
        found = {(row.table, row.key): row.row for row in read_state_rows(self._connection)}
        expected = {(row.table, row.key): row.row for row in state_rows(self._state)}
        for name in sorted(found.keys() | expected.keys()):
            if name not in found:
                raise mismatch("state_rows", "/".join(name), "the row is missing")
            if name not in expected:
                raise mismatch("state_rows", "/".join(name), "the state at the tip has no such row")
            if found[name] != expected[name]:
                raise mismatch("state_rows", "/".join(name), f"is {found[name]!r}, not {expected[name]!r}")

    def _check_searches(self) -> int:
        count = 0
        for row in search_rows(self._connection):
            check_search_row(row, self._genesis)
            count += 1
        return count


class _Groups:
    """Rows that come in the order of their blocks, handed out block by block."""

    def __init__(self, rows: Iterator[TransactionRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, block_hash: str) -> list[TransactionRow]:
        """The next rows, as long as they are of this block."""
        group: list[TransactionRow] = []
        while self._next is not None and self._next.block == block_hash:
            group.append(self._next)
            self._next = next(self._rows, None)
        return group
