"""Whatever comes and goes in whatever order, the queue keeps its limits (minervas_core.mempool)."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.mempool import Mempool, MempoolLimits, owner_of
from minervas_core.rules import claims_of
from minervas_core.transactions import Transaction
from tests.support.builders import (
    MARKET,
    LocalChain,
    admit,
    bid,
    mine_block,
    register_meter,
    revoke,
    service_keys,
    statement,
)

LIMITS = MempoolLimits(max_count=12, max_bytes=9_000, share_per_mille=400)
MEMBERS = ("a", "b", "c")


@cache
def chain() -> LocalChain:
    """Three members with a meter each."""
    local = LocalChain(MARKET)
    local.extend("a", [admit(member, expires=900) for member in MEMBERS])
    local.extend("b", [register_meter(member) for member in MEMBERS])
    return local


@cache
def offered() -> tuple[Transaction, ...]:
    """Everything that may come: of wallets, gateways and the authority; some exclude each other, some expire."""
    made = [bid(member, 100, 5, salt=f"{number}", expires=3 + number) for member in MEMBERS for number in range(6)]
    for member in MEMBERS:
        made += [statement(member, (2_000, 0), (2_100, 10 * number), salt=f"{number}") for number in (1, 2)]
        made += [statement(member, (2_100, 10), (2_200, 20)), revoke(member, salt="one"), revoke(member, salt="other")]
    made += [admit("d", expires=9), admit("d", expires=9, salt="other"), admit("e", expires=4, keys=service_keys("d"))]
    return tuple(made)


indices = st.lists(st.integers(0, len(offered()) - 1), min_size=1, max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), indices),
        st.tuples(st.just("block"), indices),
        st.tuples(st.just("give_back"), indices),
        st.tuples(st.just("restart"), indices),
        st.tuples(st.just("expire"), st.integers(2, 10).map(lambda height: [height])),
    ),
    max_size=30,
)


class Queue:
    """A queue over a chain that stands still, and what must hold after every step."""

    def __init__(self) -> None:
        self.local = chain()
        self.pool = Mempool(self.local.genesis, self.local.chain.signatures, LIMITS)

    def do(self, step: str, values: list[int]) -> None:
        transactions = [] if step == "expire" else [offered()[index] for index in values]
        match step:
            case "add":
                for transaction in transactions:
                    self.add(transaction)
            case "block":
                distinct = {each.id: each for each in transactions}.values()
                self.pool.remove_included(mine_block(self.local.tip, distinct, "c", self.local.genesis))
                assert not {each.id for each in transactions} & {each.id for each in self.pool}
            case "give_back":
                self.pool.give_back(transactions, self.local.chain.state)
            case "restart":
                stored = list(self.pool)
                self.pool = Mempool(self.local.genesis, self.local.chain.signatures, LIMITS)
                assert self.pool.restore(stored, self.local.chain.state) == ()
                assert list(self.pool) == stored
            case "expire":
                self.pool.expire(values[0])
                assert all(each.body.expires_height >= values[0] for each in self.pool)
        self.check()

    def add(self, transaction: Transaction) -> None:
        """What is added pushes nothing out, and keeps to its member's share."""
        before = list(self.pool)
        try:
            added = self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)
        except InvalidTransaction:
            assert list(self.pool) == before
            return
        assert list(self.pool) == before + ([transaction] if added else [])
        if added:
            owner = owner_of(transaction, self.local.chain.state)
            own = [each for each in self.pool if owner_of(each, self.local.chain.state) == owner]
            assert len(own) * 1000 <= LIMITS.max_count * LIMITS.share_per_mille
            assert sum(len(each.raw) for each in own) * 1000 <= LIMITS.max_bytes * LIMITS.share_per_mille

    def check(self) -> None:
        queued = list(self.pool)
        assert len(self.pool) == len(queued) <= LIMITS.max_count
        assert self.pool.bytes == sum(len(each.raw) for each in queued) <= LIMITS.max_bytes
        claims = Counter(claim for each in queued for claim in claims_of(each))
        assert not [claim for claim, count in claims.items() if count > 1]


@given(steps)
def test_the_queue_keeps_its_limits_through_any_history(history: list[tuple[str, list[int]]]) -> None:
    queue = Queue()
    for step, values in history:
        queue.do(step, values)


@given(steps)
def test_what_left_leaves_no_trace(history: list[tuple[str, list[int]]]) -> None:
    """Shares and claims are free again: an emptied queue takes what a new one takes."""
    queue, new = Queue(), Queue()
    for step, values in history:
        queue.do(step, values)
    queue.pool.expire(10**6)
    assert (len(queue.pool), queue.pool.bytes) == (0, 0)
    for transaction in offered():
        queue.add(transaction)
        new.add(transaction)
    assert list(queue.pool) == list(new.pool)


def test_a_members_keys_share_one_share() -> None:
    """Neither a second key of a member nor another member's traffic changes what a member may fill."""
    queue = Queue()
    for transaction in [bid("a", 100, 5, salt=f"{number}") for number in range(4)]:
        queue.add(transaction)
    metered = statement("a", (2_000, 0), (2_100, 10))
    with pytest.raises(InvalidTransaction) as caught:
        queue.pool.add(metered, queue.local.chain.state, queue.local.tip.time_ms)
    assert (caught.value.code, caught.value.values["owner"]) == (Code.POOL_SHARE, "a")
    queue.add(statement("b", (2_000, 0), (2_100, 10)))
    assert len(queue.pool) == 5
