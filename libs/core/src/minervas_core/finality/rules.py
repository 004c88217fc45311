"""What votes in blocks do: justify checkpoints and make them final (design section 5, finality).

Everything here follows from the chain's own blocks alone, so that every node gives the same answer. The safety argument
is in spec/finality.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from minervas_core.errors import Code, InvalidVote
from minervas_core.finality.state import (
    ChainVote,
    CheckpointRecord,
    Finality,
    FinalityHead,
    Voter,
    checkpoint_key,
    vote_key_of,
)
from minervas_core.finality.votes import Checkpoint, Vote, check_vote_signature, vote_order
from minervas_core.genesis import Genesis
from minervas_core.roster import MemberRecord, Roster

MAX_OPEN_CHECKPOINTS = 64
"""A checkpoint that is not justified when so many stand above it is forgotten: members vote for the newest."""


def apply_votes(finality: Finality, votes: Sequence[Vote], height: int, genesis: Genesis) -> None:
    """Check and apply the votes of the block at `height`, which stand in their order, before its transactions.

    Raises:
        InvalidVote: as `check_vote`.
    """
    for target_height, group in groupby(votes, key=lambda vote: vote.body.target.height):
        sources: set[int] = set()
        for vote in group:
            check_vote(finality, vote, genesis)
            sources.add(vote.body.source.height)
            record = ChainVote(source_height=vote.body.source.height, included_height=height)
            finality.put_vote(target_height, vote.body.voter, record)
        for source_height in sorted(sources):
            _count_link(finality, source_height, target_height, genesis)


def choose_votes(
    finality: Finality, candidates: Iterable[Vote], height: int, genesis: Genesis, max_count: int
) -> tuple[Vote, ...]:
    """Those of the candidates that the block at `height` can carry; applies them to `finality`."""
    chosen: list[Vote] = []
    ordered = sorted(candidates, key=vote_order)
    for _, group in groupby(ordered, key=lambda vote: vote.body.target.height):
        fitting: dict[str, Vote] = {}
        for vote in group:
            if len(chosen) + len(fitting) < max_count and vote.body.voter not in fitting:
                fitting |= _if_valid(finality, vote, genesis)
        apply_votes(finality, list(fitting.values()), height, genesis)
        chosen += fitting.values()
    return tuple(chosen)


def check_vote(finality: Finality, vote: Vote, genesis: Genesis) -> None:
    """Check a vote for a block upon a chain with this state.

    Raises:
        InvalidVote: ``vote_target`` (not a checkpoint of this chain above the final one), ``vote_source`` (not a
            justified checkpoint of this chain at or above the final one), ``vote_twice`` (the chain has one of this
            voter for this height), ``vote_not_voter``, ``wrong_network`` or ``bad_signature``.
    """
    body = vote.body
    head = finality.head(genesis.hash)
    target = finality.checkpoint(body.target.height)
    if target is None or target.hash != body.target.hash or body.target.height <= head.final.height:
        raise _refused(vote, Code.VOTE_TARGET, "Not for an open checkpoint of this chain")
    if not _is_justified(finality, head, body.source):
        raise _refused(vote, Code.VOTE_SOURCE, "Not from a justified checkpoint of this chain")
    if finality.vote(body.target.height, body.voter) is not None:
        raise _refused(vote, Code.VOTE_TWICE, "The chain carries a vote of this member for this height")
    vote_key = next((each.vote_key for each in target.voters if each.member == body.voter), None)
    if vote_key is None:
        raise _refused(vote, Code.VOTE_NOT_VOTER, "Not by a voter of this checkpoint")
    check_vote_signature(vote, genesis.network, vote_key)


def note_checkpoint(finality: Finality, roster: Roster, height: int, block_hash: str, genesis: Genesis) -> None:
    """Remember the block at `height`, whose state has this roster, if it is a checkpoint."""
    if height % genesis.parameters.vote_interval:
        return
    head = finality.head(genesis.hash)
    having_vote = {record.member: record for record in roster.active_members() if has_vote(record)}
    members = sorted(having_vote)
    # Without the last resort, finality would end for ever once all voters of the final checkpoint are revoked.
    current = _still(finality, head.final.height, having_vote) or members
    previous = _still(finality, head.previous_final_height, having_vote) if head.previous_final_height else []
    voters = [Voter(member=member, vote_key=having_vote[member].keys.vote) for member in sorted({*current, *previous})]
    record = CheckpointRecord(hash=block_hash, members=members, voters=voters, current=current, previous=previous)
    finality.put_checkpoint(height, record)
    _forget_stale(finality, height, genesis)


def has_vote(record: MemberRecord) -> bool:
    """Whether a member's votes count from the next checkpoint on."""
    return record.status == "active" and record.suspended_height == 0


