"""Blocks that can not be judged yet: orphans and blocks from the future (minervas_core.chain, holding)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core import holding
from minervas_core.blocks import Block
from minervas_core.errors import BlockFromTheFuture, Code, TransientFault
from minervas_core.holding import HeldBlocks
from minervas_core.tree import HeaderNode
from tests.support.builders import TINY, LocalChain, altered, find_nonce, mine_block, sign_block
from tests.support.examples import examples

AHEAD_MS = TINY.max_ahead_intervals * TINY.block_interval_ms


def founded() -> LocalChain:
    local = LocalChain()
    local.found("a", "b", "c")
    return local


@pytest.fixture
def local() -> LocalChain:
    return founded()


def run_of_blocks(local: LocalChain, count: int) -> list[Block]:
    """Blocks upon the tip that the chain has not seen."""
    blocks: list[Block] = []
    node = local.tip
    for step in range(count):
        block = mine_block(node, [], "bca"[step % 3], local.genesis)
        node = HeaderNode(block.hash, block.header, node, node.work + block.header.difficulty)
        blocks.append(block)
    return blocks


# orphans


def test_a_block_whose_predecessor_is_unknown_waits(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    outcome = local.receive(second)
    assert outcome.status == "orphan"
    assert isinstance(outcome.error, TransientFault)
    assert outcome.error.code == Code.BLOCK_UNKNOWN_PARENT
    assert outcome.error.values == {"prev": first.hash}
    assert local.chain.held_blocks == (1, 0)
    assert local.store.blocks.keys() == {local.tip.hash}


def test_orphans_are_taken_in_with_the_block_that_they_waited_for(local: LocalChain) -> None:
    blocks = run_of_blocks(local, 4)
    for block in blocks[:0:-1]:
        assert local.receive(block).status == "orphan"
    outcome = local.receive(blocks[0])
    assert outcome.status == "connected"
    assert [each.block for each in outcome.stored] == blocks
    assert outcome.change is not None
    assert [each.block for each in outcome.change.connected] == blocks
    assert local.tip.hash == blocks[-1].hash
    assert local.chain.held_blocks == (0, 0)


@settings(max_examples=examples(25), deadline=None)
@given(st.permutations(range(6)))
def test_blocks_in_any_order_make_the_same_chain(order: list[int]) -> None:
    local = founded()
    blocks = run_of_blocks(local, 6)
    for index in order:
        local.receive(blocks[index])
    assert local.tip.hash == blocks[-1].hash
    assert local.chain.held_blocks == (0, 0)


def test_an_orphan_that_turns_out_bad_does_not_spoil_its_predecessor(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    bad = altered(second, difficulty=second.header.difficulty + 1)
    above = altered(second, prev=bad.hash, height=4)
    assert local.receive(above).status == "orphan"
    assert local.receive(bad).status == "orphan"
    outcome = local.receive(first)
    assert outcome.status == "connected"
    assert [(each, error.code) for each, error in outcome.refused] == [(bad.hash, Code.BLOCK_DIFFICULTY)]
    assert outcome.invalid == (), "its header never cost the work due"


def test_an_orphan_without_work_is_refused_at_once(local: LocalChain) -> None:
    block = run_of_blocks(local, 2)[1]
    cheap = sign_block(find_nonce(block.header.draft()).draft().with_nonce(0), [])
    nonces = itertools.count()
    while int(cheap.hash, 16) < (2**256 - 1) // cheap.header.difficulty:
        cheap = sign_block(block.header.draft().with_nonce(next(nonces)), [])
    outcome = local.receive(cheap)
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_WORK
    assert local.chain.held_blocks == (0, 0)


def test_the_newest_copy_of_an_orphan_counts(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    local.receive(sign_block(second.header, [], signer="nobody"))
    local.receive(second)
    assert local.chain.held_blocks == (1, 0)
    local.receive(first)
    assert local.tip.hash == second.hash


def test_a_block_over_an_announced_header_waits_for_its_body(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    local.chain.receive_headers([first.header, second.header], second.header.time_ms)
    assert local.receive(second).status == "orphan"
    assert local.chain.missing_bodies(10) == [first.hash], "what waits here need not be fetched"
    assert local.receive(first).status == "connected"
    assert local.tip.hash == second.hash


# from the future


def test_a_block_too_far_ahead_is_kept_aside_and_taken_when_its_time_comes(local: LocalChain) -> None:
    block = local.mine("b")
    now_ms = block.header.time_ms - AHEAD_MS - 1
    outcome = local.receive(block, now_ms)
    assert outcome.status == "postponed"
    assert isinstance(outcome.error, BlockFromTheFuture)
    assert outcome.error.code == Code.BLOCK_TIME_TOO_NEW
    assert local.chain.held_blocks == (0, 1)
    assert local.chain.tree.get(block.hash) is None

    assert local.chain.release_postponed(now_ms) == []
    assert local.chain.release_postponed(now_ms + 1) == [block]
    assert local.chain.held_blocks == (0, 0)
    assert local.receive(block, now_ms + 1).status == "connected"


def test_what_stands_above_a_postponed_block_waits_with_it(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    now_ms = first.header.time_ms - AHEAD_MS - 1
    assert local.receive(first, now_ms).status == "postponed"
    assert local.receive(second, now_ms).status == "orphan"
    later_ms = second.header.time_ms
    for block in local.chain.release_postponed(later_ms):
        assert local.receive(block, later_ms).status == "connected"
    assert local.tip.hash == second.hash


def test_an_orphan_from_the_future_is_postponed_once_its_predecessor_is_here(local: LocalChain) -> None:
    first, second = run_of_blocks(local, 2)
    now_ms = second.header.time_ms - AHEAD_MS - 1
    assert local.receive(second, now_ms).status == "orphan"
    outcome = local.receive(first, now_ms)
    assert outcome.status == "connected"
    assert [error.code for _, error in outcome.refused] == [Code.BLOCK_TIME_TOO_NEW]
    assert local.chain.held_blocks == (0, 1)


def test_a_bad_block_from_the_future_is_refused_at_once(local: LocalChain) -> None:
    block = altered(local.mine("b"), difficulty=9)
    outcome = local.receive(block, 0)
    assert (outcome.status, local.chain.held_blocks) == ("refused", (0, 0))


def test_postponed_blocks_come_back_lowest_first(local: LocalChain) -> None:
    blocks = [local.mine("b", start=start) for start in (100, 200)]
    high = altered(local.mine("c"), height=5)
    buffer = HeldBlocks(max_count=5)
    for block in (high, *blocks):
        buffer.hold(block)
    assert [block.header.height for block in buffer.take(lambda _: True)] == [2, 2, 5]


# bounded


def block_at(time_ms: int) -> Block:
    return founded().mine("b", time_ms=time_ms)


TIMES = [1_900_000_000_000 + n for n in range(6)]


def test_the_buffer_of_orphans_drops_the_oldest() -> None:
    buffer = HeldBlocks(max_count=3)
    blocks = [block_at(time_ms) for time_ms in TIMES]
    for block in blocks:
        buffer.hold(block)
    assert [block.hash in buffer for block in blocks] == [False, False, False, True, True, True]
    assert buffer.bytes == sum(len(block.raw) for block in blocks[3:])


def test_the_buffer_of_postponed_blocks_drops_what_comes_due_last() -> None:
    buffer = HeldBlocks(max_count=3, drop_first=lambda block: block.header.time_ms)
    blocks = [block_at(time_ms) for time_ms in TIMES]
    for index in (0, 5, 4, 1, 3, 2):
        buffer.hold(blocks[index])
    assert [block.hash in buffer for block in blocks] == [True, True, True, False, False, False]


def test_the_buffers_are_bounded_in_bytes() -> None:
    blocks = [block_at(time_ms) for time_ms in TIMES]
    buffer = HeldBlocks(max_count=100, max_bytes=2 * len(blocks[0].raw))
    for block in blocks:
        buffer.hold(block)
    assert len(buffer) == 2
    assert buffer.take_children(blocks[-1].header.prev) == blocks[-2:]
    assert (len(buffer), buffer.bytes) == (0, 0)


def test_a_block_that_fits_no_buffer_is_not_held() -> None:
    block = block_at(TIMES[0])
    buffer = HeldBlocks(max_count=1, max_bytes=len(block.raw) - 1)
    buffer.hold(block)
    assert (len(buffer), buffer.bytes) == (0, 0)


def test_the_bounds_leave_room_for_the_largest_blocks() -> None:
    orphans, postponed = holding.orphan_buffer(), holding.postponed_buffer()
    assert len(orphans) == len(postponed) == 0
    assert holding.MAX_HELD_BYTES >= 16 * 1_000_000
