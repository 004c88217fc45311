"""Votes that this node has seen: its own are written before they are sent, contradictions are kept as proof."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from minervas_core.finality.book import TakenVote
from minervas_core.finality.pool import Equivocation
from minervas_core.finality.votes import Vote, decode_vote
from minervas_core.messages import GetVotes
from minervas_core.node_vote_messages import EquivocationEntry
from minervas_ledger.store.columns import as_bytes
from minervas_ledger.store.connection import Connection

INSERT_VOTE = """
INSERT INTO votes (id, voter, source_height, source_hash, target_height, target_hash, own, seen_at_ms, raw)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

INSERT_EQUIVOCATION = """
INSERT INTO equivocations (first, second, voter, kind, seen_at_ms)
SELECT %(first)s, %(second)s, %(voter)s, %(kind)s, %(seen_ms)s
WHERE (SELECT count(*) FROM equivocations WHERE voter = %(voter)s) < %(most)s
ON CONFLICT DO NOTHING
"""

MAX_PROOFS_PER_VOTER = 16
"""Contradictions kept of one voter, the first ones, and their votes with them, for ever: one proves that it lies, and a
liar makes them for nothing."""

SELECT_OPEN_OR_OF_VOTER = """
SELECT raw FROM votes WHERE target_height > %s OR voter = %s ORDER BY target_height, voter, id
"""

SELECT_VOTES = """
SELECT raw FROM votes WHERE target_height > %(above)s AND (%(voter)s = '' OR voter = %(voter)s)
ORDER BY target_height DESC, voter, id LIMIT %(limit)s
"""

FORGET_VOTES = """
DELETE FROM votes WHERE target_height <= %s
    AND NOT EXISTS (SELECT FROM equivocations e WHERE votes.id IN (e.first, e.second))
    AND target_height < (SELECT max(newest.target_height) FROM votes newest WHERE newest.voter = votes.voter)
"""

SELECT_EQUIVOCATIONS = """
SELECT e.voter, e.kind, one.raw, other.raw
FROM equivocations e JOIN votes one ON one.id = e.first JOIN votes other ON other.id = e.second
ORDER BY e.seen_at_ms DESC, e.first, e.second LIMIT %s
"""

MAX_EQUIVOCATIONS = 50
"""Newest contradictions that are shown."""


def store_cast(connection: Connection, vote: Vote, now_ms: int) -> None:
    """Write a vote of our own before it is sent.

    Raises:
        psycopg.IntegrityError: if we cast another vote for this height before.
    """
    connection.execute(INSERT_VOTE, _vote_row(vote, now_ms, own=True))


def store_votes(connection: Connection, taken: Iterable[TakenVote], now_ms: int) -> None:
    """Write new votes, and what they prove, in one transaction."""
    with connection.transaction():
        write_votes(connection, [(each, now_ms) for each in taken])


def write_votes(connection: Connection, taken: Sequence[tuple[TakenVote, int]]) -> None:
    """Write votes with the time they were seen, and what they prove, within the transaction under way.

    Of each voter only the first `MAX_PROOFS_PER_VOTER` proofs are kept.
    """
    if not taken:
        return
    with connection.cursor() as cursor:
        rows = [_vote_row(each.vote, seen_ms, own=False) for each, seen_ms in taken]
        cursor.executemany(INSERT_VOTE + "ON CONFLICT (id) DO NOTHING", rows)
        proofs = [(each.equivocation, seen_ms) for each, seen_ms in taken if each.equivocation is not None]
        if proofs:
            cursor.executemany(INSERT_EQUIVOCATION, [_proof_row(proof, seen_ms) for proof, seen_ms in proofs])


def read_votes(connection: Connection, final_height: int, voter: str) -> list[Vote]:
    """Votes above the final block, and all of one voter, lowest targets first."""
    rows = connection.execute(SELECT_OPEN_OR_OF_VOTER, (final_height, voter), binary=True).fetchall()
    return [decode_vote(as_bytes(raw)) for (raw,) in rows]


def find_votes(connection: Connection, question: GetVotes) -> list[bytes]:
    """Votes that somebody asks for, newest targets first."""
    values = {"above": question.above_height, "voter": question.voter, "limit": question.limit}
    return [as_bytes(raw) for (raw,) in connection.execute(SELECT_VOTES, values, binary=True).fetchall()]


def forget_votes(connection: Connection, up_to_height: int) -> None:
    """Delete old votes; contradictions stay, and the newest of each voter."""
    connection.execute(FORGET_VOTES, (up_to_height,))


def newest_equivocations(connection: Connection) -> list[EquivocationEntry]:
    """Contradictions, newest first."""
    rows = connection.execute(SELECT_EQUIVOCATIONS, (MAX_EQUIVOCATIONS,), binary=True).fetchall()
    return [
        EquivocationEntry(
            voter=str(voter),
            kind="double" if kind == "double" else "surround",
            first=msgspec.Raw(as_bytes(first)),
            second=msgspec.Raw(as_bytes(second)),
        )
        for voter, kind, first, second in rows
    ]


def _vote_row(vote: Vote, seen_ms: int, *, own: bool) -> tuple[object, ...]:
    body = vote.body
    return (
        _id(vote),
        body.voter,
        body.source.height,
        bytes.fromhex(body.source.hash),
        body.target.height,
        bytes.fromhex(body.target.hash),
        own,
        seen_ms,
        vote.raw,
    )


def _proof_row(proof: Equivocation, seen_ms: int) -> dict[str, object]:
    return {
        "first": _id(proof.first),
        "second": _id(proof.second),
        "voter": proof.first.body.voter,
        "kind": proof.kind,
        "seen_ms": seen_ms,
        "most": MAX_PROOFS_PER_VOTER,
    }


def _id(vote: Vote) -> bytes:
    return hashlib.sha256(vote.raw).digest()
