"""Writing the chain: everything that a run of operations changed goes into one database transaction.

A `ChainBatch` collects what happened, in order, and boils it down to the rows as they are at the end. So many blocks
fit into one commit while syncing, and a reorganisation is written whole or not at all. Until it is committed, the batch
also answers for the blocks in it, because the chain may need a block again that is not in the database yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minervas_core.block_outcome import Landmarks
from minervas_core.blocks import Block
from minervas_core.chain import BlockOutcome
from minervas_core.encoding import encode
from minervas_core.finality.book import TakenVote
from minervas_core.reorganisation import ConnectedBlock
from minervas_core.roster import MemberRecord
from minervas_core.state import BlockUndo, ChainState
from minervas_ledger.store.columns import binary
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.market_writes import MarketBatch
from minervas_ledger.store.state_rows import StateRowsBatch
from minervas_ledger.store.votes import write_votes

BLOCK_COLUMNS = {
    "hash": "bytea",
    "prev": "bytea",
    "height": "int8",
    "miner": "text",
    "time_ms": "int8",
    "difficulty": "int8",
    "transactions": "int4",
    "work": "numeric",
    "first_seen": "int8",
    "best_chain": "bool",
    "invalid": "bool",
    "header": "bytea",
    "raw": "bytea",
    "undo": "bytea",
}
COPY_BLOCKS = f"COPY blocks ({', '.join(BLOCK_COLUMNS)}) FROM STDIN (FORMAT binary)"

TRANSACTION_TYPES = ("bytea", "bytea", "int4", "text", "bytea")
COPY_TRANSACTIONS = "COPY transactions (id, block, position, kind, raw) FROM STDIN (FORMAT binary)"

WRITE_MEMBER = """
INSERT INTO roster (
    member, status, admitted_height, ended_height, suspended_height, admitted_by,
    wallet_key, box_key, block_key, vote_key
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (member) DO UPDATE SET
    status = excluded.status, admitted_height = excluded.admitted_height,
    ended_height = excluded.ended_height, suspended_height = excluded.suspended_height,
    admitted_by = excluded.admitted_by,
    wallet_key = excluded.wallet_key, box_key = excluded.box_key,
    block_key = excluded.block_key, vote_key = excluded.vote_key
"""


@dataclass(frozen=True, slots=True)
class Tip:
    """The block that the other tables are as of, and how far finality has come."""

    hash: str
    height: int
    landmarks: Landmarks
    justified_height: int
    final_height: int


@dataclass(slots=True)
class _NewBlock:
    """A row of `blocks` that is not in the database yet."""

    block: Block
    work: int
    first_seen: int
    undo: BlockUndo | None = None
    invalid: bool = False


class ChainBatch:
    """Changes of the chain that are not committed yet."""

    def __init__(self) -> None:
        self._new: dict[str, _NewBlock] = {}
        self._disconnected: set[str] = set()
        self._connected: dict[str, BlockUndo] = {}
        self._invalid: set[str] = set()
        self._discarded: set[str] = set()
        self._market = MarketBatch()
        self._state_rows = StateRowsBatch()
        self.votes: list[tuple[TakenVote, int]] = []
        """New votes that blocks carry, with the time they were seen."""
        self.reorganisations: list[int] = []
        """How many blocks each reorganisation took back."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        changes = (self._new, self._disconnected, self._connected, self._invalid, self._discarded, self.votes)
        return not any(changes)

    def add(self, outcome: BlockOutcome) -> None:
        """Take in what became of one more block."""
        for stored in outcome.stored:
            self._new[stored.block.hash] = _NewBlock(stored.block, stored.work, stored.order)
        if outcome.change is not None:
            for block in outcome.change.disconnected:
                self._disconnect(block)
            for connected in outcome.change.connected:
                self._connect(connected)
            if outcome.change.disconnected:
                self.reorganisations.append(len(outcome.change.disconnected))
        for block_hash in outcome.invalid:
            self._invalidate(block_hash)
        for block_hash in outcome.discarded:
            if self._new.pop(block_hash, None) is None:
                self._discarded.add(block_hash)

    def name_rows(self, undo: BlockUndo) -> None:
        """A block is taken back, and with it these rows of the market."""
        self._market.name_rows(undo)
        self._state_rows.name_rows(undo)

    def _disconnect(self, block: Block) -> None:
        self._market.disconnect(block)
        if block.hash in self._new:
            self._new[block.hash].undo = None
        elif self._connected.pop(block.hash, None) is None:
            self._disconnected.add(block.hash)

    def _connect(self, connected: ConnectedBlock) -> None:
        self._market.connect(connected)
        self._state_rows.name_rows(connected.undo)
        block_hash = connected.block.hash
        if block_hash in self._new:
            self._new[block_hash].undo = connected.undo
        else:
            self._connected[block_hash] = connected.undo

    def _invalidate(self, block_hash: str) -> None:
        """Blocks that were never stored are not in the database either; then the update finds no row."""
        if block_hash in self._new:
            self._new[block_hash].invalid = True
        else:
            self._invalid.add(block_hash)

    def raw(self, block_hash: str) -> bytes | None:
        """Bytes of a block that is not in the database yet."""
        new = self._new.get(block_hash)
        return new.block.raw if new else None

    def undo(self, block_hash: str) -> BlockUndo | None:
        """Undo data of a block that is not in the database as connected yet."""
        new = self._new.get(block_hash)
        return new.undo if new else self._connected.get(block_hash)

    def write(
        self, connection: Connection, members: Iterable[tuple[str, MemberRecord | None]], state: ChainState, tip: Tip
    ) -> None:
        """Write everything in one transaction.

        Args:
            connection: the writer's.
            members: changed rows of the roster; None if the member is not there any more.
            state: the state after all of it.
            tip: the best chain's head after all of it.

        Raises:
            psycopg.Error: then nothing was written.
        """
        with connection.transaction():
            self._write_leaving(connection)
            self._copy_blocks(connection)
            self._copy_transactions(connection)
            self._write_connected(connection)
            write_members(connection, members)
            self._market.write(connection, state.market)
            self._state_rows.write(connection, state)
            write_votes(connection, self.votes)
            self._write_tip(connection, tip)

    def _write_tip(self, connection: Connection, tip: Tip) -> None:
        connection.execute(
            """
            UPDATE node_state SET tip_hash = %s, tip_height = %s, reorganisations = reorganisations + %s,
                justified_hash = %s, justified_height = %s, final_hash = %s, final_height = %s
            """,
            (
                bytes.fromhex(tip.hash),
                tip.height,
                len(self.reorganisations),
                bytes.fromhex(tip.landmarks.justified),
                tip.justified_height,
                bytes.fromhex(tip.landmarks.final),
                tip.final_height,
            ),
        )

    def _write_leaving(self, connection: Connection) -> None:
        """Before the others: a height of the best chain belongs to one block at any moment."""
        if self._discarded:
            discarded = binary(self._discarded)
            connection.execute("DELETE FROM transactions WHERE block = ANY(%s)", (discarded,))
            connection.execute("DELETE FROM blocks WHERE hash = ANY(%s)", (discarded,))
        if self._disconnected:
            connection.execute(
                "UPDATE blocks SET best_chain = false, undo = NULL WHERE hash = ANY(%s)",
                (binary(self._disconnected),),
            )
        if self._invalid:
            connection.execute("UPDATE blocks SET invalid = true WHERE hash = ANY(%s)", (binary(self._invalid),))

    def _copy_blocks(self, connection: Connection) -> None:
        if not self._new:
            return
        with connection.cursor() as cursor, cursor.copy(COPY_BLOCKS) as copy:
            copy.set_types(list(BLOCK_COLUMNS.values()))
            for new in self._new.values():
                copy.write_row(_block_row(new))

    def _copy_transactions(self, connection: Connection) -> None:
        rows = [
            (bytes.fromhex(transaction.id), block_hash, position, transaction.kind, transaction.raw)
            for block_hash, new in zip(binary(self._new), self._new.values(), strict=True)
            for position, transaction in enumerate(new.block.transactions)
        ]
        if not rows:
            return
        with connection.cursor() as cursor, cursor.copy(COPY_TRANSACTIONS) as copy:
            copy.set_types(list(TRANSACTION_TYPES))
            for row in rows:
                copy.write_row(row)

    def _write_connected(self, connection: Connection) -> None:
        if self._connected:
            connection.execute(
                """
                UPDATE blocks SET best_chain = true, undo = joined.undo
                FROM unnest(%s::bytea[], %s::bytea[]) AS joined (hash, undo) WHERE blocks.hash = joined.hash
                """,
                (binary(self._connected), [encode(undo) for undo in self._connected.values()]),
            )


def write_members(connection: Connection, members: Iterable[tuple[str, MemberRecord | None]]) -> None:
    """Write changed rows of the roster."""
    changed = list(members)
    gone = [member for member, record in changed if record is None]
    if gone:
        connection.execute("DELETE FROM roster WHERE member = ANY(%s)", (gone,))
    rows = [_member_row(record) for _, record in changed if record is not None]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(WRITE_MEMBER, rows)


def _block_row(new: _NewBlock) -> tuple[object, ...]:
    header = new.block.header
    return (
        bytes.fromhex(new.block.hash),
        bytes.fromhex(header.prev),
        header.height,
        header.miner,
        header.time_ms,
        header.difficulty,
        len(new.block.transactions),
        new.work,
        new.first_seen,
        new.undo is not None,
        new.invalid,
        encode(header),
        new.block.raw,
        None if new.undo is None else encode(new.undo),
    )


def _member_row(record: MemberRecord) -> tuple[object, ...]:
    return (
        record.member,
        record.status,
        record.admitted_height,
        record.ended_height,
        record.suspended_height,
        bytes.fromhex(record.admitted_by),
        *binary((record.keys.wallet, record.keys.box, record.keys.block, record.keys.vote)),
    )
