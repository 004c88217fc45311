"""A node's votes: those it has seen, those that contradict each other, and its own (design section 5, finality)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minervas_core.errors import Code, InvalidVote
from minervas_core.finality.pool import Equivocation, VotePool
from minervas_core.finality.state import Voter
from minervas_core.finality.voter import Guard, next_vote
from minervas_core.finality.votes import Vote, VoteBody, check_vote_signature, is_signed_by
from minervas_core.genesis import Genesis
from minervas_core.state import ChainState

MAX_AHEAD = 256
"""Votes for targets so many blocks above our own tip are left alone: an hour of 15 s blocks."""


MAX_BEHIND = 256
"""Votes for targets so many blocks below the last final one are left alone: they change nothing and prove old lies."""


@dataclass(frozen=True, slots=True)
class TakenVote:
    """What became of a vote whose signature is right."""

    vote: Vote
    is_new: bool
    equivocation: Equivocation | None = None
    """What it proves against its voter; only told when the vote is new."""


class VoteBook:
    """Takes votes from gossip, from blocks and from the node's own past, and says what to vote next.

    Args:
        genesis: the consortium's genesis.
        own: the member and each public vote key of this node; none for one that only watches. It may grow.
        votes: what the node has stored, its own votes among it. Their signatures were checked.
    """

    def __init__(self, genesis: Genesis, own: Sequence[Voter], votes: Iterable[Vote] = ()) -> None:
        self.pool = VotePool()
        self.guard = Guard()
        self._genesis = genesis
        self._own = own
        for vote in votes:
            self._remember(vote)

    def take(self, vote: Vote, state: ChainState) -> TakenVote:
        """Take in a vote from anybody.

        One for a block far above our tip is left alone, for it is asked for when we are there; so is one far below the
        last final block.

        Raises:
            InvalidVote: ``vote_target`` or ``vote_source`` (not the height of a checkpoint), ``vote_not_voter``,
                ``wrong_network`` or ``bad_signature``.
        """
        self._recall(vote)
        if vote in self.pool or not self._is_of_use(vote, state):
            return TakenVote(vote, is_new=False)
        _check_heights(vote, self._genesis)
        check_vote_signature(vote, self._genesis.network, _vote_key(vote, state))
        equivocation = self.pool.contradiction(vote)
        is_new = self._remember(vote)
        return TakenVote(vote, is_new, equivocation if is_new else None)

    def take_carried(self, votes: Iterable[Vote], state: ChainState) -> list[TakenVote]:
        """Take in the votes of a block; those that cannot be judged on our chain are left out."""
        taken: list[TakenVote] = []
        for vote in votes:
            try:
                taken.append(self.take(vote, state))
            except InvalidVote:
                continue
        return taken

    def candidates(self, state: ChainState) -> list[Vote]:
        """What the next block might carry, in block order."""
        final_height = state.finality.head(self._genesis.hash).final.height
        return [vote for vote in self.pool if vote.body.target.height > final_height]

    def next_vote(self, state: ChainState) -> VoteBody | None:
        """What to vote now, if anything. Store the signed vote, and only then `take` it and tell others."""
        due = (next_vote(state.finality, state.height, own, self.guard, self._genesis) for own in self._own)
        return next((body for body in due if body is not None), None)

    def key_for(self, body: VoteBody, state: ChainState) -> str:
        """The key of ours (public, hex) that a vote to cast must be signed with: that of its checkpoint."""
        checkpoint = state.finality.checkpoint(body.target.height)
        voters = checkpoint.voters if checkpoint is not None else []
        return next(own.vote_key for own in self._own if own in voters)

    def forget_final(self, final_height: int) -> None:
        """Forget votes that no block above a final one can carry."""
        self.pool.forget_up_to(final_height)

    def _is_of_use(self, vote: Vote, state: ChainState) -> bool:
        final_height = state.finality.head(self._genesis.hash).final.height
        return final_height - MAX_BEHIND <= vote.body.target.height <= state.height + MAX_AHEAD

    def _recall(self, vote: Vote) -> None:
        """What our own key signed binds us, whatever our state (perhaps restored from a backup) says of the voter."""
        own = (each.vote_key for each in self._own if each.member == vote.body.voter)
        if any(is_signed_by(vote, self._genesis.network, key) for key in own):
            self.guard = self.guard.after([vote])

    def _remember(self, vote: Vote) -> bool:
        """Keep a vote whose signature is right; one of ours binds us also if it was signed with a key of before."""
        if any(vote.body.voter == own.member for own in self._own):
            self.guard = self.guard.after([vote])
        return self.pool.add(vote)


def _check_heights(vote: Vote, genesis: Genesis) -> None:
    """Refuse votes between blocks that no chain votes on: nobody shall fill our memory with them."""
    body, interval = vote.body, genesis.parameters.vote_interval
    for code, height in ((Code.VOTE_TARGET, body.target.height), (Code.VOTE_SOURCE, body.source.height)):
        if height % interval:
            raise InvalidVote(code, "Not the height of a checkpoint", voter=body.voter, height=height)


def _vote_key(vote: Vote, state: ChainState) -> str:
    """The key that must have signed: as of the checkpoint if our chain has it, else the voter's newest.

    Raises:
        InvalidVote: ``vote_not_voter``.
    """
    body = vote.body
    checkpoint = state.finality.checkpoint(body.target.height)
    if checkpoint is not None and checkpoint.hash == body.target.hash:
        keys = [voter.vote_key for voter in checkpoint.voters if voter.member == body.voter]
    else:
        record = state.roster.active(body.voter)
        keys = [record.keys.vote] if record else []
    if not keys:
        raise InvalidVote(Code.VOTE_NOT_VOTER, "Not by a voter", voter=body.voter, target_height=body.target.height)
    return keys[0]
