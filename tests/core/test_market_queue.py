"""Market transactions in the queue, in a miner's draft, and over a reorganisation."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Parameters
from minervas_core.mempool import Mempool, MempoolLimits
from minervas_core.template import build_draft
from minervas_core.transactions import Transaction, block_order
from tests.support.builders import (
    GENESIS_TIME_MS,
    MARKET,
    LocalChain,
    admit,
    array,
    bid,
    cancel,
    find_nonce,
    offer,
    register_meter,
    revoke,
    sign_block,
    signing_key,
    statement,
)
from tests.support.lot_builders import merge, retire

ROOMY = MempoolLimits(max_count=200, max_bytes=10**6, share_per_mille=1000)


class Node:
    """A chain of `a`, `b` and `c` with a meter each, and its queue. The tip is 2,000 ms after genesis."""

    def __init__(self, parameters: Parameters = MARKET) -> None:
        self.local = LocalChain(parameters)
        self.local.extend("a", [admit(member, expires=900) for member in "abc"])
        self.local.extend("b", [register_meter(member) for member in "abc"])
        self.pool = Mempool(self.local.genesis, self.local.chain.signatures, ROOMY)

    def queue(self, *transactions: Transaction) -> None:
        for transaction in transactions:
            assert self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)

    def refused(self, transaction: Transaction) -> Code:
        with pytest.raises(InvalidTransaction) as caught:
            self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)
        assert caught.value.values["tx"] == transaction.id
        return caught.value.code

    def draft(self) -> tuple[Transaction, ...]:
        return build_draft(self.local.chain, self.pool, (), "c", self.local.tip.time_ms + 1_000)[1]

    def mine(self) -> tuple[Transaction, ...]:
        """Mine what a draft says; the block must connect, and the queue learns of it."""
        draft, transactions, *_ = build_draft(self.local.chain, self.pool, (), "c", self.local.tip.time_ms + 1_000)
        block = sign_block(find_nonce(draft), transactions)
        outcome = self.local.receive(block)
        assert outcome.status == "connected", outcome.error
        self.pool.remove_included(block)
        return transactions

    def queued(self) -> list[str]:
        return [each.id for each in self.pool]


@pytest.fixture
def node() -> Node:
    return Node()


# statements that follow each other


def steps(count: int, member: str = "a") -> list[Transaction]:
    return [statement(member, (1_000 + 200 * n, 100 * n), (1_200 + 200 * n, 100 * n + 100)) for n in range(count)]


def test_a_statement_goes_on_where_a_queued_one_ends_and_both_stand_in_one_block(node: Node) -> None:
    node.mine()
    first, *others = steps(4)
    node.local.extend("a", [first])
    node.queue(*others)
    assert list(node.mine()) == others
    assert node.queued() == []


def test_a_statement_that_nothing_queued_leads_to_is_refused(node: Node) -> None:
    first, _, third, fourth = steps(4)
    node.local.extend("a", [first])
    assert node.refused(third) == Code.STATEMENT_GAP
    assert node.refused(fourth) == Code.STATEMENT_GAP
    node.queue(*steps(4)[1:3])
    node.queue(fourth)


def test_statements_of_other_channels_do_not_count(node: Node) -> None:
    for member in "ab":
        node.local.extend("a", steps(1, member))
    node.queue(steps(2, "a")[1])
    assert node.refused(steps(3, "b")[2]) == Code.STATEMENT_GAP


def test_a_queued_statement_does_not_lift_the_limits_of_the_next(node: Node) -> None:
    first, second = steps(2)
    node.local.extend("a", [first])
    node.queue(second)
    greedy = statement("a", (1_400, 200), (1_500, 900))
    assert node.refused(greedy) == Code.STATEMENT_RATED_POWER


def test_a_statement_of_the_near_future_waits_in_the_queue_for_a_block_that_is_late_enough(node: Node) -> None:
    """A block's time may be two intervals ahead of our clock."""
    tip_ms = node.local.tip.time_ms - GENESIS_TIME_MS
    soon = statement("a", (1_000, 0), (tip_ms + 1_500, 5))
    node.queue(soon)
    assert node.refused(statement("b", (1_000, 0), (tip_ms + 2_001, 5))) == Code.STATEMENT_FUTURE
    assert node.mine() == ()
    assert node.mine() == (soon,)


