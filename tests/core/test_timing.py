"""Time rules of blocks (minervas_core.timing)."""

from __future__ import annotations

import pytest

from minervas_core.blocks import Header
from minervas_core.errors import BlockFromTheFuture, Code, InvalidBlock
from minervas_core.genesis import Parameters
from minervas_core.timing import check_after_parent, check_not_from_future, earliest_time_ms, is_from_future
from tests.support.builders import LocalChain

PARAMETERS = Parameters(block_interval_ms=15_000, max_ahead_intervals=2)
NOW_MS = 1_900_000_000_000


def header_at(time_ms: int) -> Header:
    return LocalChain().mine("a", time_ms=time_ms).header


def test_a_block_may_be_up_to_two_intervals_ahead_of_our_clock() -> None:
    check_not_from_future(header_at(NOW_MS + 30_000), NOW_MS, PARAMETERS)
    assert not is_from_future(header_at(NOW_MS + 30_000), NOW_MS, PARAMETERS)


def test_a_block_further_ahead_is_nobodys_fault_and_says_what_is_acceptable() -> None:
    with pytest.raises(BlockFromTheFuture) as caught:
        check_not_from_future(header_at(NOW_MS + 30_001), NOW_MS, PARAMETERS)
    assert caught.value.code == Code.BLOCK_TIME_TOO_NEW
    assert caught.value.values["latest_ms"] == NOW_MS + 30_000


def test_a_block_one_millisecond_after_its_predecessor_is_in_time() -> None:
    check_after_parent(header_at(NOW_MS), NOW_MS - 1)


@pytest.mark.parametrize("behind_ms", [0, 1])
def test_a_block_not_after_its_predecessor_is_refused(behind_ms: int) -> None:
    with pytest.raises(InvalidBlock) as caught:
        check_after_parent(header_at(NOW_MS), NOW_MS + behind_ms)
    assert caught.value.code == Code.BLOCK_TIME_TOO_OLD


def test_a_new_block_carries_our_clock_but_lies_above_its_predecessor() -> None:
    assert earliest_time_ms(NOW_MS, NOW_MS - 5) == NOW_MS
    assert earliest_time_ms(NOW_MS, NOW_MS) == NOW_MS + 1
    assert earliest_time_ms(NOW_MS, NOW_MS + 20_000) == NOW_MS + 20_001
