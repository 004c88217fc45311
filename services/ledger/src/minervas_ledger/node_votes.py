"""The votes of a node on its chain's thread: memory and database together, as `node_chain` does it for blocks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from minervas_core.chain import BlockOutcome, Chain
from minervas_core.errors import PeerFault
from minervas_core.finality.book import TakenVote, VoteBook
from minervas_core.finality.voter import Guard
from minervas_core.finality.votes import Vote, VoteBody, decode_vote
from minervas_core.messages import GetVotes
from minervas_core.node_vote_messages import FinalityReport, VoteResults
from minervas_ledger import metrics, refusals
from minervas_ledger.finality_report import report_finality
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.votes import find_votes, forget_votes, newest_equivocations, store_cast, store_votes

log = logging.getLogger(__name__)

KEEP_FINAL_VOTES = 1_000
"""Blocks below the last final one whose votes are kept, for who wants to look at them."""


class NodeVotes:
    """Votes and the writing connection. Belongs to the chain's thread.

    Args:
        connection: the writer's connection.
        chain: the chain.
        book: all votes that are stored.
        memory_first: guards an operation that changes memory before the database.
    """

    def __init__(
        self,
        connection: Connection,
        chain: Chain,
        book: VoteBook,
        memory_first: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._chain = chain
        self._book = book
        self._memory_first = memory_first

    @property
    def count(self) -> int:
        """How many votes are kept in memory."""
        return len(self._book.pool)

    @property
    def guard(self) -> Guard:
        """All that is known to be signed by us; more than is stored, if our state cannot judge it yet."""
        return self._book.guard

    def candidates(self) -> list[Vote]:
        """What the next block might carry."""
        return self._book.candidates(self._chain.state)

    def carried(self, outcome: BlockOutcome, now_ms: int) -> list[tuple[TakenVote, int]]:
        """Take in the votes of new blocks; returns those to store with them, with the time they were seen.

        They may be needed again after a reorganisation, and they may contradict others.
        """
        taken = [
            each
            for stored in outcome.stored
            for each in self._book.take_carried(stored.block.votes, self._chain.state)
            if each.is_new
        ]
        _count(taken)
        return [(each, now_ms) for each in taken]

    def settle(self, final_height_before: int) -> None:
        """Forget what a block that became final makes useless."""
        final = self._chain.final
        if final.height > final_height_before:
            self._book.forget_final(final.height)
            forget_votes(self._connection, final.height - KEEP_FINAL_VOTES)
            log.info("block_final", extra={"fields": {"height": final.height, "hash": final.hash}})

    def take(self, raw: Sequence[bytes], now_ms: int, *, origin: str) -> VoteResults:
        """Take in votes from anybody and store those that are new; each is judged on its own.

        Raises:
            psycopg.Error: then none is stored, and the chain is not usable any more.
        """
        with self._memory_first():
            taken: list[TakenVote] = []
            refused: Counter[str] = Counter()
            for item in raw:
                try:
                    taken.append(self._book.take(decode_vote(item), self._chain.state))
                except PeerFault as error:
                    refused[error.code.value] += 1
                    refusals.record("vote", error, origin=origin)
            fresh = [each for each in taken if each.is_new]
            store_votes(self._connection, fresh, now_ms)
        _count(fresh)
        return VoteResults(accepted=len(fresh), known=len(taken) - len(fresh), refused=dict(refused))

    def cast(self, sign: Callable[[VoteBody, str], Vote], guard: Guard, now_ms: int) -> Vote | None:
        """Make the vote that is due, if any; when this returns it is on disk, and only then may it be sent.

        Args:
            sign: signs a vote with that vote key of ours whose public half it is given.
            guard: what we signed since our start, whatever the database says.
            now_ms: our clock.

        Raises:
            psycopg.Error: then it is not stored and must not be sent.
        """
        self._book.guard = self._book.guard.joined(guard)
        body = self._book.next_vote(self._chain.state)
        if body is None:
            return None
        vote = sign(body, self._book.key_for(body, self._chain.state))
        with self._memory_first():
            store_cast(self._connection, vote, now_ms)
            self._book.take(vote, self._chain.state)
        metrics.VOTES_CAST.inc()
        return vote

    def find(self, question: GetVotes) -> list[bytes]:
        """Stored votes, newest targets first.

        Raises:
            psycopg.Error: if the database goes away.
        """
        return find_votes(self._connection, question)

    def open_of(self, member: str) -> list[Vote]:
        """A member's votes above the last justified checkpoint that the chain does not carry yet, newest first."""
        finality, justified = self._chain.state.finality, self._chain.justified.height
        return [
            vote
            for vote in reversed(self._book.pool.of(member))
            if vote.body.target.height > justified and finality.vote(vote.body.target.height, member) is None
        ]

    def active_members(self) -> list[str]:
        """Ids of the active members at the tip."""
        return [record.member for record in self._chain.state.roster.active_members()]

    def registered_key(self, member: str) -> str:
        """The vote key of an active member at the tip; empty if it is none."""
        record = self._chain.state.roster.active(member)
        return record.keys.vote if record is not None else ""

    def report(self, voting: str) -> FinalityReport:
        """How far finality has come.

        Args:
            voting: why this node does not vote; empty if it does.

        Raises:
            psycopg.Error: if the database goes away.
        """
        return report_finality(self._chain, voting, newest_equivocations(self._connection))


def _count(fresh: Sequence[TakenVote]) -> None:
    metrics.VOTES_TAKEN.inc(len(fresh))
    for each in fresh:
        if each.equivocation is not None:
            metrics.EQUIVOCATIONS.inc()
            body = each.vote.body
            fields = {"voter": body.voter, "kind": each.equivocation.kind, "target_height": body.target.height}
            log.warning("equivocation", extra={"fields": fields})
