"""Whether the votes on a side branch are worth connecting it for a trial.

A branch with less work than ours leads all the same if its votes justify a higher checkpoint. Whether they do, only its
state can say; but most forks carry far too few votes, and that can be counted without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minervas_core.blocks import Block
from minervas_core.finality.rules import has_supermajority, voted_for
from minervas_core.finality.votes import Vote, is_signed_by
from minervas_core.genesis import Genesis
from minervas_core.state import ChainState
from minervas_core.tree import Ballot, BlockTree, HeaderNode, TriedLink

EVERY = 32
"""However few votes it seems to have, a growing branch is tried every so many blocks: its roster may have shrunk. The
longer it is, the more a trial costs, and the less often it is tried."""


def may_justify(head: HeaderNode, tree: BlockTree, state: ChainState, *, above: int) -> bool:
    """Whether the branch up to `head` carries votes of a third of the members for one checkpoint higher than `above`.

    A third is less than is needed by the roster at our tip, which leaves room for another roster on the branch; of a
    checkpoint below the fork it must be its majority. What
    was too little in a trial further down is too little again: both sides of a long partition carry such votes in every
    interval, and each trial costs as much as a reorganisation. So the head remembers what it is to be tried for; who
    tries it with success makes it forget that.

    Args:
        head: a block off the main chain.
        tree: where it is.
        state: at the tip of the main chain.
        above: height of the highest checkpoint that is known as justified.
    """
    fork = tree.fork_point(head)
    path = tree.path(fork, head)
    if len(path) % max(EVERY, 1 << max(len(path).bit_length() - 3, 0)) == 0:
        return True
    if len(path) < EVERY and any(node.ballots is None for node in path):
        return True
    before = [link for node in path for link in node.tried]
    head.tried = tuple(
        link
        for link, is_many in _links(fork, path, state, above)
        if is_many and not any(_says_nothing_new(link, each, fork.height) for each in before)
    )
    return bool(head.tried)


def ballots_of(block: Block, state: ChainState, genesis: Genesis) -> tuple[Ballot, ...]:
    """The votes in a block that count for `may_justify`: a forged one costs nothing, a trial does.

    What the branch alone knows (a rotated vote key, a new member) is found out in the trial of every so many blocks.
    Until the first final block anybody may be a founder there.

    Args:
        block: anywhere above the last final block; its votes are not checked yet.
        state: at the tip of the main chain.
        genesis: the consortium's genesis.
    """
    return tuple(
        Ballot(vote.body.source.height, vote.body.target.height, vote.body.voter)
        for vote in block.votes
        if _may_count(vote, state, genesis)
    )


def _may_count(vote: Vote, state: ChainState, genesis: Genesis) -> bool:
    body = vote.body
    checkpoint = state.finality.checkpoint(body.target.height)
    if checkpoint is not None and checkpoint.hash == body.target.hash:
        keys = [each.vote_key for each in checkpoint.voters if each.member == body.voter]
    else:
        record = state.roster.active(body.voter)
        keys = [record.keys.vote] if record is not None else []
        if record is None and state.finality.head(genesis.hash).final.height == 0:
            return True
    return any(is_signed_by(vote, genesis.network, key) for key in keys)


def _links(
    fork: HeaderNode, path: Sequence[HeaderNode], state: ChainState, above: int
) -> Iterator[tuple[TriedLink, bool]]:
    """Links to checkpoints higher than `above` with their voters on the branch, and whether these are many.

    Of a checkpoint below the fork we know exactly who must vote for it, and who did before the fork.
    """
    links: dict[tuple[int, int], set[str]] = {}
    for ballot in (each for node in path for each in node.ballots or ()):
        if ballot.target_height > above:
            links.setdefault((ballot.source_height, ballot.target_height), set()).add(ballot.voter)
    for (source_height, target_height), voters in links.items():
        checkpoint = state.finality.checkpoint(target_height) if target_height <= fork.height else None
        if checkpoint is not None:
            before = _voted_up_to(fork.height, state, source_height, target_height)
            is_many = has_supermajority(voters | before, checkpoint)
        else:
            is_many = 3 * len(voters) > state.roster.active_count
        yield TriedLink(source_height, target_height, frozenset(voters)), is_many


def _voted_up_to(height: int, state: ChainState, source_height: int, target_height: int) -> set[str]:
    """Who voted for a link in the main chain's blocks up to a height."""
    voters = voted_for(state.finality, source_height, target_height)
    votes = ((voter, state.finality.vote(target_height, voter)) for voter in voters)
    return {voter for voter, vote in votes if vote is not None and vote.included_height <= height}


def _says_nothing_new(link: TriedLink, before: TriedLink, fork_height: int) -> bool:
    """Whether a link cannot have its majority because another one had none.

    Of a link to a checkpoint below the fork the branch does not show all voters: only the same link tells about it.
    """
    is_same = (link.source_height, link.target_height) == (before.source_height, before.target_height)
    return (is_same or link.target_height > fork_height) and link.voters <= before.voters
