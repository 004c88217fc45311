"""Ticks on a monotonic clock, and pauses for what does not answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minervas_meter_gateway.schedule import BackOff, TickSchedule


def test_a_late_tick_does_not_move_the_next_ones() -> None:
    schedule = TickSchedule(1_000, 1_000)
    assert schedule.take(1_000) == 0
    assert schedule.wait_ms(1_300) == 700
    assert schedule.take(2_400) == 0
    assert schedule.wait_ms(2_400) == 600


def test_ticks_that_were_slept_through_are_counted_once() -> None:
    schedule = TickSchedule(0, 1_000)
    assert schedule.take(0) == 0
    assert schedule.take(3_500) == 2
    assert schedule.wait_ms(3_500) == 500


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=50))
def test_taken_and_missed_ticks_together_are_the_time_that_passed(delays_ms: list[int]) -> None:
    schedule = TickSchedule(0, 1_000)
    now_ms = taken = missed = 0
    for delay_ms in delays_ms:
        now_ms += max(delay_ms, schedule.wait_ms(now_ms))
        missed += schedule.take(now_ms)
        taken += 1
    assert taken + missed == now_ms // 1_000 + 1


def test_the_first_failures_are_forgiven() -> None:
    pause = BackOff(tolerated=2, first_ms=2_000, longest_ms=30_000)
    pause.failed(0)
    pause.failed(0)
    assert pause.is_due(0)
    assert not pause.active


def test_pauses_double_up_to_the_longest() -> None:
    pause = BackOff(tolerated=0, first_ms=2_000, longest_ms=30_000)
    pauses = []
    now_ms = 0
    for _ in range(7):
        pause.failed(now_ms)
        start_ms = now_ms
        while not pause.is_due(now_ms):
            now_ms += 1_000
        pauses.append(now_ms - start_ms)
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]


def test_success_ends_all_pauses() -> None:
    pause = BackOff(tolerated=0, first_ms=2_000, longest_ms=30_000)
    pause.failed(0)
    assert pause.active
    pause.succeeded()
    assert not pause.active
    assert pause.is_due(0)
