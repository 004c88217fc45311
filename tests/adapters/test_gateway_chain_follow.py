"""The chain is always right: what its registers mean for our statements."""

from __future__ import annotations

from minervas_meter_gateway.chain_follow import KEPT_IN_BLOCK, follow_chain
from minervas_meter_gateway.channel_state import (
    ChannelState,
    Draft,
    Point,
    awaiting_baseline,
    continued_from,
    with_new_baseline,
)
from minervas_meter_gateway.spool import Statement


def points(count: int) -> list[Point]:
    return [Point(1_000 * number, 10 * number, number) for number in range(1, count + 1)]


def statements(count: int, *, in_block: int = 0) -> list[Statement]:
    """A chain of statements, the first few in blocks."""
    return [
        Statement(
            number,
            "pv1",
            "dc",
            Draft(start, end, measured=1, substituted=0, missing=0, root="0" * 64, reset=False),
            in_block=number < in_block,
        )
        for number, (start, end) in enumerate(zip(points(count), points(count + 1)[1:], strict=True))
    ]


def chain_at(point: Point) -> Point:
    """As the chain knows a point: without our number."""
    return Point(point.time_ms, point.register_wh)


TIP_MS = 100_000
AFTER = ChannelState(start=points(4)[3])


def test_a_new_channel_waits_for_its_baseline() -> None:
    assert follow_chain(ChannelState(), [], None, 77).state == awaiting_baseline(ChannelState(), 77)


def test_a_baseline_that_was_sampled_stays() -> None:
    state = ChannelState(start=points(1)[0])
    assert follow_chain(state, [], None, TIP_MS).state == state


def test_statements_up_to_the_chains_register_are_in_blocks() -> None:
    followed = follow_chain(AFTER, statements(3), chain_at(points(3)[2]), TIP_MS)
    assert [each.id for each in followed.changed if each.in_block] == [0, 1]
    assert followed.removed == ()
    assert followed.state == AFTER


def test_a_reorganisation_makes_statements_pending_again() -> None:
    followed = follow_chain(AFTER, statements(3, in_block=3), chain_at(points(2)[1]), TIP_MS)
    assert [(each.id, each.in_block) for each in followed.changed] == [(1, False), (2, False)]


def test_a_chain_that_forgot_everything_gets_everything_again() -> None:
    followed = follow_chain(AFTER, statements(3, in_block=3), None, TIP_MS)
    assert [each.in_block for each in followed.changed] == [False, False, False]


def test_pending_statements_that_begin_at_the_chain_stay() -> None:
    followed = follow_chain(AFTER, statements(3), chain_at(points(1)[0]), TIP_MS)
    assert (followed.changed, followed.removed, followed.restarted) == ((), (), False)


def test_a_lost_state_continues_from_the_chain() -> None:
    chain = Point(7_000, 70)
    followed = follow_chain(ChannelState(), [], chain, TIP_MS)
    assert followed.state == continued_from(ChannelState(), chain)


def test_statements_that_do_not_fit_the_chain_are_given_up() -> None:
    chain = Point(2_500, 22)
    followed = follow_chain(AFTER, statements(3), chain, TIP_MS)
    assert followed.restarted
    assert len(followed.removed) == 3
    assert followed.state.start == chain


def test_a_channel_that_continues_from_the_chain_is_left_alone() -> None:
    chain = Point(7_000, 70)
    state = continued_from(ChannelState(), chain)
    assert follow_chain(state, [], chain, TIP_MS).state == state


def test_a_declared_baseline_need_not_be_at_the_chains_register() -> None:
    chain = chain_at(points(3)[2])
    reset = ChannelState(start=Point(9_000, 0, 9), reset=True)
    assert not follow_chain(reset, [], chain, TIP_MS).restarted
    assert not follow_chain(with_new_baseline(reset), [], chain, TIP_MS).restarted
    too_early = ChannelState(start=Point(1, 0, 9), reset=True)
    assert follow_chain(too_early, [], chain, TIP_MS).restarted


def test_old_statements_are_forgotten_once_they_are_deep_enough() -> None:
    many = statements(KEPT_IN_BLOCK + 5, in_block=KEPT_IN_BLOCK)
    followed = follow_chain(AFTER, many, chain_at(many[-1].draft.end), TIP_MS)
    assert [each.id for each in followed.removed] == [0, 1, 2, 3, 4]
    assert {each.id for each in followed.changed} == set(range(KEPT_IN_BLOCK, KEPT_IN_BLOCK + 5))
