"""Rules of a block against the state of its predecessor (minervas_core.validation)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.blocks import Block
from minervas_core.errors import Code, InvalidBlock
from minervas_core.transactions import Transaction
from minervas_core.validation import connect_block, follows_from_hash
from tests.support.builders import TINY, LocalChain, admit, mine_block, revoke

IDLE_MS = TINY.idle_intervals * TINY.block_interval_ms


def refused(local: LocalChain, block: Block) -> InvalidBlock:
    before = local.chain.state.snapshot()
    with pytest.raises(InvalidBlock) as caught:
        connect_block(local.chain.state, block, local.tip, local.genesis)
    assert local.chain.state.snapshot() == before, "a refused block leaves no trace"
    return caught.value


def accepted(local: LocalChain, block: Block) -> None:
    applied = connect_block(local.chain.state.scratch(), block, local.tip, local.genesis)
    assert applied.undo.block == block.hash


@pytest.fixture
def local() -> LocalChain:
    made = LocalChain()
    made.found("a", "b", "c")
    return made


def test_block_one_can_admit_its_own_miner() -> None:
    local = LocalChain()
    accepted(local, local.mine("a", [admit("a")]))


def test_a_miner_that_nobody_admitted_is_refused(local: LocalChain) -> None:
    error = refused(local, local.mine("stranger"))
    assert error.code == Code.BLOCK_MINER_UNKNOWN
    assert follows_from_hash(error)


def test_block_one_without_members_is_refused() -> None:
    local = LocalChain()
    assert refused(local, local.mine("a")).code == Code.BLOCK_MINER_UNKNOWN


def test_a_member_can_not_mine_the_block_that_revokes_it(local: LocalChain) -> None:
    assert refused(local, local.mine("b", [revoke("b")])).code == Code.BLOCK_MINER_UNKNOWN


def test_blocks_of_a_revoked_member_are_refused_from_that_height_on_and_old_ones_stay(local: LocalChain) -> None:
    old = local.extend("b")
    local.extend("c", [revoke("b")])
    assert refused(local, local.mine("b")).code == Code.BLOCK_MINER_UNKNOWN
    assert local.chain.tree.is_main(local.node(old))


def test_a_member_may_mine_the_block_that_revokes_another(local: LocalChain) -> None:
    accepted(local, local.mine("c", [revoke("b")]))


def test_only_the_miners_block_key_signs_its_blocks(local: LocalChain) -> None:
    error = refused(local, mine_block(local.tip, [], "b", local.genesis, signer="c"))
    assert error.code == Code.BLOCK_SIGNATURE
    assert not follows_from_hash(error)


@pytest.mark.parametrize(
    ("transactions", "code"),
    [
        ([admit("d", expires=1)], Code.TX_EXPIRED),
        ([admit("d", expires=2 + TINY.max_expiry_blocks + 1)], Code.TX_EXPIRY_TOO_FAR),
        ([admit("b", expires=5)], Code.TX_DUPLICATE),
        ([admit("b", expires=6)], Code.MEMBER_EXISTS),
        ([revoke("d")], Code.MEMBER_UNKNOWN),
        ([revoke("b"), revoke("b", salt="again")], Code.MEMBER_REVOKED),
        ([admit("d"), admit("d", salt="again")], Code.MEMBER_EXISTS),
    ],
)
def test_a_transaction_that_does_not_apply_condemns_its_block(
    local: LocalChain, transactions: list[Transaction], code: Code
) -> None:
    error = refused(local, local.mine("b", transactions))
    assert error.code == code
    assert error.values["tx"]
    assert follows_from_hash(error)


# diversity, with the roster that judges it


def founded(count: int, parameters_per_mille: int = 300) -> LocalChain:
    local = LocalChain(msgspec.structs.replace(TINY, diversity_per_mille=parameters_per_mille))
    local.found(*[f"m{n}" for n in range(count)])
    return local


def test_three_members_may_mine_one_after_the_other(local: LocalChain) -> None:
    accepted(local, local.mine("a"))


def test_with_four_members_nobody_mines_twice_in_a_row() -> None:
    local = founded(4)
    assert refused(local, local.mine("m0")).code == Code.BLOCK_MINER_TOO_SOON
    accepted(local, local.mine("m1"))


def test_with_seven_members_a_miner_lets_two_others_go_first() -> None:
    local = founded(7)
    local.extend("m1")
    assert refused(local, local.mine("m0")).code == Code.BLOCK_MINER_TOO_SOON
    local.extend("m2")
    accepted(local, local.mine("m0"))


def test_after_ten_idle_intervals_any_member_may_mine_but_no_stranger() -> None:
    local = founded(4)
    in_time = local.tip.time_ms + IDLE_MS
    assert refused(local, local.mine("m0", time_ms=in_time - 1)).code == Code.BLOCK_MINER_TOO_SOON
    accepted(local, local.mine("m0", time_ms=in_time))
    assert refused(local, local.mine("stranger", time_ms=in_time)).code == Code.BLOCK_MINER_UNKNOWN


def test_a_block_that_admits_a_member_counts_it_already() -> None:
    local = founded(3)
    accepted(local, local.mine("m0"))
    assert refused(local, local.mine("m0", [admit("m3")])).code == Code.BLOCK_MINER_TOO_SOON


def test_a_block_that_revokes_a_member_no_longer_counts_it() -> None:
    local = founded(4)
    assert refused(local, local.mine("m0")).code == Code.BLOCK_MINER_TOO_SOON
    accepted(local, local.mine("m0", [revoke("m3")]))


def test_without_diversity_one_member_may_mine_for_ever() -> None:
    local = founded(5, parameters_per_mille=0)
    for _ in range(3):
        local.extend("m0")


def test_a_sole_member_may_mine_for_ever() -> None:
    local = founded(1, parameters_per_mille=1000)
    for _ in range(3):
        local.extend("m0")


# how much a block may hold


def with_limits(**limits: int) -> LocalChain:
    made = LocalChain(msgspec.structs.replace(TINY, **limits))
    made.found("a", "b", "c")
    return made


def test_as_many_transactions_as_the_parameters_allow_are_accepted_and_no_more() -> None:
    local = with_limits(max_block_transactions=3)
    accepted(local, local.mine("b", [admit(each) for each in "def"]))
    error = refused(local, local.mine("b", [admit(each) for each in "defg"]))
    assert error.code == Code.BLOCK_TX_COUNT
    assert follows_from_hash(error)


def test_the_size_limit_is_kept_to_the_byte() -> None:
    size = len(with_limits().mine("b", [admit(each) for each in "defg"]).raw)
    at_limit, below = with_limits(max_block_bytes=size), with_limits(max_block_bytes=size - 1)
    accepted(at_limit, at_limit.mine("b", [admit(each) for each in "defg"]))
    error = refused(below, below.mine("b", [admit(each) for each in "defg"]))
    assert error.code == Code.TOO_LARGE
    assert follows_from_hash(error)
