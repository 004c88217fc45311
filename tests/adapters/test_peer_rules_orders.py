"""What standing rules place: within every limit, once for a slot, whatever is lost or restarted on the way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core.encoding import MAX_INTEGER
from minervas_core.errors import Code
from minervas_core.genesis import Parameters
from minervas_core.market.records import Bid, Cancel, Offer
from minervas_peer.standing_rules.records import BuyRule, SellRule, Side
from tests.support.examples import examples
from tests.support.rules_market import SLOT_MS, RulesMarket, lot_id

SELL = SellRule(price_micro=100)
BUY = BuyRule(price_micro=100, energy_wh=2_000)


@pytest.fixture
def market() -> RulesMarket:
    return RulesMarket()


def outcome(market: RulesMarket, side: Side) -> str:
    return market.keeper.decisions[side].outcome


# selling


async def test_all_free_lots_are_offered_at_the_price_until_the_slot_ends(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500, lot_id(2): 700}
    market.keeper.set_rule("sell", SELL)
    assert await market.worker.try_step()
    [offer] = market.placed(Offer)
    assert (offer.lots, offer.price_micro, offer.buyer) == ([lot_id(2), lot_id(1)], 100, "")
    assert offer.valid_until_ms == market.slot.ends_ms
    assert outcome(market, "sell") == "place"


async def test_new_lots_are_offered_in_the_same_slot_and_unsold_ones_again_in_the_next(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    for new in ({}, {lot_id(2): 600}, {}):
        market.lots |= new
        await market.worker.try_step()
        market.mine()
    assert [each.lots for each in market.placed(Offer)] == [[lot_id(1)], [lot_id(2)]]
    market.next_slot()
    await market.worker.try_step()
    assert market.placed(Offer)[-1].lots == [lot_id(2), lot_id(1)]
    assert market.keeper.find("sell").tally.orders == 3


@pytest.mark.parametrize(
    ("keep_wh", "offered"), [(0, 3_000), (1, 2_000), (1_000, 2_000), (2_500, 0), (2_990, 0), (3_000, 0), (9_000, 0)]
)
async def test_what_is_kept_is_never_offered(market: RulesMarket, keep_wh: int, offered: int) -> None:
    market.lots = {lot_id(n): 1_000 for n in range(3)}
    market.keeper.set_rule("sell", SellRule(price_micro=100, keep_wh=keep_wh))
    for _ in range(3):
        await market.worker.try_step()
        market.mine()
    assert sum(each.energy_wh for each in market.orders.values()) == offered


async def test_an_offer_has_as_many_lots_as_the_chain_allows_and_the_next_block_has_the_rest(
    market: RulesMarket,
) -> None:
    market.lots = {lot_id(n): 10 for n in range(150)}
    market.keeper.set_rule("sell", SELL)
    for _ in range(3):
        await market.worker.try_step()
        market.mine()
    assert [len(each.lots) for each in market.placed(Offer)] == [100, 50]


@pytest.mark.parametrize(("lots", "price_micro"), [({}, 100), ({lot_id(1): 9}, 100), ({lot_id(1): 2**40}, MAX_INTEGER)])
async def test_what_the_chain_would_refuse_is_not_offered(
    market: RulesMarket, lots: dict[str, int], price_micro: int
) -> None:
    market.lots = lots
    market.keeper.set_rule("sell", SellRule(price_micro=price_micro))
    assert await market.worker.try_step()
    assert (market.attempts, outcome(market, "sell")) == ([], "nothing_to_sell")


async def test_an_offer_that_was_taken_back_by_hand_is_not_made_again_in_its_slot(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    await market.worker.try_step()
    market.mine()
    market.orders.clear()
    await market.worker.try_step()
    assert len(market.attempts) == 1
    market.next_slot()
    await market.worker.try_step()
    assert len(market.attempts) == 2


# buying


async def test_one_bid_is_made_in_a_slot_also_when_it_is_filled_at_once(market: RulesMarket) -> None:
    market.keeper.set_rule("buy", BUY)
    for _ in range(3):
        await market.worker.try_step()
        market.mine()
        for order in list(market.orders):
            market.sell(order)
    [bid] = market.placed(Bid)
    assert (bid.energy_wh, bid.repeats, bid.valid_until_ms) == (2_000, False, market.slot.ends_ms)
    assert outcome(market, "buy") == "bid_of_slot_made"
    market.next_slot()
    await market.worker.try_step()
    assert [each.valid_until_ms for each in market.placed(Bid)] == [market.slot.ends_ms - SLOT_MS, market.slot.ends_ms]


@pytest.mark.parametrize(
    ("owed", "paid", "expected"),
    [(0, 0, 1_000), (60_000, 0, 400), (60_000, 59_000, 990), (99_100, 0, 0), (10**9, 0, 0)],
)
async def test_a_bid_stays_within_the_credit_that_is_left(owed: int, paid: int, expected: int) -> None:
    market = RulesMarket(Parameters(credit_limit_micro=100_000))
    market.owed, market.paid = {"bert": owed}, {"bert": paid}
    market.keeper.set_rule("buy", BUY)
    await market.worker.try_step()
    assert [each.energy_wh for each in market.placed(Bid)] == ([expected] if expected else [])
    assert outcome(market, "buy") == ("place" if expected else "credit_limit")


async def test_a_rule_for_less_than_the_smallest_order_says_so(market: RulesMarket) -> None:
    market.keeper.set_rule("buy", BuyRule(price_micro=100, energy_wh=9))
    await market.worker.try_step()
    assert (market.attempts, outcome(market, "buy")) == ([], "too_small")


# when nothing is placed


async def test_no_more_orders_are_placed_than_a_member_may_have() -> None:
    market = RulesMarket(Parameters(max_open_orders=2))
    market.keeper.set_rule("sell", SELL)
    for n in range(4):
        market.lots[lot_id(n)] = 100
        await market.worker.try_step()  # the queue counts, too
    assert (len(market.attempts), outcome(market, "sell")) == (2, "order_limit")


async def test_nothing_is_placed_in_a_slot_that_is_over_or_by_an_answer_of_two_tips(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    market.time_ms = market.slot.ends_ms
    assert await market.worker.try_step()
    assert outcome(market, "sell") == "slot_ends"
    market.time_ms -= 1
    for name in ("syncing", "torn"):
        setattr(market, name, True)
        assert not await market.worker.try_step()
        setattr(market, name, False)
    assert market.attempts == []
    assert await market.worker.try_step()
    assert len(market.attempts) == 1


async def test_a_pause_places_nothing_and_leaves_what_is_open(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    await market.worker.try_step()
    market.mine()
    market.keeper.pause("sell", paused=True, cancel_open=False)
    market.lots[lot_id(2)] = 500
    for _ in range(2):
        await market.worker.try_step()
        market.mine()
    assert (len(market.attempts), len(market.orders)) == (1, 1)
    market.keeper.pause("sell", paused=False, cancel_open=False)
    await market.worker.try_step()
    assert market.placed(Offer)[-1].lots == [lot_id(2)]


@pytest.mark.parametrize("remove", [False, True])
async def test_open_orders_are_taken_back_if_that_is_asked_also_one_that_waits_for_a_block(
    market: RulesMarket, *, remove: bool
) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    await market.worker.try_step()  # queued
    if remove:
        market.keeper.remove("sell", cancel_open=True)
    else:
        market.keeper.pause("sell", paused=True, cancel_open=True)
    await market.worker.try_step()
    assert market.placed(Cancel) == []
    market.mine()
    for _ in range(3):  # said once, not with every tip
        await market.worker.try_step()
        market.mine(take=0)
    [cancel] = market.placed(Cancel)
    market.mine()
    assert (cancel.order, market.orders) == (market.attempts[0], {})
    market.next_slot()
    market.next_slot()
    await market.worker.try_step()
    assert market.keeper.state.placed == []


async def test_a_cancellation_that_no_block_takes_is_sent_again(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 500}
    market.keeper.set_rule("sell", SELL)
    await market.worker.try_step()
    market.mine()
    market.keeper.pause("sell", paused=True, cancel_open=True)
    market.loses_question = True
    for _ in range(10):
        await market.worker.try_step()
        market.mine(take=0)
    market.loses_question = False
    assert len(market.attempts) == 3
    await market.worker.try_step()
    for _ in range(8):
        market.mine()
        await market.worker.try_step()
    assert market.orders == {}


# lost answers, refusals, restarts


@pytest.mark.parametrize("lost", ["loses_question", "loses_answer"])
@pytest.mark.parametrize("restart", [False, True])
async def test_an_unanswered_order_is_sent_again_as_it_was(market: RulesMarket, lost: str, *, restart: bool) -> None:
    market.keeper.set_rule("buy", BUY)
    setattr(market, lost, True)
    for _ in range(3):
        assert not await market.worker.try_step()
    assert market.keeper.errors["buy"].code == Code.TIMEOUT
    setattr(market, lost, False)
    if restart:
        market.restart()
    assert await market.worker.try_step()
    assert len(market.attempts) == 4
    assert (len(set(market.attempts)), len(market.placed(Bid))) == (1, 1)
    assert await market.worker.try_step()
    assert len(market.attempts) == 4
    assert market.keeper.find("buy").tally.orders == 1


async def test_a_refused_order_is_made_again_with_the_next_tip_but_not_one_that_may_have_come(
    market: RulesMarket,
) -> None:
    market.keeper.set_rule("buy", BUY)
    market.refusal = Code.ORDER_LIMIT
    for _ in range(2):
        assert await market.worker.try_step()
    assert len(set(market.attempts)) == 2
    assert (market.keeper.errors["buy"].code, market.keeper.find("buy").tally.refusals) == (Code.ORDER_LIMIT, 2)
    market.refusal, market.loses_answer = None, True
    await market.worker.try_step()
    market.refusal, market.loses_answer = Code.POOL_CONFLICT, False
    for _ in range(2):
        await market.worker.try_step()
    assert len(set(market.attempts)) == 3
    assert outcome(market, "buy") == "bid_of_slot_made"


async def test_new_terms_do_not_send_the_old_ones_again(market: RulesMarket) -> None:
    market.keeper.set_rule("buy", BUY)
    market.loses_question = True
    await market.worker.try_step()
    market.keeper.set_rule("buy", BuyRule(price_micro=90, energy_wh=1_000))
    market.loses_question = False
    await market.worker.try_step()
    assert len(market.attempts) == 1  # it may have come: this slot has its bid
    market.next_slot()
    await market.worker.try_step()
    [bid] = market.placed(Bid)
    assert (bid.price_micro, bid.energy_wh) == (90, 1_000)


async def test_nothing_is_sent_that_is_not_on_disk(market: RulesMarket) -> None:
    market.keeper.set_rule("buy", BUY)
    market.store.broken = True
    assert not await market.worker.try_step()
    assert market.attempts == []
    assert "disk is full" in market.keeper.errors["buy"].message
    market.store.broken = False
    assert await market.worker.try_step()
    assert len(market.placed(Bid)) == 1


async def test_a_failing_rule_does_not_hold_up_the_other(market: RulesMarket) -> None:
    market.lots = {lot_id(1): 5}
    market.keeper.set_rule("sell", SELL)
    market.keeper.set_rule("buy", BUY)
    await market.worker.try_step()
    assert (outcome(market, "sell"), outcome(market, "buy")) == ("nothing_to_sell", "place")


# in every history

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("mint"), st.integers(1, 3_000)),
        st.tuples(st.just("work"), st.sampled_from(["", "", "loses_question", "loses_answer", "refused"])),
        st.tuples(st.just("mine"), st.integers(0, 4)),
        st.tuples(st.sampled_from(["sell", "slot", "restart", "pause", "resume"]), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=examples(150), deadline=None)
@given(steps=STEPS, keep_wh=st.just(0) | st.integers(1, 4_000), limit_micro=st.sampled_from([0, 300_000]))
def test_in_every_history_no_limit_is_broken_and_no_order_made_twice(
    steps: list[tuple[str, object]], keep_wh: int, limit_micro: int
) -> None:
    market = RulesMarket(Parameters(max_open_orders=4, max_lots_per_offer=3, credit_limit_micro=limit_micro))
    market.keeper.set_rule("sell", SellRule(price_micro=50, keep_wh=keep_wh))
    market.keeper.set_rule("buy", BUY)
    for number, (what, value) in enumerate(steps):
        take_step(market, what, value, number)
        check(market, keep_wh, limit_micro)


def take_step(market: RulesMarket, what: str, value: object, number: int) -> None:
    """One thing that happens."""
    match what, value:
        case "mint", int(energy_wh):
            market.lots[lot_id(number)] = energy_wh
        case "work", str(fault):
            market.loses_question, market.loses_answer = fault == "loses_question", fault == "loses_answer"
            market.refusal = Code.POOL_CONFLICT if fault == "refused" else None
            asyncio.run(market.worker.try_step())
        case "mine", int(take):
            market.mine(take=take)
        case "sell", _:
            for order in list(market.orders)[:1]:
                market.sell(order)
        case "slot", _:
            market.next_slot()
        case "restart", _:
            market.restart()
        case _:
            for side in ("sell", "buy"):
                market.keeper.pause(side, paused=what == "pause", cancel_open=False)


def check(market: RulesMarket, keep_wh: int, limit_micro: int) -> None:
    """What holds at any time, whatever part of the queue the next blocks take."""
    to_come = [each.body for each in market.queue.values()]
    entering = [each for each in to_come if isinstance(each, Offer | Bid) and each.valid_until_ms > market.time_ms]
    held = [lot for order in market.orders.values() for lot in order.lots]
    coming = [lot for each in entering if isinstance(each, Offer) for lot in each.lots]
    assert len({*held, *coming}) == len(held) + len(coming)
    offered_wh = sum(market.lots[lot] for lot in [*held, *coming])
    assert offered_wh <= max(0, sum(market.lots.values()) - keep_wh)
    assert len(market.orders) + len(entering) <= market.parameters.max_open_orders
    bids = market.placed(Bid)
    assert len({each.valid_until_ms for each in bids}) == len(bids)
    assert all(10 <= each.energy_wh <= BUY.energy_wh for each in bids)
    assert all(1 <= len(each.lots) <= market.parameters.max_lots_per_offer for each in market.placed(Offer))
    assert not market.placed(Cancel)
    if limit_micro:
        open_wh = [(each.energy_wh, each.price_micro) for each in market.orders.values() if each.side == "bid"]
        open_wh += [(each.energy_wh, each.price_micro) for each in entering if isinstance(each, Bid)]
        assert sum(market.owed.values()) + sum(wh * price for wh, price in open_wh) <= limit_micro
