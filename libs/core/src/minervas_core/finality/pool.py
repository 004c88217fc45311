"""Votes that a node has seen: what blocks may carry, and who contradicts himself (design section 5, finality)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from minervas_core.finality.votes import Vote, vote_order

MAX_VOTES_PER_VOTER = 64
"""Newest votes kept of each voter, beside those for heights that it voted for twice: at least an hour of 15 s blocks.
While finality pauses only the newest votes are of use."""

MAX_VERSIONS = 2
"""Votes kept of one voter for one height: two prove that it lies, and honest nodes may have seen either first."""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two votes that no honest voter makes; both signatures together prove it."""

    kind: Literal["double", "surround"]
    first: Vote
    """The vote that we saw first."""
    second: Vote


class VotePool:
    """Votes by voter and target height. Who adds a vote has checked its signature."""

    def __init__(self) -> None:
        self._votes: dict[str, dict[int, list[Vote]]] = {}

    def __len__(self) -> int:
        return sum(len(versions) for heights in self._votes.values() for versions in heights.values())

    def __iter__(self) -> Iterator[Vote]:
        """All votes, in block order."""
        votes = [vote for heights in self._votes.values() for versions in heights.values() for vote in versions]
        return iter(sorted(votes, key=lambda vote: (*vote_order(vote), vote.raw)))

    def __contains__(self, vote: Vote) -> bool:
        return vote in self._votes.get(vote.body.voter, {}).get(vote.body.target.height, ())

    def of(self, voter: str) -> list[Vote]:
        """A member's votes, lowest target first."""
        heights = self._votes.get(voter, {})
        return [vote for height in sorted(heights) for vote in heights[height]]

    def add(self, vote: Vote) -> bool:
        """Keep a vote; False if it is known, too old or one version too many."""
        heights = self._votes.setdefault(vote.body.voter, {})
        height = vote.body.target.height
        versions = heights.get(height, [])
        is_too_old = height not in heights and len(heights) >= MAX_VOTES_PER_VOTER and height < min(heights)
        if vote in versions or len(versions) >= MAX_VERSIONS or is_too_old:
            return False
        heights[height] = [*versions, vote]
        if len(heights) > MAX_VOTES_PER_VOTER:
            del heights[min(heights)]
        return True

    def contradiction(self, vote: Vote) -> Equivocation | None:
        """What a vote contradicts among those of its voter that are kept."""
        for other in self.of(vote.body.voter):
            kind = contradiction(other, vote)
            if kind is not None:
                return Equivocation(kind, other, vote)
        return None

    def forget_up_to(self, height: int) -> None:
        """Forget votes for targets up to a height; the newest of each voter stays, to recognise contradictions."""
        for heights in self._votes.values():
            newest = max(heights, default=0)
            for old in [each for each in heights if each <= height and each != newest]:
                del heights[old]


def contradiction(one: Vote, other: Vote) -> Literal["double", "surround"] | None:
    """How two votes of one member contradict each other (Casper FFG, commandments I and II)."""
    a, b = one.body, other.body
    if a == b:
        return None
    if a.target.height == b.target.height:
        return "double"
    inner, outer = sorted((a, b), key=lambda body: body.target.height)
    return "surround" if outer.source.height < inner.source.height else None
