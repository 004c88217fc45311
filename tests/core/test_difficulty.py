"""LWMA difficulty (minervas_core.difficulty)."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.difficulty import next_difficulty
from minervas_core.encoding import MAX_INTEGER
from minervas_core.genesis import Parameters

T = 15_000
PARAMETERS = Parameters(block_interval_ms=T, initial_difficulty=5_000_000, min_difficulty=1_000, lwma_window=20)

solve_times = st.lists(st.integers(1, 40 * T), min_size=21, max_size=40)
difficulties = st.integers(1_000, 10**12)


def history_of(solves: list[int], difficulty: int) -> list[tuple[int, int]]:
    """A chain's (time, difficulty) with these times between its blocks."""
    time_ms, history = 1_900_000_000_000, []
    for solve in solves:
        time_ms += solve
        history.append((time_ms, difficulty))
    return history


@pytest.mark.parametrize("length", [0, 1, 19])
def test_the_first_blocks_use_the_initial_difficulty(length: int) -> None:
    assert next_difficulty(history_of([1] * length, 7_000), PARAMETERS) == 5_000_000


def test_retargeting_begins_after_as_many_blocks_as_the_window() -> None:
    assert next_difficulty(history_of([T] * 20, 7_000), PARAMETERS) == 7_000


@given(solve_times, difficulties)
def test_it_is_the_linearly_weighted_moving_average_rounded_down(solves: list[int], difficulty: int) -> None:
    """Against zawy12's definition in exact fractions: mean difficulty x T / weighted mean solve time."""
    recent, n = solves[-20:], 20
    weighted = sum(Fraction(rank * solve) for rank, solve in enumerate(recent, 1)) / Fraction(n * (n + 1), 2)
    expected = max(floor(difficulty * T / weighted), 1_000)
    assert next_difficulty(history_of(solves, difficulty), PARAMETERS) == expected


@given(st.lists(difficulties, min_size=21, max_size=21))
def test_on_schedule_it_is_the_mean_difficulty_of_the_window(values: list[int]) -> None:
    history = [(1_900_000_000_000 + T * index, value) for index, value in enumerate(values)]
    assert next_difficulty(history, PARAMETERS) == sum(values[1:]) // 20


@given(solve_times, difficulties)
def test_only_the_window_and_one_block_before_it_matter(solves: list[int], difficulty: int) -> None:
    history = history_of(solves, difficulty)
    assert next_difficulty(history, PARAMETERS) == next_difficulty(history[-21:], PARAMETERS)


@given(solve_times, difficulties, st.integers(0, 19), st.integers(1, 10 * T))
def test_a_longer_solve_time_never_raises_it(solves: list[int], difficulty: int, index: int, more: int) -> None:
    slower = [*solves]
    slower[len(solves) - 1 - index] += more
    assert next_difficulty(history_of(slower, difficulty), PARAMETERS) <= next_difficulty(
        history_of(solves, difficulty), PARAMETERS
    )


@given(st.integers(0, 18))
def test_the_newest_solve_time_weighs_most(rank: int) -> None:
    older, newer = [T] * 21, [T] * 21
    older[1 + rank] *= 3
    newer[2 + rank] *= 3
    assert next_difficulty(history_of(newer, 10**9), PARAMETERS) < next_difficulty(history_of(older, 10**9), PARAMETERS)


def test_a_long_pause_lowers_it_at_once() -> None:
    pause = history_of([T] * 20 + [1_000 * T], 10**9)
    assert next_difficulty(pause, PARAMETERS) < 10**9 // 90


def test_a_burst_raises_it_without_a_clamp() -> None:
    assert next_difficulty(history_of([1] * 21, 10**6), PARAMETERS) == 10**6 * T


def test_it_never_falls_below_the_floor() -> None:
    assert next_difficulty(history_of([10**9] * 21, 1_000), PARAMETERS) == 1_000


def test_it_never_leaves_the_integers_of_the_protocol() -> None:
    assert next_difficulty(history_of([1] * 21, MAX_INTEGER), PARAMETERS) == MAX_INTEGER


def test_with_a_steady_hash_rate_it_settles_at_the_rate_times_the_interval() -> None:
    """Deterministic miners: a block takes difficulty / rate. From 50 times too hard, 100 blocks are enough."""
    tries_per_ms = 400
    history = history_of([T] * 21, 50 * tries_per_ms * T)
    for _ in range(100):
        difficulty = next_difficulty(history, PARAMETERS)
        history.append((history[-1][0] + max(difficulty // tries_per_ms, 1), difficulty))
    assert abs(history[-1][1] - tries_per_ms * T) <= tries_per_ms * T // 100
