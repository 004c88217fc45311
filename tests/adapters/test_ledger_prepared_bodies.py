"""What sync does with fetched blocks before the chain sees them, on several threads."""

from __future__ import annotations

import sys

import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, PeerFault
from minervas_core.transactions import Transaction, TransactionForm, decode_transaction
from minervas_ledger.prepared_bodies import prepare_bodies
from minervas_ledger.verifying import SWITCH_INTERVAL_S, VerifyingThreads
from tests.support.builders import MARKET, LocalChain, bid, block_key, make_genesis, mine_block, sign_block

GENESIS = make_genesis(MARKET)
THREADS = VerifyingThreads(3)
KEYS = {"m0": block_key("m0").public}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_results_are_in_the_order_of_the_items(threads: int, count: int) -> None:
    items = list(range(count))
    assert list(VerifyingThreads(threads)(lambda item: item % 3 == 0, items)) == [item % 3 == 0 for item in items]


def forged(transaction: Transaction) -> Transaction:
    return decode_transaction(encode(TransactionForm(body=transaction.body, signature="0" * 128)))


def test_only_valid_transactions_are_named_valid() -> None:
    bids = [bid("m0", 100, 3, salt=str(number)) for number in range(60)]
    mixed = [forged(each) if number % 10 == 0 else each for number, each in enumerate(bids)]
    block = mine_block(LocalChain(MARKET).tip, mixed, "m0", GENESIS)
    prepared = prepare_bodies([block.hash, "ab" * 32], [block.raw], KEYS, GENESIS, THREADS)
    assert [each.hash for each in prepared.blocks] == [block.hash]
    assert {each.id for each in prepared.valid} == {each.id for number, each in enumerate(bids) if number % 10}
    assert prepared.without([block.hash, "ab" * 32]) == ["ab" * 32]


def test_transactions_that_the_header_does_not_name_are_not_verified() -> None:
    block = mine_block(LocalChain(MARKET).tip, [bid("m0", 100, 3)], "m0", GENESIS)
    other = sign_block(block.header, [bid("m0", 100, 3, salt="other")])
    assert prepare_bodies([block.hash], [other.raw], KEYS, GENESIS, THREADS).valid == ()


def test_another_block_than_asked_for_is_refused() -> None:
    block = mine_block(LocalChain(MARKET).tip, [], "m0", GENESIS)
    with pytest.raises(PeerFault) as refused:
        prepare_bodies(["ab" * 32], [block.raw], {}, GENESIS, THREADS)
    assert refused.value.code is Code.NOT_FOUND


def test_verifying_threads_do_not_wait_long_while_another_computes() -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        VerifyingThreads()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(before)
