"""Complete rows, as the audit compares them, streamed so that a long chain needs no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection

SELECT_BLOCKS = """
SELECT hash, prev, height, miner, time_ms, difficulty, transactions, work::text, first_seen, best_chain, invalid,
    header, raw, undo
FROM blocks WHERE best_chain = %s ORDER BY height, first_seen
"""

FETCH_BLOCKS = 20
"""Blocks can have a megabyte each."""
FETCH_TRANSACTIONS = 500


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A row of `blocks`."""

    hash: str
    prev: str
    height: int
    miner: str
    time_ms: int
    difficulty: int
    transactions: int
    work: int
    first_seen: int
    best_chain: bool
    invalid: bool
    header: bytes
    raw: bytes
    undo: bytes | None


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A row of `transactions`."""

    id: str
    block: str
    position: int
    kind: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A row of `abandoned_searches`."""

    lowest_hash: str
    height: int
    difficulty: int
    tries: int
    elapsed_ms: int
    stored_at_ms: int
    header: bytes


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Read one moment of the database, however long that takes; the ledger goes on meanwhile."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("ROLLBACK")


def count_blocks(connection: Connection) -> tuple[int, int]:
    """How many blocks are on the best chain, and how many beside it."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE best_chain), count(*) FILTER (WHERE NOT best_chain) FROM blocks"
    ).fetchone()
    return (as_int(row[0]), as_int(row[1])) if row else (0, 0)


def best_chain_blocks(connection: Connection) -> Iterator[BlockRow]:
    """The best chain, from block 1 up."""
    return _blocks(connection, "audit_best_chain", best_chain=True)


def side_blocks(connection: Connection) -> Iterator[BlockRow]:
    """All blocks beside the best chain, predecessors first."""
    return _blocks(connection, "audit_side_blocks", best_chain=False)


def best_chain_transactions(connection: Connection) -> Iterator[TransactionRow]:
    """The transactions of the best chain, in the order in which they apply."""
    with connection.cursor("audit_transactions", binary=True) as cursor:
        cursor.itersize = FETCH_TRANSACTIONS
        cursor.execute(
            """
            SELECT t.id, t.block, t.position, t.kind, t.raw
            FROM blocks b JOIN transactions t ON t.block = b.hash
            WHERE b.best_chain ORDER BY b.height, t.position
            """
        )
        for row in cursor:
            yield _transaction(row)


def block_transactions(connection: Connection, block_hash: str) -> list[TransactionRow]:
    """The transactions of one block, in order."""
    rows = connection.execute(
        "SELECT id, block, position, kind, raw FROM transactions WHERE block = %s ORDER BY position",
        (bytes.fromhex(block_hash),),
        binary=True,
    ).fetchall()
    return [_transaction(row) for row in rows]


def stray_transaction(connection: Connection) -> TransactionRow | None:
    """A row that names a block which is not there, if there is one."""
    row = connection.execute(
        """
        SELECT id, block, position, kind, raw FROM transactions t
        WHERE NOT EXISTS (SELECT FROM blocks b WHERE b.hash = t.block) ORDER BY block, position LIMIT 1
        """,
        binary=True,
    ).fetchone()
    return _transaction(row) if row else None


def count_node_states(connection: Connection) -> int:
    """How many rows `node_state` has."""
    row = connection.execute("SELECT count(*) FROM node_state").fetchone()
    return as_int(row[0]) if row else 0


def search_rows(connection: Connection) -> Iterator[SearchRow]:
    """All abandoned searches, oldest first."""
    with connection.cursor("audit_searches", binary=True) as cursor:
        cursor.itersize = FETCH_TRANSACTIONS
        cursor.execute(
            """
            SELECT lowest_hash, height, difficulty, tries, elapsed_ms, stored_at_ms, header
            FROM abandoned_searches ORDER BY stored_at_ms, lowest_hash
            """
        )
        for lowest_hash, height, difficulty, tries, elapsed_ms, stored_at_ms, header in cursor:
            yield SearchRow(
                lowest_hash=as_bytes(lowest_hash).hex(),
                height=as_int(height),
                difficulty=as_int(difficulty),
                tries=as_int(tries),
                elapsed_ms=as_int(elapsed_ms),
                stored_at_ms=as_int(stored_at_ms),
                header=as_bytes(header),
            )


def _blocks(connection: Connection, name: str, *, best_chain: bool) -> Iterator[BlockRow]:
    with connection.cursor(name, binary=True) as cursor:
        cursor.itersize = FETCH_BLOCKS
        cursor.execute(SELECT_BLOCKS, (best_chain,))
        for row in cursor:
            yield _block(row)


def _block(row: tuple[object, ...]) -> BlockRow:
    block_hash, prev, height, miner, time_ms, difficulty, transactions, work, first_seen, best, invalid = row[:11]
    header, raw, undo = row[11:]
    return BlockRow(
        hash=as_bytes(block_hash).hex(),
        prev=as_bytes(prev).hex(),
        height=as_int(height),
        miner=str(miner),
        time_ms=as_int(time_ms),
        difficulty=as_int(difficulty),
        transactions=as_int(transactions),
        work=int(str(work)),
        first_seen=as_int(first_seen),
        best_chain=bool(best),
        invalid=bool(invalid),
        header=as_bytes(header),
        raw=as_bytes(raw),
        undo=None if undo is None else as_bytes(undo),
    )


def _transaction(row: tuple[object, ...]) -> TransactionRow:
    tx_id, block, position, kind, raw = row
    return TransactionRow(
        id=as_bytes(tx_id).hex(),
        block=as_bytes(block).hex(),
        position=as_int(position),
        kind=str(kind),
        raw=as_bytes(raw),
    )
