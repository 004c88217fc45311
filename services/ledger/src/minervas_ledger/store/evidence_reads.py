"""Questions about evidence: what makes a block final, who the members are, and the readings behind sold energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minervas_core.blocks import MAX_BLOCK_BYTES, BlockForm, Header
from minervas_core.encoding import Signature, decode
from minervas_core.evidence.finality import MAX_SHOWN_HEADERS
from minervas_core.finality.votes import Vote, decode_vote
from minervas_core.metering import Reading, readings_root
from minervas_core.node_bill_messages import GetMemberHistory
from minervas_core.transactions import MEMBER_KINDS, Transaction, decode_transaction
from minervas_ledger.store.columns import as_bytes
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.statement_rows import COLUMNS, StatedSpan, span_of, stated_readings

BLOCKS_PER_LOOK = 64
VOTES_WITHIN = 256
"""Blocks above a checkpoint in which the votes that make it final are looked for."""

BLOCKS = "SELECT raw FROM blocks WHERE best_chain AND height BETWEEN %s AND %s ORDER BY height"

HISTORY = """
SELECT t.raw FROM transactions t JOIN blocks b ON b.hash = t.block
WHERE b.best_chain AND b.height <= %s AND t.kind = ANY(%s) ORDER BY b.height, t.position LIMIT %s OFFSET %s
"""

MAY_SEE = """
SELECT EXISTS (SELECT FROM lots WHERE owner = %s AND origins @> ARRAY[%s::bytea])
    OR EXISTS (SELECT FROM statements WHERE member = %s AND id = %s)
"""

ONE_STATEMENT = f"SELECT {COLUMNS} FROM statements s WHERE s.id = %s"  # noqa: S608 - names are constants


def shown_blocks(connection: Connection, first: int, last: int) -> Iterator[tuple[Header, Signature, list[Vote]]]:
    """Header, signature and votes of blocks of the best chain, from one height to another."""
    for start in range(first, last + 1, BLOCKS_PER_LOOK):
        end = min(start + BLOCKS_PER_LOOK - 1, last)
        rows = connection.execute(BLOCKS, (start, end), binary=True).fetchall()
        for (raw,) in rows:
            form = decode(as_bytes(raw), BlockForm, max_bytes=MAX_BLOCK_BYTES)
            yield form.header, form.signature, [decode_vote(bytes(vote)) for vote in form.votes]
        if len(rows) < end - start + 1:
            return


def member_history(connection: Connection, question: GetMemberHistory) -> tuple[list[bytes], bool]:
    """A page of the membership transactions, and whether there are more."""
    asked = (question.up_to_height, sorted(MEMBER_KINDS), question.limit + 1, question.skip)
    raws = [as_bytes(raw) for (raw,) in connection.execute(HISTORY, asked, binary=True).fetchall()]
    return raws[: question.limit], len(raws) > question.limit


def all_members(connection: Connection, height: int) -> list[Transaction]:
    """All membership transactions up to a height."""
    asked = (height, sorted(MEMBER_KINDS), None, 0)
    return [decode_transaction(as_bytes(raw)) for (raw,) in connection.execute(HISTORY, asked, binary=True).fetchall()]


def may_see_readings(connection: Connection, asker: str, statement: str) -> bool:
    """Whether a member may see what a statement rests on: it metered the energy itself, or has or had some of it."""
    key = bytes.fromhex(statement)
    row = connection.execute(MAY_SEE, (asker, key, asker, key), binary=True).fetchone()
    return bool(row and row[0])


def readings_under(connection: Connection, statement: str) -> tuple[StatedSpan | None, Sequence[Reading]]:
    """A statement, and the stored readings that give its root; no readings if none do."""
    row = connection.execute(ONE_STATEMENT.encode(), (bytes.fromhex(statement),), binary=True).fetchone()
    if row is None:
        return None, []
    span = span_of(row)
    by_spool: dict[str, list[Reading]] = {}
    for spool, reading in stated_readings(connection, span):
        by_spool.setdefault(spool, []).append(reading)
    for readings in by_spool.values():
        if readings_root(readings) == span.readings_root:
            return span, readings
    return span, []


def headers_to_checkpoint(
    blocks: Iterator[tuple[Header, Signature, list[Vote]]], interval: int
) -> Iterator[tuple[list[Header], list[Vote]]]:
    """For each checkpoint above the first block: the headers up to it, and the votes that lead on to the next one.

    Args:
        blocks: from the block in question on.
        interval: blocks from checkpoint to checkpoint.
    """
    headers: list[Header] = []
    votes: dict[int, dict[str, Vote]] = {}
    for header, _, carried in blocks:
        headers.append(header)
        for vote in carried:
            if vote.body.target.height == vote.body.source.height + interval:
                votes.setdefault(vote.body.source.height, {})[vote.body.voter] = vote
        for height in sorted({vote.body.source.height for vote in carried} & votes.keys()):
            found, count = votes[height], height - headers[0].height + 1
            if 0 < count <= min(len(headers), MAX_SHOWN_HEADERS):
                yield headers[:count], list(found.values())
