"""Continuous matching: price, time, partial fills, lots, obligations, limits (minervas_core.market.continuous)."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from minervas_core.encoding import MAX_INTEGER
from minervas_core.market.fills import derived_lot_id
from minervas_core.market.records import Lot, Obligation, Trade
from minervas_core.transactions import Transaction
from tests.support.builders import MARKET, bid, cancel, offer, revoke
from tests.support.market_line import MarketLine


@pytest.fixture
def line() -> MarketLine:
    """`a`, `b` and `c`, who may sell and buy."""
    return MarketLine("a", "b", "c", "d")


def told(trades: tuple[Trade, ...]) -> list[tuple[str, str, int, int]]:
    """Seller, buyer, energy and price of each trade."""
    return [(each.seller, each.buyer, each.energy_wh, each.price_micro) for each in trades]


def by_id(*made: Transaction) -> list[Transaction]:
    """As they stand within their group in a block."""
    return sorted(made, key=lambda each: each.id)


# price


@pytest.mark.parametrize(("limit_micro", "trades"), [(9, 0), (10, 1), (15, 1)])
def test_an_incoming_bid_pays_the_resting_offers_price(line: MarketLine, limit_micro: int, trades: int) -> None:
    line.add(offer("a", line.mint("a", 100), 10))
    assert told(line.add(bid("b", 100, limit_micro))) == [("a", "b", 100, 10)] * trades
    line.undo_all()


@pytest.mark.parametrize(("asked_micro", "trades"), [(11, 0), (10, 1), (3, 1)])
def test_an_incoming_offer_gets_the_resting_bids_price(line: MarketLine, asked_micro: int, trades: int) -> None:
    lots = line.mint("a", 100)
    line.add(bid("b", 100, 10))
    assert told(line.add(offer("a", lots, asked_micro))) == [("a", "b", 100, 10)] * trades
    line.undo_all()


def test_within_a_block_offers_come_first_so_the_bid_pays_the_offers_price(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    assert told(line.add(bid("b", 100, 12), offer("a", lots, 10))) == [("a", "b", 100, 10)]


def test_a_bid_takes_the_cheapest_offers_first_and_each_at_its_price(line: MarketLine) -> None:
    a, b, c = (line.mint(each, 50)[0] for each in "abc")
    line.add(offer("a", [a], 12))
    line.add(offer("b", [b], 10))
    line.add(offer("c", [c], 11))
    trades = line.add(bid("d", 120, 12))
    assert told(trades) == [("b", "d", 50, 10), ("c", "d", 50, 11), ("a", "d", 20, 12)]
    assert [each.position for each in trades] == [0, 1, 2]
    assert line.owed_micro("d", "a") + line.owed_micro("d", "b") + line.owed_micro("d", "c") == 500 + 550 + 240


def test_an_offer_takes_the_dearest_bids_first(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    line.add(bid("b", 40, 10))
    line.add(bid("c", 40, 12))
    line.add(bid("d", 40, 11))
    assert told(line.add(offer("a", lots, 10))) == [("a", "c", 40, 12), ("a", "d", 40, 11), ("a", "b", 20, 10)]


# time


def test_at_one_price_the_older_order_goes_first(line: MarketLine) -> None:
    lots = line.mint("a", 60)
    line.add(bid("c", 40, 10))
    line.add(bid("b", 40, 10))
    assert told(line.add(offer("a", lots, 10))) == [("a", "c", 40, 10), ("a", "b", 20, 10)]


def test_within_a_block_the_order_of_ids_is_the_order_of_time(line: MarketLine) -> None:
    lots = line.mint("a", 60)
    bids = [bid(member, 20, 10, salt=salt) for member in "bcd" for salt in "12"]
    line.add(*bids)
    trades = line.add(offer("a", lots, 10))
    assert [each.bid for each in trades] == [each.id for each in by_id(*bids)[:3]]


# energy


def test_partial_fills_leave_the_rest_in_the_book(line: MarketLine) -> None:
    first = offer("a", line.mint("a", 100), 10)
    line.add(first)
    large = bid("b", 130, 10)
    line.add(bid("c", 30, 10), large)
    filled = {trade.buyer: trade.energy_wh for trade in line.blocks[-1][1].trades}
    assert sum(filled.values()) == 100
    assert first.id not in line.orders
    (rest,) = line.orders.values()
    assert (rest.side, rest.energy_wh) == ("bid", 60)
    line.undo_all()


def test_a_fill_below_the_smallest_happens_only_for_the_last_remainder(line: MarketLine) -> None:
    made = offer("a", line.mint("a", 100), 10, smallest_wh=40)
    line.add(made)
    assert line.add(bid("b", 39, 10)) == ()
    assert told(line.add(bid("c", 70, 10))) == [("a", "c", 70, 10)]
    assert told(line.add(bid("d", 29, 10))) == []
    assert told(line.add(bid("d", 30, 10))) == [("a", "d", 30, 10)]


def test_an_order_that_an_offer_passes_over_stays_and_the_next_one_trades(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    line.add(bid("b", 20, 12))
    line.add(bid("c", 50, 11))
    assert told(line.add(offer("a", lots, 10, smallest_wh=50))) == [("a", "c", 50, 11)]
    assert {order.side for order in line.orders.values()} == {"offer", "bid"}


def test_an_offer_whose_smallest_fill_is_all_of_it_sells_whole_or_not(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10, smallest_wh=MAX_INTEGER))
    assert line.add(bid("b", 99, 10)) == ()
    assert told(line.add(bid("c", 101, 10))) == [("a", "c", 100, 10)]


# who with whom


def test_a_member_does_not_trade_with_itself(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10))
    line.add(offer("b", line.mint("b", 100), 11))
    assert told(line.add(bid("a", 150, 12))) == [("b", "a", 100, 11)]
    assert line.owed_micro("a", "a") == 0


def test_a_personal_deal_is_for_its_buyer_alone(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10, buyer="c"))
    assert line.add(bid("b", 50, 20)) == ()
    assert told(line.add(bid("c", 50, 10))) == [("a", "c", 50, 10)]
    line.undo_all()


def test_an_incoming_personal_deal_passes_over_better_bids_of_others(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    line.add(bid("b", 50, 30))
    line.add(bid("c", 50, 20))
    assert told(line.add(offer("a", lots, 10, buyer="c"))) == [("a", "c", 50, 20)]


# lots


def test_ids_of_derived_lots_are_those_of_the_specification() -> None:
    offered, wanted = "1" * 64, "2" * 64
    text = b"minervas/v1/lot\0" + offered.encode() + b"/" + wanted.encode() + b"/7"
    assert derived_lot_id(offered, wanted, 7) == hashlib.sha256(text).hexdigest()
    rest = b"minervas/v1/lot\0" + offered.encode() + b"//8"
    assert derived_lot_id(offered, "", 8) == hashlib.sha256(rest).hexdigest()


def only_origin(lot: Lot) -> str:
    (origin,) = lot.origins
    assert origin.energy_wh == lot.energy_wh
    return origin.statement


def test_a_sale_splits_lots_in_order_and_keeps_their_lineage(line: MarketLine) -> None:
    first, second = line.mint("a", 100, 60)
    made, wanted = offer("a", [first, second], 10), bid("b", 130, 10)
    line.add(made)
    (trade,) = line.add(wanted)
    whole, part, rest = (derived_lot_id(made.id, each, n) for n, each in enumerate((wanted.id, wanted.id, "")))
    assert trade.lots == [whole, part]
    facts = {
        lot: (each.owner, each.energy_wh, each.parent, only_origin(each), each.offer) for lot, each in line.lots.items()
    }
    assert facts == {
        whole: ("b", 100, first, first, ""),
        part: ("b", 30, second, second, ""),
        rest: ("a", 30, second, second, made.id),
    }
    assert (line.orders[made.id].lots, line.orders[made.id].events) == ([rest], 3)
    assert line.blocks[-1][1].lots == line.lots
    line.undo_all()


def test_what_is_left_of_a_lot_is_sold_before_the_next_lot(line: MarketLine) -> None:
    first, second = line.mint("a", 100, 60)
    line.add(offer("a", [first, second], 10))
    line.add(bid("b", 30, 10))
    (trade,) = line.add(bid("c", 90, 10))
    assert [(line.lots[lot].energy_wh, only_origin(line.lots[lot])) for lot in trade.lots] == [
        (70, first),
        (20, second),
    ]


def test_lots_that_a_block_makes_and_uses_up_are_told_too(line: MarketLine) -> None:
    made = offer("a", line.mint("a", 100), 10)
    wanted = by_id(bid("b", 40, 10), bid("c", 35, 10))
    line.add(made, *wanted)
    told_lots = line.blocks[-1][1].lots
    between = derived_lot_id(made.id, "", 1)
    assert between in told_lots
    assert between not in line.lots
    assert {lot.parent for lot_id, lot in line.lots.items() if lot_id == derived_lot_id(made.id, "", 3)} == {between}
    line.undo_all()


def test_bought_energy_can_be_sold_on_and_keeps_its_origin(line: MarketLine) -> None:
    (minted,) = line.mint("a", 100)
    line.add(offer("a", [minted], 10))
    (first,) = line.add(bid("b", 100, 10))
    line.add(offer("b", first.lots, 12))
    (second,) = line.add(bid("c", 70, 12))
    sold = line.lots[second.lots[0]]
    assert (sold.owner, sold.parent, only_origin(sold)) == ("c", first.lots[0], minted)
    line.undo_all()


def test_derived_lots_keep_their_ids_when_another_block_carries_the_same_orders(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    made, wanted = offer("a", lots, 10), bid("b", 40, 10)
    line.add(made)
    line.add(wanted)
    before = set(line.lots)
    line.undo()
    line.undo()
    line.add()
    line.add(made, wanted, at_ms=line.now_ms + 7)
    assert set(line.lots) == before


def test_ids_stay_apart_over_many_fills_and_a_cancellation(line: MarketLine) -> None:
    seen: set[str] = set()
    made = offer("a", line.mint("a", 30, 30, 30), 10)
    line.add(made)
    for n in range(4):
        line.add(bid("b", 13, 10, salt=str(n)))
        fresh = set(line.blocks[-1][1].lots)
        assert not fresh & seen
        seen |= fresh
    line.add(cancel("a", made.id))
    again = offer("a", [lot for lot, each in line.lots.items() if each.owner == "a"], 10)
    line.add(again)
    line.add(bid("b", 13, 10, salt="last"))
    assert not set(line.blocks[-1][1].lots) & seen


# what is owed


def test_obligations_add_up_over_trades_and_do_not_cancel_out(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10))
    line.add(bid("b", 40, 10))
    (second,) = line.add(bid("b", 25, 11, salt="2"))
    line.add(offer("b", second.lots, 20))
    line.add(bid("a", 25, 20))
    assert line.state.market.owed("b", "a") == Obligation(amount_micro=650, energy_wh=65)
    assert line.state.market.owed("a", "b") == Obligation(amount_micro=500, energy_wh=25)
    line.undo_all()


def test_a_trade_that_would_take_a_debt_to_2_to_the_53_does_not_happen(line: MarketLine) -> None:
    price_micro = MAX_INTEGER // 100
    first, second = line.mint("a", 100, 100)
    line.add(offer("a", [first], price_micro))
    line.add(bid("b", 90, price_micro))
    line.add(offer("a", [second], price_micro))
    assert line.owed_micro("b", "a") == 90 * price_micro
    assert told(line.add(bid("b", 21, price_micro))) == [("a", "b", 10, price_micro)]
    assert line.owed_micro("b", "a") == 100 * price_micro
    assert told(line.add(bid("c", 11, price_micro))) == [("a", "c", 11, price_micro)]
    line.undo_all()


# the limit of fills


def busy(limit: int) -> tuple[MarketLine, list[Transaction]]:
    """Six resting offers of `a` and `b`, and a limit of fills."""
    line = MarketLine("a", "b", "c", "d", parameters=msgspec.structs.replace(MARKET, max_fills_per_block=limit))
    lots = {each: line.mint(each, 20, 20, 20) for each in "ab"}
    offers = [offer(each, [lot], 10 + n) for each in "ab" for n, lot in enumerate(lots[each])]
    line.add(*offers)
    return line, offers


def test_beyond_the_limit_matching_goes_on_in_the_next_block() -> None:
    line, _ = busy(2)
    wanted = bid("c", 130, 12)
    first = line.add(wanted)
    assert [each.price_micro for each in first] == [10, 10]
    assert line.orders[wanted.id].waiting
    second = line.add()
    assert [(each.price_micro, each.position) for each in second] == [(11, 0), (11, 1)]
    third = line.add()
    assert [each.price_micro for each in third] == [12, 12]
    assert sum(each.energy_wh for each in (*first, *second, *third)) == 120
    assert (line.orders[wanted.id].energy_wh, line.orders[wanted.id].waiting) == (10, False)
    line.undo_all()


def test_nobody_comes_before_an_order_that_waits() -> None:
    line, _ = busy(2)
    early, late = by_id(bid("c", 60, 12), bid("d", 60, 12))
    line.add(early)
    line.add(late)
    line.add()
    line.add()
    bought = [(each.bid, each.price_micro) for _, applied in line.blocks for each in applied.trades]
    assert bought == [(early.id, 10)] * 2 + [(early.id, 11), (late.id, 11)] + [(late.id, 12)] * 2
    line.undo_all()


def test_an_order_that_waits_does_not_take_what_came_after_it() -> None:
    line, _ = busy(1)
    waiting = bid("c", 140, 13)
    cheap = offer("d", line.mint("d", 50), 1)
    line.add(waiting)
    line.add(cheap)
    assert line.orders[cheap.id].waiting
    for _ in range(5):
        line.add()
    trades = [each for _, applied in line.blocks for each in applied.trades]
    assert [each.price_micro for each in trades] == [10, 10, 11, 11, 12, 12, 13]
    assert (trades[-1].offer, trades[-1].energy_wh) == (cheap.id, 20)
    line.undo_all()


def test_with_the_limit_reached_by_orders_before_it_an_order_waits_only_if_it_could_trade() -> None:
    line, _ = busy(2)
    greedy, poor = bid("c", 40, 12), bid("d", 40, 9)
    line.add(greedy, poor)
    assert not line.orders[poor.id].waiting


def test_a_waiting_order_can_expire_be_cancelled_or_lose_its_member() -> None:
    for end in ("expire", "cancel", "revoke"):
        line, _ = busy(1)
        until_ms = line.state.time_ms + 1_500
        wanted = bid("c", 110, 12, until_ms=until_ms if end == "expire" else until_ms + 10**6)
        line.add(wanted)
        match end:
            case "expire":
                line.add()
                line.add()
                line.add()
            case "cancel":
                line.add(cancel("c", wanted.id))
            case _:
                line.add(revoke("c", expires=900))
        assert wanted.id not in line.orders
        bought_wh = line.owned_wh("c")
        line.add()
        assert line.owned_wh("c") == bought_wh
        line.undo_all()
