"""Questions about committed blocks. Every function is one statement, so its answer is of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minervas_core.blocks import decode_header
from minervas_core.node_messages import BlockSummary
from minervas_ledger.store.columns import as_bytes, as_int, binary
from minervas_ledger.store.connection import Connection


@dataclass(frozen=True, slots=True)
class StoredBlockDetail:
    """A stored block and where it stands."""

    raw: bytes
    hash: str
    best_chain: bool
    depth: int
    """Blocks from it to the tip, both counted; 0 beside the best chain."""
    final: bool
    work: int


@dataclass(frozen=True, slots=True)
class TransactionPlace:
    """Where a transaction stands on the best chain."""

    raw: bytes
    height: int
    depth: int
    """Blocks from there to the tip, both counted."""
    block: str
    final: bool


def headers_after(connection: Connection, locator: Sequence[str], limit: int) -> list[bytes]:
    """Headers of the best chain that follow the highest known block of `locator` (or genesis), oldest first."""
    rows = connection.execute(
        """
        SELECT header FROM blocks
        WHERE best_chain AND height > (
            SELECT coalesce(max(height), 0) FROM blocks WHERE best_chain AND hash = ANY(%s)
        )
        ORDER BY height LIMIT %s
        """,
        (binary(locator), limit),
        binary=True,
    ).fetchall()
    return [as_bytes(row[0]) for row in rows]


def bodies(connection: Connection, hashes: Sequence[str], max_bytes: int) -> list[bytes]:
    """Blocks in the order asked, as many as fit into `max_bytes`, but at least one if any is known.

    Side branches are served too: the asker may be on one. Blocks that are known to be invalid are not.
    """
    rows = connection.execute(
        """
        WITH asked AS (
            SELECT raw, place, sum(octet_length(raw)) OVER (ORDER BY place) AS total_bytes
            FROM unnest(%s::bytea[]) WITH ORDINALITY AS wanted (hash, place) JOIN blocks USING (hash)
            WHERE NOT invalid
        )
        SELECT raw FROM asked WHERE total_bytes <= %s OR total_bytes = octet_length(raw) ORDER BY place
        """,
        (binary(hashes), max_bytes),
        binary=True,
    ).fetchall()
    return [as_bytes(row[0]) for row in rows]


def newest_blocks(connection: Connection, below_height: int, limit: int) -> list[BlockSummary]:
    """The best chain's blocks from the tip down, or from just below a height if that is not 0."""
    rows = connection.execute(
        """
        SELECT header, hash, transactions, octet_length(raw), height <= final_height FROM blocks, node_state
        WHERE best_chain AND (%(below)s = 0 OR height < %(below)s)
        ORDER BY height DESC LIMIT %(limit)s
        """,
        {"below": below_height, "limit": limit},
        binary=True,
    ).fetchall()
    return [
        BlockSummary(
            header=decode_header(as_bytes(header)),
            hash=as_bytes(block_hash).hex(),
            transactions=as_int(transactions),
            size_bytes=as_int(size_bytes),
            best_chain=True,
            final=bool(final),
        )
        for header, block_hash, transactions, size_bytes, final in rows
    ]


def block_detail(connection: Connection, which: str) -> StoredBlockDetail | None:
    """One block, by hash or by its height on the best chain."""
    by_hash = len(which) == 64
    row = connection.execute(
        """
        SELECT raw, hash, best_chain, tip_height - height + 1, best_chain AND height <= final_height, work::text
        FROM blocks, node_state
        WHERE hash = %s OR (best_chain AND height = %s)
        """,
        (bytes.fromhex(which) if by_hash else None, None if by_hash else int(which)),
        binary=True,
    ).fetchone()
    if row is None:
        return None
    raw, block_hash, best_chain, depth, final, work = row
    return StoredBlockDetail(
        raw=as_bytes(raw),
        hash=as_bytes(block_hash).hex(),
        best_chain=bool(best_chain),
        depth=as_int(depth) if best_chain else 0,
        final=bool(final),
        work=int(str(work)),
    )


def transaction_places(connection: Connection, ids: Sequence[str]) -> dict[str, TransactionPlace]:
    """Where transactions stand on the best chain; those that are not in it are left out."""
    rows = connection.execute(
        """
        SELECT t.id, t.raw, b.height, n.tip_height - b.height + 1, b.hash, b.height <= n.final_height
        FROM transactions t JOIN blocks b ON b.hash = t.block, node_state n
        WHERE b.best_chain AND t.id = ANY(%s)
        """,
        (binary(ids),),
        binary=True,
    ).fetchall()
    return {
        as_bytes(tx_id).hex(): TransactionPlace(
            raw=as_bytes(raw),
            height=as_int(height),
            depth=as_int(depth),
            block=as_bytes(block).hex(),
            final=bool(final),
        )
        for tx_id, raw, height, depth, block, final in rows
    }


def tip_height(connection: Connection) -> int:
    """Height of the committed tip; 0 before the first block."""
    row = connection.execute("SELECT tip_height FROM node_state").fetchone()
    return as_int(row[0]) if row else 0
