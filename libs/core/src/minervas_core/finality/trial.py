"""Whether the votes on a side branch are worth connecting it for a trial.

A branch with less work than ours leads all the same if its votes justify a higher checkpoint. Whether they do, only its
state can say; but most forks carry far too few votes, and that can be counted without it.
"""

from __future__ import annotations

from minervas_core.state import ChainState
from minervas_core.tree import BlockTree, HeaderNode

EVERY = 32
"""However few votes it seems to have, a growing branch is tried every so many blocks: its roster may have shrunk."""


def may_justify(head: HeaderNode, tree: BlockTree, state: ChainState, *, above: int) -> bool:
    """Whether the branch up to `head` carries votes of a third of the members for one checkpoint higher than `above`.

    A third is less than is needed by the roster at our tip, which leaves room for another roster on the branch.

    Args:
        head: a block off the main chain.
        tree: where it is.
        state: at the tip of the main chain.
        above: height of the highest checkpoint that is known as justified.
    """
    fork = tree.fork_point(head)
    path = tree.path(fork, head)
    if len(path) % EVERY == 0:
        return True
    voters: dict[int, set[str]] = {}
    for node in path:
        if node.ballots is None and len(path) < EVERY:
            return True
        for target_height, voter in node.ballots or ():
            if target_height > above:
                voters.setdefault(target_height, set()).add(voter)
    for target_height, found in voters.items():
        if target_height <= fork.height:
            found.update(_votes_before_fork(state, target_height))
    return 3 * max((len(found) for found in voters.values()), default=0) > state.roster.active_count


def _votes_before_fork(state: ChainState, target_height: int) -> set[str]:
    """Voters for a checkpoint on our own chain, some of them perhaps after the fork."""
    checkpoint = state.finality.checkpoint(target_height)
    voters = checkpoint.voters if checkpoint else ()
    return {each.member for each in voters if state.finality.vote(target_height, each.member) is not None}
