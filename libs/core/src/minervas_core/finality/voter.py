"""Which vote a member's ledger casts next (design section 5, finality).

Two votes of one member contradict each other when they are for the same height, or when one lies within the other
(Casper FFG's two commandments). A voter whose sources never fall and whose targets always rise makes neither; `Guard`
is all that it must remember of its past.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minervas_core.finality.state import Finality, Voter
from minervas_core.finality.votes import Target, Vote, VoteBody
from minervas_core.genesis import Genesis

DEPTH = 2
"""A checkpoint is voted for when it is so many blocks deep, itself counted: a short fork then rarely splits votes."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The highest source and target of all votes that a member ever signed."""

    source_height: int = 0
    target_height: int = 0

    def after(self, votes: Iterable[Vote]) -> Guard:
        """The guard that also knows these votes."""
        bodies = [vote.body for vote in votes]
        return Guard(
            max([self.source_height, *(body.source.height for body in bodies)]),
            max([self.target_height, *(body.target.height for body in bodies)]),
        )

    def joined(self, other: Guard) -> Guard:
        """The guard that knows what both know."""
        return Guard(max(self.source_height, other.source_height), max(self.target_height, other.target_height))

    def allows(self, body: VoteBody) -> bool:
        """Whether a vote contradicts none before."""
        return body.target.height > self.target_height and body.source.height >= self.source_height


def next_vote(finality: Finality, tip_height: int, voter: Voter, guard: Guard, genesis: Genesis) -> VoteBody | None:
    """The vote that a member should cast on its chain now, if any: from the highest justified checkpoint to the newest.

    Only a checkpoint that is justified directly from the one before makes that one final. So the vote for a checkpoint
    waits for the one before to be justified, but not longer than until the next checkpoint is due.

    Args:
        finality: in the state of the tip.
        tip_height: height of the tip.
        voter: who votes, under which key; a checkpoint whose state has another key is not voted for.
        guard: all that the member signed before.
        genesis: the consortium's genesis.
    """
    interval = genesis.parameters.vote_interval
    height = (tip_height - DEPTH + 1) // interval * interval
    target = finality.checkpoint(height) if height > 0 else None
    head = finality.head(genesis.hash)
    if target is None or height <= head.justified.height:
        return None
    if head.justified.height < height - interval and tip_height < height + max(interval - 1, DEPTH - 1):
        return None
    if voter not in target.voters:
        return None
    body = VoteBody(
        network=genesis.network,
        voter=voter.member,
        source=head.justified,
        target=Target(height=height, hash=target.hash),
    )
    return body if guard.allows(body) else None
