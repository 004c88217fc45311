"""What statements say: they start where the last one ended, mint what the register rose, and declare resets."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.metering import Reading, readings_root
from minervas_meter_gateway.channel_state import (
    QUIET_MS,
    ChannelState,
    Draft,
    Point,
    advance,
    awaiting_baseline,
    close_if_over,
    continued_from,
    slot_of,
)
from tests.support.gateway import reading

SLOT_MS = 10_000
T0 = 1_000_000
"""The end of a slot; the first sample of the next is a millisecond later."""


class Channel:
    """A channel that is fed readings; registered and without a baseline unless told otherwise."""

    def __init__(self, state: ChannelState | None = None) -> None:
        self.state = awaiting_baseline(ChannelState(), T0) if state is None else state
        self.drafts: list[Draft] = []
        self.readings: list[Reading] = []

    def feed(self, time_ms: int, energy_mwh: int | None, *, usable: bool = True, new_baseline: bool = False) -> None:
        """Take in a reading."""
        taken = reading(len(self.readings), time_ms, energy_mwh)
        self.readings.append(taken)
        self.state, drafts = advance(self.state, taken, usable=usable, new_baseline=new_baseline, slot_ms=SLOT_MS)
        self.drafts += drafts

    def pass_slot(self, now_ms: int) -> None:
        """Let time pass without readings."""
        self.state, drafts = close_if_over(self.state, now_ms=now_ms, slot_ms=SLOT_MS)
        self.drafts += drafts


def test_a_sample_at_the_very_end_of_a_slot_still_counts_for_it() -> None:
    assert slot_of(T0, SLOT_MS) == slot_of(T0 - 1, SLOT_MS) == slot_of(T0 + 1, SLOT_MS) - 1


def test_a_channel_that_is_not_registered_states_nothing() -> None:
    channel = Channel(ChannelState())
    for second in range(60):
        channel.feed(T0 + second * 1_000, second * 1_000_000)
    channel.pass_slot(T0 + 600_000)
    assert channel.drafts == []
    assert channel.state.start is None


def test_the_first_good_sample_is_the_baseline_and_mints_nothing() -> None:
    channel = Channel()
    channel.feed(T0 - 1, 1_000)  # before the block that told us of the registration
    channel.feed(T0 + 1_000, None)
    channel.feed(T0 + 2_000, 5_999_999)
    channel.feed(T0 + 4_000, 9_000_500)
    channel.pass_slot(T0 + SLOT_MS + 1)
    (draft,) = channel.drafts
    assert draft.start == Point(T0 + 2_000, 5_999, 2)
    assert draft.end == Point(T0 + 4_000, 9_000, 3)
    assert draft.energy_wh == 3_001
    assert not draft.reset
    assert (draft.measured, draft.missing) == (1, 0)
    assert draft.root == readings_root(channel.readings[2:])


def test_the_end_is_the_last_good_sample_of_the_slot() -> None:
    channel = Channel()
    channel.feed(T0 + 1_000, 0)
    channel.feed(T0 + 9_000, 2_000_000)
    channel.feed(T0 + 9_500, None)
    channel.feed(T0 + SLOT_MS + 500, 3_000_000)
    (draft,) = channel.drafts
    assert draft.end.time_ms == T0 + 9_000
    assert draft.missing == 0
    channel.pass_slot(T0 + 3 * SLOT_MS)
    later = channel.drafts[1]
    assert later.start == draft.end
    assert (later.measured, later.missing, later.energy_wh) == (1, 1, 1_000)
    assert later.root == readings_root(channel.readings[1:])


def test_a_slot_with_gaps_still_settles_on_the_register() -> None:
    channel = Channel()
    channel.feed(T0 + 1_000, 0)
    for second in range(2, 9):
        channel.feed(T0 + second * 1_000, None)
    channel.feed(T0 + 9_000, 7_000)
    channel.pass_slot(T0 + SLOT_MS + 1)
    (draft,) = channel.drafts
    assert (draft.energy_wh, draft.measured, draft.missing) == (7, 1, 7)


def test_a_statement_after_an_outage_spans_slots() -> None:
    channel = Channel()
    channel.feed(T0 + 1_000, 0)
    channel.feed(T0 + 50 * SLOT_MS + 1_000, 9_000)
    channel.pass_slot(T0 + 52 * SLOT_MS)
    (draft,) = channel.drafts
    assert slot_of(draft.end.time_ms, SLOT_MS) - slot_of(draft.start.time_ms, SLOT_MS) == 50


def test_nothing_is_stated_without_energy_but_at_least_once_an_hour() -> None:
    channel = Channel()
    for number in range(QUIET_MS // SLOT_MS + 2):
        channel.feed(T0 + 1_000 + number * SLOT_MS, 4_000)
    (draft,) = channel.drafts
    assert draft.energy_wh == 0
    assert draft.end.time_ms - draft.start.time_ms >= QUIET_MS


def test_a_reset_closes_the_statement_before_it_and_declares_a_baseline() -> None:
    channel = Channel()
    channel.feed(T0 + 1_000, 0)
    channel.feed(T0 + 2_000, 8_000)
    channel.feed(T0 + 5_000, 1_000, new_baseline=True)
    channel.feed(T0 + 6_000, 4_000)
    channel.pass_slot(T0 + SLOT_MS + 1)
    before, after = channel.drafts
    assert (before.energy_wh, before.reset, before.end.time_ms) == (8, False, T0 + 2_000)
    assert (after.energy_wh, after.reset) == (3, True)
    assert after.start == Point(T0 + 5_000, 1, 2)
    assert after.root == readings_root(channel.readings[2:])


def test_a_register_below_the_chains_is_a_reset_also_after_a_loss_of_our_state() -> None:
    channel = Channel(continued_from(ChannelState(), Point(T0, 500)))
    channel.feed(T0 + 1_000, 20_000)
    channel.feed(T0 + 2_000, 21_000)
    channel.pass_slot(T0 + 2 * SLOT_MS)
    (draft,) = channel.drafts
    assert draft.reset
    assert (draft.start, draft.energy_wh) == (Point(T0 + 1_000, 20, 0), 1)


def test_after_a_loss_of_our_state_the_statement_starts_where_the_chain_is() -> None:
    channel = Channel(continued_from(ChannelState(), Point(T0, 500)))
    channel.feed(T0 + 1_000, 503_900)
    channel.pass_slot(T0 + 2 * SLOT_MS)
    (draft,) = channel.drafts
    assert draft.start == Point(T0, 500)
    assert (draft.energy_wh, draft.reset) == (3, False)
    assert draft.root == readings_root(channel.readings)


def test_samples_under_an_untrusted_clock_are_counted_but_end_nothing() -> None:
    channel = Channel()
    channel.feed(T0 + 1_000, 0)
    channel.feed(T0 + 2_000, 2_000)
    channel.feed(T0 + 3_000, 3_000, usable=False)
    channel.feed(T0 + SLOT_MS + 3_000, 9_000, usable=False)
    assert channel.drafts == []
    channel.feed(T0 + SLOT_MS + 4_000, 10_000)
    (draft,) = channel.drafts
    assert (draft.end.time_ms, draft.energy_wh) == (T0 + 2_000, 2)
    channel.pass_slot(T0 + 4 * SLOT_MS)
    assert channel.drafts[1].measured == 3
    assert channel.drafts[1].energy_wh == 8


def test_a_clock_that_goes_back_never_makes_an_end_before_its_start() -> None:
    channel = Channel()
    channel.feed(T0 + 5_000, 0)
    channel.feed(T0 + 4_000, 1_000)
    channel.feed(T0 + 5_000, 2_000)
    assert channel.state.end is None
    channel.feed(T0 + 6_000, 3_000)
    assert channel.state.end == Point(T0 + 6_000, 3, 3)
    assert channel.state.measured == 3


Step = st.tuples(
    st.integers(1, 25_000),
    st.one_of(st.none(), st.integers(0, 3_000)),
    st.booleans(),
    st.integers(0, 9).map(lambda number: number == 0),
)


@given(st.lists(Step, max_size=80))
def test_any_history_mints_exactly_what_the_registers_rose(steps: list[tuple[int, int | None, bool, bool]]) -> None:
    channel = Channel()
    time_ms, energy_mwh = T0, 0
    for elapsed_ms, rise_mwh, usable, reset in steps:
        time_ms += elapsed_ms
        if rise_mwh is not None:
            energy_mwh = 0 if reset else energy_mwh + rise_mwh
        channel.feed(
            time_ms,
            None if rise_mwh is None else energy_mwh,
            usable=usable,
            new_baseline=reset and rise_mwh is not None,
        )
    channel.pass_slot(time_ms + QUIET_MS)
    by_sequence = {each.sequence: each for each in channel.readings}
    for draft in channel.drafts:
        first, last = by_sequence[draft.start.sequence], by_sequence[draft.end.sequence]
        span = channel.readings[first.sequence : last.sequence + 1]
        assert draft.root == readings_root(span)
        assert draft.measured + draft.missing == len(span) - 1
        assert draft.missing == sum(1 for each in span if each.quality == "missing")
        assert isinstance(first.energy_mwh, int)
        assert isinstance(last.energy_mwh, int)
        assert draft.energy_wh == last.energy_mwh // 1000 - first.energy_mwh // 1000 >= 0
        assert draft.end.time_ms > draft.start.time_ms
    for earlier, later in zip(channel.drafts, channel.drafts[1:], strict=False):
        assert later.reset or later.start == earlier.end
        assert later.start.time_ms >= earlier.end.time_ms


def test_a_reading_taken_by_hand_is_counted_by_itself() -> None:
    channel = Channel(continued_from(ChannelState(), Point(T0, 100)))
    channel.feed(T0 + 1_000, 101_000)
    channel.feed(T0 + 2_000, None)
    by_hand = msgspec.structs.replace(
        reading(2, T0 + 3_000, 102_000), quality="substituted", fault="timeout", power_mw=msgspec.UNSET
    )
    channel.state, _ = advance(channel.state, by_hand, usable=True, new_baseline=False, slot_ms=SLOT_MS)
    channel.pass_slot(T0 + SLOT_MS + 1)
    (draft,) = channel.drafts
    assert (draft.energy_wh, draft.measured, draft.substituted, draft.missing) == (2, 1, 1, 1)
