"""Who may mine (minervas_core.diversity)."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.diversity import check_turn, excluded_blocks
from minervas_core.errors import Code, InvalidBlock
from minervas_core.genesis import Parameters

PARAMETERS = Parameters(diversity_per_mille=300, idle_intervals=10, block_interval_ms=15_000)
PARENT_MS = 1_900_000_000_000


@given(st.integers(0, 1000), st.integers(0, 10_000))
def test_the_excluded_blocks_follow_the_formula_exactly(per_mille: int, miners: int) -> None:
    formula = ceil(Fraction(per_mille, 1000) * miners) - 1
    assert excluded_blocks(miners, Parameters(diversity_per_mille=per_mille)) == max(formula, 0)


@pytest.mark.parametrize(
    ("miners", "excluded"), [(0, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (10, 2), (11, 3), (100, 29)]
)
def test_with_a_diversity_of_30_percent(miners: int, excluded: int) -> None:
    assert excluded_blocks(miners, PARAMETERS) == excluded


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_some_miner_is_always_free(per_mille: int, miners: int) -> None:
    assert excluded_blocks(miners, Parameters(diversity_per_mille=per_mille)) < miners


def check(time_ms: int, last_miners: list[str]) -> None:
    check_turn("a", time_ms, parent_time_ms=PARENT_MS, last_miners=last_miners, parameters=PARAMETERS)


def test_a_miner_of_none_of_the_last_blocks_may_mine() -> None:
    check(PARENT_MS + 1, ["b", "c"])
    check(PARENT_MS + 1, [])


@pytest.mark.parametrize("last_miners", [["a"], ["b", "a"]])
def test_a_miner_of_one_of_the_last_blocks_is_refused_and_told_when_it_is_free(last_miners: list[str]) -> None:
    with pytest.raises(InvalidBlock) as caught:
        check(PARENT_MS + 149_999, last_miners)
    assert caught.value.code == Code.BLOCK_MINER_TOO_SOON
    assert caught.value.values["idle_from_ms"] == PARENT_MS + 150_000


def test_ten_intervals_after_the_last_block_anybody_may_mine() -> None:
    check(PARENT_MS + 150_000, ["a"])
