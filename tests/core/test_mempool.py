"""The queue of waiting transactions (minervas_core.mempool)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.mempool import Mempool, MempoolLimits
from minervas_core.transactions import Transaction, TransactionForm, block_order, decode_transaction
from tests.support.builders import TINY, LocalChain, admit, revoke, service_keys

ROOMY = MempoolLimits(max_count=100, max_bytes=1_000_000, share_per_mille=1000)
AHEAD = TINY.max_expiry_blocks


@pytest.fixture
def local() -> LocalChain:
    """Founded by a, b and c at height 1: the next block has height 2."""
    made = LocalChain()
    made.found("a", "b", "c")
    return made


def pool_of(local: LocalChain, limits: MempoolLimits = ROOMY) -> Mempool:
    return Mempool(local.genesis, local.chain.signatures, limits)


def refused(pool: Mempool, local: LocalChain, transaction: Transaction) -> Code:
    before = [each.id for each in pool]
    with pytest.raises(InvalidTransaction) as caught:
        pool.add(transaction, local.chain.state, local.tip.time_ms)
    assert [each.id for each in pool] == before
    return caught.value.code


# taking in


def test_a_valid_transaction_is_queued_once(local: LocalChain) -> None:
    pool = pool_of(local)
    assert pool.add(admit("d"), local.chain.state, local.tip.time_ms)
    assert not pool.add(admit("d"), local.chain.state, local.tip.time_ms)
    assert admit("d").id in pool
    assert pool.get(admit("d").id) == admit("d")
    assert (len(pool), pool.bytes) == (1, len(admit("d").raw))


@pytest.mark.parametrize(
    ("transaction", "code"),
    [
        (admit("d", expires=1), Code.TX_EXPIRED),
        (admit("d", expires=2 + AHEAD + 1), Code.TX_EXPIRY_TOO_FAR),
        (admit("a", expires=5), Code.TX_DUPLICATE),
        (admit("a", expires=6), Code.MEMBER_EXISTS),
        (admit("d", keys=service_keys("a")), Code.KEY_REUSED),
        (revoke("nobody"), Code.MEMBER_UNKNOWN),
        (admit("consortium"), Code.BAD_MEMBER_ID),
    ],
)
def test_what_the_next_block_could_not_carry_is_refused(
    local: LocalChain, transaction: Transaction, code: Code
) -> None:
    assert refused(pool_of(local), local, transaction) == code


def test_a_bad_signature_is_refused(local: LocalChain) -> None:
    good = admit("d")
    forged = decode_transaction(encode(TransactionForm(body=good.body, signature="0" * 128)))
    pool = pool_of(local)
    assert refused(pool, local, forged) == Code.BAD_SIGNATURE
    assert pool.add(good, local.chain.state, local.tip.time_ms)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (admit("d"), admit("d", salt="other", keys=service_keys("x"))),
        (admit("d"), admit("e", keys=msgspec.structs.replace(service_keys("e"), vote=service_keys("d").wallet))),
        (revoke("a"), revoke("a", salt="other")),
    ],
    ids=["one id", "one key", "one revocation"],
)
def test_of_two_that_exclude_each_other_the_first_seen_stays(
    local: LocalChain, first: Transaction, second: Transaction
) -> None:
    for one, other in ((first, second), (second, first)):
        pool = pool_of(local)
        pool.add(one, local.chain.state, local.tip.time_ms)
        assert refused(pool, local, other) == Code.POOL_CONFLICT


def test_a_removed_transaction_no_longer_excludes_others(local: LocalChain) -> None:
    pool = pool_of(local)
    pool.add(admit("d", expires=2), local.chain.state, local.tip.time_ms)
    assert [each.id for each in pool.expire(3)] == [admit("d", expires=2).id]
    pool.add(admit("d", expires=8), local.chain.state, local.tip.time_ms)


# bounded


def test_the_queue_is_bounded_in_count(local: LocalChain) -> None:
    pool = pool_of(local, MempoolLimits(max_count=2, max_bytes=10**6, share_per_mille=1000))
    pool.add(revoke("a"), local.chain.state, local.tip.time_ms)
    pool.add(revoke("b"), local.chain.state, local.tip.time_ms)
    assert refused(pool, local, revoke("c")) == Code.POOL_FULL


def test_the_queue_is_bounded_in_bytes(local: LocalChain) -> None:
    size = len(revoke("a").raw) + len(revoke("b").raw)
    pool = pool_of(local, MempoolLimits(max_count=9, max_bytes=size, share_per_mille=1000))
    pool.add(revoke("a"), local.chain.state, local.tip.time_ms)
    pool.add(revoke("b"), local.chain.state, local.tip.time_ms)
    assert pool.bytes == size
    assert refused(pool, local, revoke("c")) == Code.POOL_FULL


def test_one_sender_fills_only_its_share_of_the_count(local: LocalChain) -> None:
    pool = pool_of(local, MempoolLimits(max_count=8, max_bytes=10**6, share_per_mille=250))
    pool.add(revoke("a"), local.chain.state, local.tip.time_ms)
    pool.add(revoke("b"), local.chain.state, local.tip.time_ms)
    assert refused(pool, local, revoke("c")) == Code.POOL_SHARE


def test_one_sender_fills_only_its_share_of_the_bytes(local: LocalChain) -> None:
    size = len(revoke("a").raw) + len(revoke("b").raw)
    pool = pool_of(local, MempoolLimits(max_count=1000, max_bytes=4 * size, share_per_mille=250))
    pool.add(revoke("a"), local.chain.state, local.tip.time_ms)
    pool.add(revoke("b"), local.chain.state, local.tip.time_ms)
    assert refused(pool, local, revoke("c")) == Code.POOL_SHARE


def test_a_share_is_free_again_once_its_transactions_are_in_a_block(local: LocalChain) -> None:
    pool = pool_of(local, MempoolLimits(max_count=4, max_bytes=10**6, share_per_mille=250))
    pool.add(admit("d"), local.chain.state, local.tip.time_ms)
    assert refused(pool, local, admit("e")) == Code.POOL_SHARE
    pool.remove_included(local.extend("b", [admit("d")]))
    assert pool.add(admit("e"), local.chain.state, local.tip.time_ms)


# leaving


def test_what_a_block_carries_leaves_the_queue(local: LocalChain) -> None:
    pool = pool_of(local)
    for transaction in (admit("d"), admit("e"), revoke("a")):
        pool.add(transaction, local.chain.state, local.tip.time_ms)
    pool.remove_included(local.extend("b", [admit("d"), revoke("a"), admit("f")]))
    assert [each.id for each in pool] == [admit("e").id]
    assert pool.bytes == len(admit("e").raw)


def test_what_a_block_makes_impossible_leaves_the_queue(local: LocalChain) -> None:
    pool = pool_of(local)
    queued = [admit("d", salt="queued"), admit("e", keys=service_keys("x")), revoke("a", salt="queued")]
    for transaction in queued:
        pool.add(transaction, local.chain.state, local.tip.time_ms)
    pool.remove_included(local.extend("b", [admit("d"), admit("f", keys=service_keys("x")), revoke("a")]))
    assert len(pool) == 0


def test_an_expired_transaction_leaves_the_queue(local: LocalChain) -> None:
    pool = pool_of(local)
    pool.add(admit("d", expires=2), local.chain.state, local.tip.time_ms)
    pool.add(admit("e", expires=3), local.chain.state, local.tip.time_ms)
    assert pool.expire(2) == ()
    assert [each.id for each in pool.expire(3)] == [admit("d", expires=2).id]
    assert [each.id for each in pool] == [admit("e", expires=3).id]


# choosing for a block


def test_the_longest_waiting_transactions_are_chosen_and_stand_in_block_order(local: LocalChain) -> None:
    pool = pool_of(local)
    arrived = [admit(f"m{n}") for n in range(6)]
    for transaction in arrived:
        pool.add(transaction, local.chain.state, local.tip.time_ms)
    chosen = pool.select(10**6, 4)
    assert chosen == sorted(arrived[:4], key=block_order)
    assert len(pool) == 6, "they stay until a block carries them"


def test_a_transaction_that_does_not_fit_is_passed_over_for_a_smaller_one(local: LocalChain) -> None:
    pool = pool_of(local)
    pool.add(admit("d"), local.chain.state, local.tip.time_ms)
    pool.add(revoke("a"), local.chain.state, local.tip.time_ms)
    room = len(revoke("a").raw) + 1
    assert pool.select(room, 10) == [revoke("a")]
    assert pool.select(room - 1, 10) == []


# coming back


def test_transactions_of_a_losing_branch_come_back(local: LocalChain) -> None:
    start = local.tip
    pool = pool_of(local)
    local.extend("b", [admit("d")])
    other = local.extend("c", on=start)
    outcome = local.receive(local.mine("a", [admit("e")], on=other))
    assert pool.give_back(outcome.returned, local.chain.state) == ()
    assert [each.id for each in pool] == [admit("d").id]


def test_a_transaction_that_needs_an_earlier_one_comes_back_with_it(local: LocalChain) -> None:
    """Neither stands on the winning branch, so the revocation does not apply there before the admission does."""
    pool = pool_of(local)
    assert pool.give_back([admit("d"), revoke("d")], local.chain.state) == ()
    assert [each.id for each in pool] == [admit("d").id, revoke("d").id]


def test_what_does_not_apply_on_the_winning_branch_is_dropped_with_its_reason(local: LocalChain) -> None:
    local.extend("b", [admit("d", keys=service_keys("x"))])
    pool = pool_of(local)
    pool.add(revoke("a", salt="queued"), local.chain.state, local.tip.time_ms)
    back = [admit("d"), admit("e", keys=service_keys("x")), revoke("a"), admit("f", expires=2), admit("g")]
    dropped = pool.give_back(back, local.chain.state)
    assert [(transaction.id, error.code) for transaction, error in dropped] == [
        (back[0].id, Code.MEMBER_EXISTS),
        (back[1].id, Code.KEY_REUSED),
        (back[2].id, Code.POOL_CONFLICT),
        (back[3].id, Code.TX_EXPIRED),
    ]
    assert [each.id for each in pool] == [revoke("a", salt="queued").id, back[4].id]


def test_an_expiry_too_far_for_a_lower_tip_is_no_reason_to_drop_a_returned_transaction(local: LocalChain) -> None:
    pool = pool_of(local)
    far = admit("d", expires=local.tip.height + 1 + AHEAD + 3)
    assert pool.give_back([far], local.chain.state) == ()
    assert far.id in pool


def test_what_is_queued_already_does_not_come_back_twice(local: LocalChain) -> None:
    pool = pool_of(local)
    pool.add(admit("d"), local.chain.state, local.tip.time_ms)
    assert pool.give_back([admit("d")], local.chain.state) == ()
    assert len(pool) == 1


def test_the_queue_stays_bounded_when_transactions_come_back(local: LocalChain) -> None:
    pool = pool_of(local, MempoolLimits(max_count=2, max_bytes=10**6, share_per_mille=1000))
    dropped = pool.give_back([admit("d"), admit("e"), admit("f")], local.chain.state)
    assert [error.code for _, error in dropped] == [Code.POOL_FULL]
    assert len(pool) == 2
