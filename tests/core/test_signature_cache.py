"""Signatures are verified once, and many of them side by side: neither changes what is valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pytest

from minervas_core.blocks import decode_block
from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.mempool import Mempool
from minervas_core.signature_cache import TOGETHER_FROM, SignatureCache, find_valid, one_by_one
from minervas_core.transactions import BODY_BEGIN, BODY_END, Transaction, TransactionForm, decode_transaction
from tests.support.builders import FAR_FUTURE_MS, MARKET, LocalChain, admit, bid, make_genesis

T = TypeVar("T")
GENESIS = make_genesis(MARKET)
MANY = [bid("m0", 100, 3, salt=str(number)) for number in range(TOGETHER_FROM)]


def forged(transaction: Transaction) -> Transaction:
    """The same with a signature of something else."""
    form = TransactionForm(body=transaction.body, signature=MANY[-1].signature)
    return decode_transaction(encode(form))


class Backwards:
    """A `Spread` that begins with the last item, as threads may."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, check: Callable[[T], bool], items: Sequence[T]) -> Iterable[bool]:
        self.sizes.append(len(items))
        return [check(item) for item in items[::-1]][::-1]


@pytest.mark.parametrize("transaction", [*MANY[:2], admit("m1")], ids=lambda each: each.kind)
def test_what_was_signed_is_cut_out_of_the_received_bytes(transaction: Transaction) -> None:
    assert transaction.raw[BODY_BEGIN:BODY_END] == encode(transaction.body)


def test_checked_together_or_one_by_one_the_same_are_valid() -> None:
    mixed = [forged(each) if number % 7 == 3 else each for number, each in enumerate(MANY)]
    good = [each for number, each in enumerate(mixed) if number % 7 != 3]
    for spread in (Backwards(), one_by_one):
        assert find_valid(mixed, GENESIS, spread) == good
    cache = SignatureCache(GENESIS, spread=Backwards())
    cache.check_together(mixed)
    assert len(cache) == len(good)
    for each in mixed:
        if each in good:
            cache.check(each)
        else:
            with pytest.raises(InvalidTransaction) as refused:
                cache.check(each)
            assert refused.value.code is Code.BAD_SIGNATURE
    assert (cache.hits, cache.misses) == (len(good), len(mixed) - len(good))


def test_what_is_known_is_not_verified_again() -> None:
    spread = Backwards()
    cache = SignatureCache(GENESIS, spread=spread)
    cache.check_together(MANY)
    cache.check_together(MANY)
    assert spread.sizes == [len(MANY)]


def test_a_few_are_verified_on_the_thread_that_asks() -> None:
    spread = Backwards()
    SignatureCache(GENESIS, spread=spread).check_together(MANY[:-1])
    assert spread.sizes == []


def test_a_full_cache_forgets_the_oldest_also_when_checked_together() -> None:
    cache = SignatureCache(GENESIS, limit=10)
    cache.check_together(MANY)
    assert len(cache) == 10
    for each in MANY[-10:]:
        cache.check(each)
    assert (cache.hits, cache.misses) == (10, 0)


def test_a_block_reuses_only_queued_transactions_of_exactly_these_bytes() -> None:
    local = LocalChain(MARKET)
    local.found("m0", "m1")
    queue = Mempool(local.genesis, local.chain.signatures)
    queued = bid("m0", 100, 3)
    queue.add(queued, local.chain.state, FAR_FUTURE_MS)
    assert queue.find(queued.raw) is queued
    assert queue.find(forged(queued).raw) is None
    block = local.mine("m1", [queued])
    assert decode_block(block.raw, queue.find).transactions[0] is queued
    assert decode_block(block.raw) == decode_block(block.raw, queue.find)
    false = local.mine("m1", [forged(queued)])
    assert decode_block(false.raw, queue.find).transactions[0].signature != queued.signature
    assert local.receive(decode_block(false.raw, queue.find)).status == "refused"
    queue.remove_included(block)
    assert queue.find(queued.raw) is None
