"""Abandoned searches on disk (paper: the block is thrown away and that information stored)."""

from __future__ import annotations

from minervas_core.blocks import decode_header
from minervas_core.encoding import encode
from minervas_core.node_messages import AbandonedSearch
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection


def store_search(connection: Connection, search: AbandonedSearch) -> bool:
    """Store a verified search; a repeated one changes nothing. Returns whether it was new."""
    cursor = connection.execute(
        """
        INSERT INTO abandoned_searches (lowest_hash, height, difficulty, tries, elapsed_ms, stored_at_ms, header)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (
            bytes.fromhex(search.lowest_hash),
            search.header.height,
            search.header.difficulty,
            search.tries,
            search.elapsed_ms,
            search.stored_at_ms,
            encode(search.header),
        ),
    )
    return cursor.rowcount == 1


def newest_searches(connection: Connection, limit: int) -> list[AbandonedSearch]:
    """The searches that were stored last, newest first."""
    rows = connection.execute(
        """
        SELECT header, tries, elapsed_ms, lowest_hash, stored_at_ms FROM abandoned_searches
        ORDER BY stored_at_ms DESC, lowest_hash LIMIT %s
        """,
        (limit,),
        binary=True,
    ).fetchall()
    return [
        AbandonedSearch(
            header=decode_header(as_bytes(header)),
            tries=as_int(tries),
            elapsed_ms=as_int(elapsed_ms),
            lowest_hash=as_bytes(lowest_hash).hex(),
            stored_at_ms=as_int(stored_at_ms),
        )
        for header, tries, elapsed_ms, lowest_hash, stored_at_ms in rows
    ]


def count_searches(connection: Connection) -> int:
    """How many searches are stored."""
    row = connection.execute("SELECT count(*) FROM abandoned_searches").fetchone()
    return as_int(row[0]) if row else 0