def test_statements_that_a_block_overtakes_leave_the_queue(node: Node) -> None:
    first, second, third = steps(3)
    node.local.extend("a", [first])
    node.queue(second, third)
    wide = statement("a", (1_200, 100), (1_500, 250))
    node.pool.remove_included(node.local.extend("b", [wide]))
    assert node.queued() == []


# orders


def minted(node: Node, *members: str) -> dict[str, str]:
    """A lot of 500 Wh of each member."""
    made = {member: statement(member, (1_000, 0), (2_000, 500)) for member in members}
    node.pool.remove_included(node.local.extend("a", made.values()))
    return {member: each.id for member, each in made.items()}


def test_orders_are_queued_matched_in_the_draft_and_leave_the_queue(node: Node) -> None:
    lots = minted(node, "a")
    wanted, offered = bid("b", 200, 12), offer("a", [lots["a"]], 10)
    node.queue(wanted, offered)
    assert list(node.mine()) == [offered, wanted] == sorted([wanted, offered], key=block_order)
    assert node.queued() == []
    assert node.local.chain.state.market.owed("b", "a").amount_micro == 2_000


def test_making_a_draft_of_trades_changes_nothing(node: Node) -> None:
    lots = minted(node, "a")
    node.queue(offer("a", [lots["a"]], 10), bid("b", 200, 12))
    before = node.local.chain.state.snapshot()
    node.draft()
    assert node.local.chain.state.snapshot() == before


def test_what_the_next_block_could_not_carry_is_refused(node: Node) -> None:
    lots = minted(node, "a")
    assert node.refused(offer("b", [lots["a"]], 1)) == Code.LOT_NOT_OWNED
    assert node.refused(offer("a", ["0" * 64], 1)) == Code.LOT_UNKNOWN
    assert node.refused(bid("a", 9, 1)) == Code.ORDER_TOO_SMALL
    assert node.refused(bid("a", 10, 1, until_ms=node.local.tip.time_ms)) == Code.ORDER_EXPIRED
    assert node.refused(cancel("a", "0" * 64)) == Code.ORDER_UNKNOWN
    assert node.refused(bid("nobody", 10, 1)) == Code.MEMBER_UNKNOWN
    assert node.queued() == []


def test_a_forged_order_is_refused(node: Node) -> None:
    good = bid("a", 10, 1)
    assert node.refused(Transaction(good.id, good.body, "0" * 128, good.raw)) == Code.BAD_SIGNATURE


def test_of_two_offers_of_one_lot_the_first_seen_stays(node: Node) -> None:
    lots = minted(node, "a")
    node.queue(offer("a", [lots["a"]], 10))
    assert node.refused(offer("a", [lots["a"]], 11)) == Code.POOL_CONFLICT


def test_of_an_offer_a_merge_and_a_retirement_of_one_lot_the_first_seen_stays(node: Node) -> None:
    lots = minted(node, "a")
    first, second, more = steps(3, "b")
    node.local.extend("b", [first, second, more])
    own = [first.id, second.id]
    node.queue(offer("a", [lots["a"]], 10), merge("b", own))
    assert node.refused(retire("a", [lots["a"]])) == Code.POOL_CONFLICT
    for each in (retire("b", own[:1]), offer("b", own[1:], 10), merge("b", [own[0], more.id])):
        assert node.refused(each) == Code.POOL_CONFLICT
    node.queue(retire("b", [more.id]))
    assert {each.kind for each in node.mine()} == {"offer", "merge", "retire"}
    assert node.queued() == []


def test_a_lot_that_is_merged_takes_its_queued_uses_along(node: Node) -> None:
    first, second = steps(2)
    node.mine()
    node.local.extend("a", [first, second])
    node.queue(retire("a", [first.id]), offer("a", [second.id], 10))
    node.pool.remove_included(node.local.extend("b", [merge("a", [first.id, second.id])]))
    assert node.queued() == []


def test_merges_and_retirements_of_a_losing_branch_come_back(node: Node) -> None:
    node.mine()
    first, second, third = steps(3)
    fork = node.local.node(node.local.extend("a", [first, second, third]))
    joined = merge("a", [first.id, second.id])
    node.local.extend("b", [joined])
    node.local.extend("c", [retire("a", [joined.id, third.id])])
    other = node.local.extend("c", on=fork)
    other = node.local.extend("b", on=other, start=7)
    outcome = node.local.receive(node.local.mine("a", on=other))
    assert outcome.status == "connected"
    assert set(dict(node.local.chain.state.market.lots.items())) == {first.id, second.id, third.id}
    assert node.pool.give_back(outcome.returned, node.local.chain.state) == ()
    node.mine()
    node.mine()
    assert node.queued() == []
    assert dict(node.local.chain.state.market.lots.items()) == {}