def has_supermajority(voted: set[str], checkpoint: CheckpointRecord, least_voters: int = 1) -> bool:
    """Whether more than two thirds of both sets of voters are among those who voted.

    Args:
        voted: members that voted for a link to the checkpoint.
        checkpoint: the target.
        least_voters: how many current voters there must be.
    """
    if len(checkpoint.current) < least_voters:
        return False
    sets = [checkpoint.current, checkpoint.previous] if checkpoint.previous else [checkpoint.current]
    return all(3 * len(voted.intersection(members)) > 2 * len(members) for members in sets)


def voted_for(finality: Finality, source_height: int, target_height: int) -> set[str]:
    """Members whose votes for this link the chain carries."""
    target = finality.checkpoint(target_height)
    if target is None:
        return set()
    votes = ((each.member, finality.vote(target_height, each.member)) for each in target.voters)
    return {member for member, vote in votes if vote is not None and vote.source_height == source_height}


def missing_voters(finality: Finality, tip_height: int, genesis: Genesis) -> list[str]:
    """Who has not voted for the newest checkpoint that was due: those whom finality waits for, if it pauses."""
    interval = genesis.parameters.vote_interval
    height = (tip_height - interval) // interval * interval
    target = finality.checkpoint(height) if height > 0 else None
    if target is None or target.justified:
        return []
    return [each.member for each in target.voters if finality.vote(height, each.member) is None]


def _count_link(finality: Finality, source_height: int, target_height: int, genesis: Genesis) -> None:
    """Justify the target if the link has its supermajority, and make the source final if the target is the next one."""
    target, head = finality.checkpoint(target_height), finality.head(genesis.hash)
    least_voters = genesis.parameters.founding_voters if head.final.height == 0 else 1
    voted = voted_for(finality, source_height, target_height)
    if target is None or not has_supermajority(voted, target, least_voters):
        return
    if not target.justified:
        finality.put_checkpoint(target_height, msgspec.structs.replace(target, justified=True))
        if target_height > head.justified.height:
            highest = Checkpoint(height=target_height, hash=target.hash)
            head = msgspec.structs.replace(head, justified=highest)
            finality.put_head(head)
    if target_height == source_height + genesis.parameters.vote_interval and source_height > head.final.height:
        _finalise(finality, source_height, head, genesis)


def _finalise(finality: Finality, height: int, head: FinalityHead, genesis: Genesis) -> None:
    """Make a justified checkpoint final and forget what no rule asks for any more.

    Two final checkpoints stay, for their members are the voters of what comes.
    """
    before, interval = head.final.height, genesis.parameters.vote_interval
    source = finality.checkpoint(height)
    if source is None:
        raise KeyError(height)
    for passed in range(before + interval, height + 1, interval):
        _forget_votes(finality, passed)
    for passed in (head.previous_final_height, *range(before + interval, height, interval)):
        if finality.checkpoint(passed) is not None:
            finality.checkpoints.drop(checkpoint_key(passed))
    final = Checkpoint(height=height, hash=source.hash)
    finality.put_head(msgspec.structs.replace(head, final=final, previous_final_height=before))


def _forget_stale(finality: Finality, height: int, genesis: Genesis) -> None:
    """Forget the checkpoint that has waited too long for its votes: while finality pauses, the state shall not grow."""
    stale = height - MAX_OPEN_CHECKPOINTS * genesis.parameters.vote_interval
    record = finality.checkpoint(stale) if stale > 0 else None
    if record is not None and not record.justified:
        _forget_votes(finality, stale)
        finality.checkpoints.drop(checkpoint_key(stale))


def _forget_votes(finality: Finality, target_height: int) -> None:
    target = finality.checkpoint(target_height)
    for voter in target.voters if target else ():
        if finality.vote(target_height, voter.member) is not None:
            finality.votes.drop(vote_key_of(target_height, voter.member))


def _is_justified(finality: Finality, head: FinalityHead, source: Checkpoint) -> bool:
    """Whether a checkpoint can be a source: justified in this chain, and not below its final one."""
    if source.height < head.final.height:
        return False
    if source.height == 0:
        return source == head.final
    record = finality.checkpoint(source.height)
    return record is not None and record.justified and record.hash == source.hash


def _still(finality: Finality, height: int, having_vote: dict[str, MemberRecord]) -> list[str]:
    """Members of a checkpoint that still have the vote."""
    record = finality.checkpoint(height)
    return [member for member in record.members if member in having_vote] if record else []


def _if_valid(finality: Finality, vote: Vote, genesis: Genesis) -> dict[str, Vote]:
    try:
        check_vote(finality, vote, genesis)
    except InvalidVote:
        return {}
    return {vote.body.voter: vote}


def _refused(vote: Vote, code: Code, message: str) -> InvalidVote:
    body = vote.body
    return InvalidVote(
        code, message, voter=body.voter, source_height=body.source.height, target_height=body.target.height
    )
