"""Whether the votes on a side branch are worth connecting it for a trial.

A branch with less work than ours leads all the same if its votes justify a higher checkpoint. Whether they do, only its
state can say; but most forks carry far too few votes, and that can be counted without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minervas_core.finality.rules import voted_for
from minervas_core.state import ChainState
from minervas_core.tree import BlockTree, HeaderNode, TriedLink

EVERY = 32
"""However few votes it seems to have, a growing branch is tried every so many blocks: its roster may have shrunk. The
longer it is, the more a trial costs, and the less often it is tried."""


def may_justify(head: HeaderNode, tree: BlockTree, state: ChainState, *, above: int) -> bool:
    """Whether the branch up to `head` carries votes of a third of the members for one checkpoint higher than `above`.

    A third is less than is needed by the roster at our tip, which leaves room for another roster on the branch. What
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


def _links(
    fork: HeaderNode, path: Sequence[HeaderNode], state: ChainState, above: int
) -> Iterator[tuple[TriedLink, bool]]:
    """Links to checkpoints higher than `above` with their voters on the branch, and whether these are many.

    Those who voted before the fork count too, and with them some who voted after it, on our own chain.
    """
    links: dict[tuple[int, int], set[str]] = {}
    for ballot in (each for node in path for each in node.ballots or ()):
        if ballot.target_height > above:
            links.setdefault((ballot.source_height, ballot.target_height), set()).add(ballot.voter)
    for (source_height, target_height), voters in links.items():
        elsewhere = voted_for(state.finality, source_height, target_height) if target_height <= fork.height else set()
        is_many = 3 * len(voters | elsewhere) > state.roster.active_count
        yield TriedLink(source_height, target_height, frozenset(voters)), is_many


def _says_nothing_new(link: TriedLink, before: TriedLink, fork_height: int) -> bool:
    """Whether a link cannot have its majority because another one had none.

    Of a link to a checkpoint below the fork the branch does not show all voters: only the same link tells about it.
    """
    is_same = (link.source_height, link.target_height) == (before.source_height, before.target_height)
    return (is_same or link.target_height > fork_height) and link.voters <= before.voters