def test_a_lot_that_is_sold_takes_its_queued_offers_along(node: Node) -> None:
    lots = minted(node, "a")
    node.queue(offer("a", [lots["a"]], 10))
    node.pool.remove_included(node.local.extend("b", [offer("a", [lots["a"]], 9), bid("b", 500, 9)]))
    assert node.queued() == []


def test_orders_whose_validity_a_block_ends_leave_the_queue(node: Node) -> None:
    until_ms = node.local.tip.time_ms + 1_000
    brief, longer = bid("a", 10, 1, until_ms=until_ms), bid("a", 10, 1, until_ms=until_ms + 1)
    node.queue(brief, longer)
    node.pool.remove_included(node.local.extend("b"))
    assert node.queued() == [longer.id]


def test_a_member_queues_no_more_orders_than_it_may_have_open() -> None:
    node = Node(msgspec.structs.replace(MARKET, max_open_orders=2))
    node.pool.remove_included(node.local.extend("a", [bid("a", 10, 1)]))
    node.queue(bid("a", 10, 1, salt="2"), bid("b", 10, 1))
    assert node.refused(bid("a", 10, 1, salt="3")) == Code.ORDER_LIMIT
    node.mine()
    assert node.refused(bid("a", 10, 1, salt="3")) == Code.ORDER_LIMIT
    node.queue(bid("b", 10, 1, salt="3"))


# blocks stay full


def test_what_does_not_apply_does_not_keep_blocks_empty() -> None:
    """One gateway queues more statements that exclude each other than a block has room for."""
    node = Node(msgspec.structs.replace(MARKET, max_block_transactions=4))
    tip_ms = node.local.tip.time_ms - GENESIS_TIME_MS
    crowd = [statement("a", (1_000 + n, 0), (tip_ms, 1), reset=True) for n in range(20)]
    node.queue(*crowd, *(bid("b", 10, 1, salt=str(n)) for n in range(3)))
    assert "bid" in [each.kind for each in node.mine()], "although four older statements come first"
    node.mine()
    assert node.queued() == [], "one statement applied, which left no place for the others"


def test_a_full_selection_that_mostly_applies_is_kept(node: Node) -> None:
    made = [bid("b", 10, 1, salt=str(n)) for n in range(25)]
    node.queue(*made)
    assert set(node.mine()) == set(made[: MARKET.max_block_transactions])


# reorganisations


def test_orders_and_statements_of_a_losing_branch_come_back_and_apply_again(node: Node) -> None:
    fork = node.local.tip
    minting, following = steps(2)
    node.local.extend("a", [minting, following])
    offered = offer("a", [minting.id], 10)
    node.local.extend("b", [offered, bid("b", 60, 10)])
    traded = node.local.chain.state.market.rows()
    other = node.local.extend("c", on=fork)
    other = node.local.extend("b", on=other, start=7)
    outcome = node.local.receive(node.local.mine("c", on=other))
    assert outcome.status == "connected"
    assert dict(node.local.chain.state.market.lots.items()) == {}
    assert node.pool.give_back(outcome.returned, node.local.chain.state) == ()
    node.mine()
    node.mine()
    assert node.queued() == []
    lots = [(row.key, row.row) for row in traded if row.table == "lots"]
    assert [(row.key, row.row) for row in node.local.chain.state.market.rows() if row.table == "lots"] == lots


def test_an_order_of_a_member_that_the_winning_branch_revokes_is_dropped(node: Node) -> None:
    fork = node.local.tip
    node.local.extend("a", [bid("b", 60, 10)])
    other = node.local.extend("c", [revoke("b", expires=900)], on=fork)
    outcome = node.local.receive(node.local.mine("a", on=other))
    dropped = node.pool.give_back(outcome.returned, node.local.chain.state)
    assert [error.code for _, error in dropped] == [Code.MEMBER_UNKNOWN]


def test_a_meter_can_be_registered_under_a_gateway_that_came_later(node: Node) -> None:
    key = signing_key("second gateway")
    node.queue(register_meter("a", array("barn"), gateway=key.public))
    node.mine()
    tip_ms = node.local.tip.time_ms - GENESIS_TIME_MS
    node.queue(statement("a", (2_000, 0), (tip_ms, 9), meter="barn", key=key))
    assert len(node.mine()) == 1
