"""Rules of headers, each with its code (minervas_core.validation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from minervas_core.blocks import Block
from minervas_core.difficulty import next_difficulty
from minervas_core.errors import Code, InvalidBlock
from minervas_core.proof_of_work import attempt, is_good
from minervas_core.validation import check_header, check_orphan, expected_difficulty
from tests.support.builders import TINY, LocalChain, altered, sign_block


@pytest.fixture
def local() -> LocalChain:
    made = LocalChain()
    made.found("a", "b", "c")
    made.extend("b")
    return made


def refusal(check: Callable[[], object]) -> Code:
    with pytest.raises(InvalidBlock) as caught:
        check()
    return caught.value.code


def refused(local: LocalChain, block: Block) -> Code:
    return refusal(lambda: check_header(block.header, block.hash, local.tip, local.genesis))


def without_work(block: Block) -> Block:
    """The same block with the first nonce that is not good."""
    draft = block.header.draft()
    nonce = next(n for n in range(1_000) if not is_good(attempt(draft.seal(), n), draft.difficulty))
    return sign_block(draft.with_nonce(nonce), block.transactions)


def test_a_header_that_follows_its_predecessor_is_accepted(local: LocalChain) -> None:
    block = local.mine("c")
    check_header(block.header, block.hash, local.tip, local.genesis)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 0}, Code.BLOCK_VERSION),
        ({"version": 2}, Code.BLOCK_VERSION),
        ({"network": "f" * 32}, Code.WRONG_NETWORK),
    ],
)
def test_what_a_header_says_on_every_chain(local: LocalChain, change: dict[str, Any], code: Code) -> None:
    block = altered(local.mine("c"), **change)
    assert refused(local, block) == code
    assert refusal(lambda: check_orphan(block, local.genesis)) == code


@pytest.mark.parametrize("step", [-1, 1])
def test_a_height_other_than_one_above_the_predecessor_is_refused(local: LocalChain, step: int) -> None:
    assert refused(local, altered(local.mine("c"), height=3 + step)) == Code.BLOCK_HEIGHT


def test_a_time_one_millisecond_above_the_predecessor_is_accepted(local: LocalChain) -> None:
    block = local.mine("c", time_ms=local.tip.time_ms + 1)
    check_header(block.header, block.hash, local.tip, local.genesis)


@pytest.mark.parametrize("behind_ms", [0, 1])
def test_a_time_not_above_the_predecessor_is_refused(local: LocalChain, behind_ms: int) -> None:
    block = local.mine("c", time_ms=local.tip.time_ms - behind_ms)
    assert refused(local, block) == Code.BLOCK_TIME_TOO_OLD


def test_block_one_lies_above_the_creation_of_genesis() -> None:
    local = LocalChain()
    block = local.mine("a", time_ms=local.genesis.body.created_ms)
    assert refused(local, block) == Code.BLOCK_TIME_TOO_OLD
    block = local.mine("a", time_ms=local.genesis.body.created_ms + 1)
    check_header(block.header, block.hash, local.tip, local.genesis)


@pytest.mark.parametrize("step", [-1, 1])
def test_a_difficulty_other_than_the_one_due_is_refused(local: LocalChain, step: int) -> None:
    block = local.mine("c")
    assert refused(local, altered(block, difficulty=block.header.difficulty + step)) == Code.BLOCK_DIFFICULTY


def test_the_difficulty_due_is_retargeted_over_the_chain_of_the_header() -> None:
    local = LocalChain()
    local.found("a", "b", "c")
    for _ in range(TINY.lwma_window - 1):
        local.extend("abc"[local.tip.height % 3])
        assert local.tip.header.difficulty == TINY.initial_difficulty
    slow = local.mine("b", time_ms=local.tip.time_ms + 50_000)
    fast = local.mine("b", time_ms=local.tip.time_ms + 100)
    local.receive(slow)
    local.receive(fast)
    assert expected_difficulty(local.node(slow), TINY) < expected_difficulty(local.node(fast), TINY)


def test_the_difficulty_due_follows_from_the_whole_history() -> None:
    parameters = msgspec.structs.replace(TINY, initial_difficulty=1_000)
    local = LocalChain(parameters)
    local.found("a", "b", "c")
    for pause_ms in (900, 4_000, 300, 1_100, 2_500, 700, 5_000, 400, 1_800, 600):
        local.receive(local.mine("abc"[local.tip.height % 3], time_ms=local.tip.time_ms + pause_ms))
        history = [(node.time_ms, node.header.difficulty) for node in local.tip.blocks()][::-1]
        assert expected_difficulty(local.tip, parameters) == next_difficulty(history, parameters)


def test_a_hash_that_does_not_fulfil_the_difficulty_is_refused(local: LocalChain) -> None:
    assert refused(local, without_work(local.mine("c"))) == Code.BLOCK_WORK


def test_an_orphan_with_some_work_is_worth_keeping(local: LocalChain) -> None:
    check_orphan(altered(local.mine("c"), prev="1" * 64, height=77), local.genesis)


def test_an_orphan_without_the_work_that_it_claims_is_refused(local: LocalChain) -> None:
    block = without_work(altered(local.mine("c"), prev="1" * 64))
    assert refusal(lambda: check_orphan(block, local.genesis)) == Code.BLOCK_WORK


def test_an_orphan_that_claims_less_than_any_block_is_refused(local: LocalChain) -> None:
    block = altered(local.mine("c"), prev="1" * 64, mine=False, difficulty=0)
    assert refusal(lambda: check_orphan(block, local.genesis)) == Code.BLOCK_DIFFICULTY


def test_an_orphan_with_other_content_is_refused(local: LocalChain) -> None:
    block = altered(local.mine("c"), prev="1" * 64, tx_root="1" * 64)
    assert refusal(lambda: check_orphan(block, local.genesis)) == Code.BLOCK_TX_ROOT
