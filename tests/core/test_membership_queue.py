"""What a change of members and keys means for the queue, and for a miner's draft."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.mempool import Mempool, MempoolLimits
from minervas_core.template import build_draft
from minervas_core.transactions import Transaction
from tests.support.builders import (
    MARKET,
    LocalChain,
    admit,
    bid,
    find_nonce,
    gateway_key,
    register_meter,
    revoke,
    sign_block,
    statement,
)
from tests.support.membership import leave, recover, rotate, suspend, veto

PARAMETERS = msgspec.structs.replace(MARKET, recovery_wait_ms=3_000, max_open_orders=2)
ROOMY = MempoolLimits(max_count=200, max_bytes=10**6, share_per_mille=1000)


class Node:
    """A chain of `a`, `b` and `c` with a meter each, and its queue."""

    def __init__(self) -> None:
        self.local = LocalChain(PARAMETERS)
        self.local.extend("a", [admit(member, expires=900) for member in "abc"])
        self.local.extend("b", [register_meter(member) for member in "abc"])
        self.pool = Mempool(self.local.genesis, self.local.chain.signatures, ROOMY)

    def queue(self, *transactions: Transaction) -> None:
        for transaction in transactions:
            assert self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)

    def refused(self, transaction: Transaction) -> Code:
        with pytest.raises(InvalidTransaction) as caught:
            self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)
        return caught.value.code

    def connect(self, *transactions: Transaction) -> set[str]:
        """A block of `c` that carries these; returns what the queue lost beside them."""
        block = self.local.extend("c", transactions)
        self.pool.remove_included(block)
        return {each.id for each in self.pool.forget_disused(self.local.chain.state)}

    def mine(self, miner: str) -> tuple[Transaction, ...]:
        draft, transactions, *_ = build_draft(self.local.chain, self.pool, (), miner, self.local.tip.time_ms + 1_000)
        outcome = self.local.receive(sign_block(find_nonce(draft), transactions))
        assert outcome.status == "connected", outcome.error
        self.pool.remove_included(sign_block(find_nonce(draft), transactions))
        return transactions


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.mark.parametrize("end", [revoke, leave])
def test_what_a_former_member_signed_leaves_the_queue(node: Node, end: Callable[..., Transaction]) -> None:
    stated = statement("a", (2_000, 0), (2_001, 1))
    node.queue(bid("a", 50, 5), stated, bid("b", 50, 5))
    assert len(node.connect(end("a", expires=900))) == 2
    assert [each.body.sender for each in node.pool] == [bid("b", 50, 5).body.sender]
    assert node.refused(bid("a", 60, 5)) == Code.MEMBER_UNKNOWN


def test_what_an_old_wallet_signed_leaves_the_queue_and_is_refused(node: Node) -> None:
    old = bid("a", 50, 5)
    node.queue(old, bid("a", 51, 5), bid("b", 50, 5))
    gone = node.connect(rotate("a", "a2", "wallet"))
    assert gone == {old.id, bid("a", 51, 5).id}
    assert node.refused(old) == Code.MEMBER_UNKNOWN


def test_the_limit_of_orders_counts_for_the_new_wallet_what_the_member_has(node: Node) -> None:
    node.queue(bid("a", 50, 5))
    node.connect(bid("a", 40, 5, salt="open"))
    node.connect(rotate("a", "a2", "wallet"))
    node.queue(bid("a2", 51, 5))
    assert node.refused(bid("a2", 52, 5)) == Code.ORDER_LIMIT


def test_what_an_old_gateway_key_signed_leaves_the_queue(node: Node) -> None:
    old = statement("a", (2_000, 0), (2_001, 1))
    node.queue(old)
    assert node.connect(rotate("a", "a2", meters={"roof": "a2"})) == {old.id}
    node.queue(statement("a", (2_000, 0), (2_001, 1), key=gateway_key("a2")))


def test_what_the_old_wallet_signed_leaves_the_queue_when_a_recovery_takes_effect(node: Node) -> None:
    assert node.connect(recover("a", "a2")) == set()
    node.queue(bid("a", 50, 5))
    lost: set[str] = set()
    while not lost:
        lost = node.connect()
        assert node.local.tip.height < 9
    assert lost == {bid("a", 50, 5).id}
    assert node.refused(bid("a", 50, 5)) == Code.MEMBER_UNKNOWN


def test_a_suspended_members_transactions_stay(node: Node) -> None:
    node.queue(bid("a", 50, 5))
    assert node.connect(suspend("a")) == set()


def test_what_an_unknown_key_signed_stays_for_its_admission_may_come_again(node: Node) -> None:
    node.connect(admit("d", expires=900))
    node.queue(bid("d", 50, 5))
    assert node.pool.forget_disused(LocalChain(PARAMETERS).chain.state) == ()


def test_a_suspended_member_mines(node: Node) -> None:
    node.connect(suspend("a"))
    assert node.mine("a") == ()


def test_a_recovery_and_its_veto_share_a_block(node: Node) -> None:
    request = recover("a", "a2")
    node.connect(request)
    node.queue(veto("a", request))
    assert node.refused(veto("a", request, salt="2")) == Code.POOL_CONFLICT
    assert node.mine("b") == (veto("a", request),)
    assert node.refused(veto("a", request, salt="2")) == Code.RECOVERY_UNKNOWN


def test_a_miner_leaves_the_exchange_of_its_own_block_key_to_the_others(node: Node) -> None:
    change = rotate("a", "a2", "block")
    node.queue(change, rotate("a", "a2", "vote"))
    assert node.mine("a") == (rotate("a", "a2", "vote"),)
    assert node.mine("b") == (change,)


def test_a_miner_that_is_alone_exchanges_its_block_key_itself() -> None:
    local = LocalChain(PARAMETERS)
    local.extend("a", [admit("a")])
    pool = Mempool(local.genesis, local.chain.signatures, ROOMY)
    pool.add(rotate("a", "a2", "block"), local.chain.state, local.tip.time_ms)
    draft, transactions, *_ = build_draft(local.chain, pool, (), "a", local.tip.time_ms + 1_000)
    assert local.receive(sign_block(find_nonce(draft), transactions, signer="a2")).status == "connected"
