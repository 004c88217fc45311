"""What the chain's knowledge of a channel means for our statements of it. Pure.

The chain is always right: a statement counts when the chain's register for the channel is at its end, and whatever does
not fit the chain is given up and stated anew from there. A reorganisation, a lost spool or a second gateway can thus
delay a statement, but energy is never minted twice: the chain takes a statement only from where its last one ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minervas_meter_gateway.channel_state import ChannelState, Point, awaiting_baseline, continued_from
from minervas_meter_gateway.spool import Statement

KEPT_IN_BLOCK = 20
"""Statements of a channel that are kept after they got into a block, so that a reorganisation finds them."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What to change."""

    state: ChannelState
    changed: tuple[Statement, ...] = ()
    """Statements that got into a block, or fell out of one."""
    removed: tuple[Statement, ...] = ()
    restarted: bool = False
    """Whether our knowledge did not fit the chain."""


def follow_chain(
    state: ChannelState, statements: Sequence[Statement], chain: Point | None, tip_time_ms: int
) -> Followed:
    """Compare a registered channel with the chain.

    Args:
        state: of the channel.
        statements: those that are kept, oldest first.
        chain: where the chain's register stands; None before the first statement.
        tip_time_ms: of the block that says so.
    """
    if chain is None:
        return _before_the_first(state, statements, tip_time_ms)
    reached = [number for number, each in enumerate(statements, start=1) if _is_at(each.draft.end, chain)]
    if reached:
        return _settled(state, statements, reached[-1])
    first = statements[0].draft if statements else None
    fits = _follows(first.start, chain, reset=first.reset) if first else _state_follows(state, chain)
    if fits:
        return _settled(state, statements, 0)
    return Followed(continued_from(state, chain), removed=tuple(statements), restarted=True)


def _before_the_first(state: ChannelState, statements: Sequence[Statement], tip_time_ms: int) -> Followed:
    """The chain has no statement of the channel (any more): ours, if any, are still to come."""
    if statements:
        return _settled(state, statements, 0)
    has_baseline = state.waiting or (state.start is not None and state.start.sequence >= 0)
    return Followed(state if has_baseline else awaiting_baseline(state, tip_time_ms))


def _settled(state: ChannelState, statements: Sequence[Statement], in_block: int) -> Followed:
    """The first `in_block` statements are in blocks, the others are not."""
    forgotten = max(0, in_block - KEPT_IN_BLOCK)
    changed = tuple(
        replace(each, in_block=number < in_block)
        for number, each in enumerate(statements)
        if number >= forgotten and each.in_block != (number < in_block)
    )
    return Followed(state, changed=changed, removed=tuple(statements[:forgotten]))


def _is_at(point: Point, chain: Point) -> bool:
    return (point.time_ms, point.register_wh) == (chain.time_ms, chain.register_wh)


def _follows(start: Point, chain: Point, *, reset: bool) -> bool:
    """Whether the chain takes a statement with this start: a new baseline only has to be later."""
    return _is_at(start, chain) or (reset and start.time_ms >= chain.time_ms)


def _state_follows(state: ChannelState, chain: Point) -> bool:
    if state.start is None:
        return state.waiting and state.reset
    return _follows(state.start, chain, reset=state.reset)
