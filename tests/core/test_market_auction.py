"""Auctions in the state: when a slot is cleared, what rests, what comes again (minervas_core.market.slots)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code
from minervas_core.market.credit import owed_micro
from minervas_core.market.records import Clearing, Trade
from minervas_core.transactions import Transaction
from tests.support.builders import AUCTION, GENESIS_TIME_MS, MARKET, bid, cancel, offer, revoke
from tests.support.governance import change_parameters
from tests.support.market_line import MarketLine

SLOT_MS = AUCTION.slot_ms


@pytest.fixture
def line() -> MarketLine:
    """`a` to `d` with auctions; the first slot is long over, so each test starts in a fresh one."""
    return fresh()


def fresh(**changes: int | str) -> MarketLine:
    return MarketLine("a", "b", "c", "d", parameters=msgspec.structs.replace(AUCTION, **changes))


def told(trades: tuple[Trade, ...]) -> list[tuple[str, str, int, int]]:
    """Seller, buyer, energy and price of each trade."""
    return [(each.seller, each.buyer, each.energy_wh, each.price_micro) for each in trades]


def end_slot(line: MarketLine) -> None:
    """An empty block at the end of the slot: the next one clears the book."""
    line.add(at_ms=(line.now_ms // SLOT_MS + 1) * SLOT_MS)


def clear(line: MarketLine) -> tuple[Trade, ...]:
    """The slot ends; returns the trades of the block that clears it."""
    end_slot(line)
    return line.add()


def clearing(line: MarketLine) -> Clearing:
    (found,) = line.blocks[-1][1].clearings
    return found


# when


def test_orders_rest_until_the_slot_ends_and_trade_at_one_price(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10), offer("b", line.mint("b", 100), 14))
    assert line.add(bid("c", 150, 20), bid("d", 30, 12)) == ()
    trades = clear(line)
    assert told(trades) == [("a", "c", 100, 14), ("b", "c", 50, 14)]
    assert line.owed_micro("c", "a") + line.owed_micro("c", "b") == 150 * 14
    line.undo_all()


def test_the_block_that_clears_is_the_first_whose_predecessor_is_past_the_slots_end(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10), bid("b", 100, 10))
    end_ms = (line.now_ms // SLOT_MS + 1) * SLOT_MS
    line.add(at_ms=end_ms - 1)
    assert line.add(at_ms=end_ms + 500) == (), "the predecessor still lies in the slot"
    assert len(line.add()) == 1
    assert clearing(line).slot_ends_ms == GENESIS_TIME_MS + end_ms


def test_a_clearing_block_takes_the_parents_book_before_its_own_transactions(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10))
    end_slot(line)
    assert line.add(bid("b", 100, 10)) == ()
    assert line.add() == ()
    assert told(clear(line)) == [("a", "b", 100, 10)]


def test_however_many_slots_passed_the_book_is_cleared_once_and_a_repeating_bid_comes_again_once(
    line: MarketLine,
) -> None:
    line.add(offer("a", line.mint("a", 400), 10), bid("b", 100, 10, repeats=True))
    line.add(at_ms=line.now_ms + 5 * SLOT_MS)
    assert told(line.add()) == [("a", "b", 100, 10)]
    assert line.add() == ()
    (wish,) = [order for order in line.orders.values() if order.side == "bid"]
    assert (wish.energy_wh, wish.repeat_wh) == (100, 100)
    assert told(clear(line)) == [("a", "b", 100, 10)]
    line.undo_all()


def test_an_auction_without_a_price_is_told_too(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 11), bid("b", 70, 10))
    assert clear(line) == ()
    told_of = clearing(line)
    assert told_of.price_micro is msgspec.UNSET
    assert (told_of.energy_wh, told_of.offered_wh, told_of.wanted_wh) == (0, 100, 70)


# price


def test_the_price_is_the_middle_of_all_that_would_do_rounded_down(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10), bid("b", 100, 15))
    assert told(clear(line)) == [("a", "b", 100, 12)]
    told_of = clearing(line)
    assert (told_of.lowest_micro, told_of.highest_micro, told_of.price_micro) == (10, 15, 12)
    assert (told_of.offers, told_of.bids, told_of.energy_wh) == (1, 1, 100)


def test_at_the_margin_the_older_order_goes_first(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    line.add(bid("c", 80, 10))
    line.add(bid("b", 80, 10), offer("a", lots, 10))
    assert told(clear(line)) == [("a", "c", 80, 10), ("a", "b", 20, 10)]


# smallest fills, own offers, personal deals


def test_a_large_offer_with_a_large_smallest_fill_blocks_nobody(line: MarketLine) -> None:
    large, small = line.mint("a", 1_000), line.mint("b", 50)
    line.add(offer("a", large, 0, smallest_wh=1_000), offer("b", small, 10), bid("c", 60, 12))
    assert told(clear(line)) == [("b", "c", 50, 12)]


def test_the_smallest_fill_counts_all_that_an_offer_sells_in_one_auction(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10, smallest_wh=70), bid("b", 40, 10), bid("c", 40, 10))
    assert sum(each.energy_wh for each in clear(line)) == 80
    line.add(bid("d", 20, 10))
    assert sum(each.energy_wh for each in clear(line)) == 20, "its last remainder"


def test_what_a_member_could_sell_to_itself_sits_out_on_both_sides(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 10), bid("a", 40, 12), bid("b", 100, 11))
    assert told(clear(line)) == [("a", "b", 60, 11)]
    line.undo_all()


def test_a_personal_deal_has_its_own_price_and_moves_nobody_elses(line: MarketLine) -> None:
    friends, sold = line.mint("a", 100), line.mint("b", 50)
    line.add(offer("a", friends, 2, buyer="c"), offer("b", sold, 10))
    line.add(bid("c", 80, 8), bid("d", 50, 12))
    assert told(clear(line)) == [("b", "d", 50, 11), ("a", "c", 80, 2)]
    told_of = clearing(line)
    assert (told_of.price_micro, told_of.energy_wh, told_of.deals, told_of.deals_wh) == (11, 50, 1, 80)
    line.undo_all()


def test_a_buyer_pays_the_auctions_price_before_a_personal_one(line: MarketLine) -> None:
    friends, sold = line.mint("a", 100), line.mint("b", 50)
    line.add(offer("a", friends, 15, buyer="c"), offer("b", sold, 10), bid("c", 80, 16))
    assert told(clear(line)) == [("b", "c", 50, 16), ("a", "c", 30, 15)]


# validity, cancellation, revocation


def test_an_order_takes_part_if_it_was_valid_at_the_slots_end(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    end_ms = GENESIS_TIME_MS + (line.now_ms // SLOT_MS + 1) * SLOT_MS
    line.add(offer("a", lots, 10), bid("b", 10, 10, until_ms=end_ms), bid("c", 10, 10, until_ms=end_ms - 1))
    line.add(at_ms=end_ms - GENESIS_TIME_MS - 2)
    line.add(at_ms=end_ms - GENESIS_TIME_MS + 3_000)
    assert told(line.add()) == [("a", "b", 10, 10)]
    assert {order.member for order in line.orders.values()} == {"a"}


def test_an_order_can_be_cancelled_before_its_slot_ends(line: MarketLine) -> None:
    made = offer("a", line.mint("a", 100), 10)
    line.add(made, bid("b", 100, 10))
    line.add(cancel("a", made.id))
    assert clear(line) == ()


# the limit of fills


def crowded(fills: int) -> tuple[MarketLine, list[Transaction]]:
    """Six lots of `a` that six bids of `b` and `c` get."""
    line = fresh(max_fills_per_block=fills)
    sales = [offer("a", [lot], 10 + n) for n, lot in enumerate(line.mint("a", *[20] * 6))]
    wishes = [bid("bc"[n % 2], 20, 20, salt=str(n)) for n in range(6)]
    line.add(*sales, *wishes)
    return line, [*sales, *wishes]


def test_fills_beyond_the_limit_wait_in_order_at_the_same_price() -> None:
    line, _ = crowded(4)
    first = clear(line)
    assert len(line.state.market.pending_fills.listed("all")) == 2
    second = line.add()
    assert [each.position for each in second] == [0, 1]
    assert {each.price_micro for each in (*first, *second)} == {clearing_of(line).price_micro}
    assert line.orders == {}
    assert line.add() == ()
    line.undo_all()


def clearing_of(line: MarketLine) -> Clearing:
    (found,) = [each for _, applied in line.blocks for each in applied.clearings if each.energy_wh]
    return found


def test_an_order_that_waits_for_its_fills_can_neither_be_cancelled_nor_expire() -> None:
    line = fresh(max_fills_per_block=1)
    lots = line.mint("a", 20, 20, 20)
    until_ms = GENESIS_TIME_MS + (line.now_ms // SLOT_MS + 1) * SLOT_MS
    sales = [offer("a", [lot], 10, until_ms=until_ms) for lot in lots]
    line.add(*sales, bid("b", 60, 10, until_ms=until_ms))
    line.add(at_ms=until_ms - GENESIS_TIME_MS)
    line.add()
    (last,) = [fill.offer for key, fill in sorted(line.state.market.pending_fills.items())[-1:]]
    assert line.refused(cancel("a", last)) == Code.ORDER_CLEARED
    assert [len(line.add()) for _ in range(2)] == [1, 1]
    assert line.orders == {}


def test_a_revocation_lets_waiting_fills_of_the_member_lapse() -> None:
    line, made = crowded(1)
    clear(line)
    line.add(revoke("b", expires=900))
    for _ in range(5):
        line.add()
    assert {order.member for order in line.orders.values()} == {"a"}
    assert line.owned_wh("c") == 60
    assert not line.state.market.pending_fills.listed("all")
    line.undo_all()
    assert made


def test_the_next_slot_begins_when_all_fills_are_carried_out() -> None:
    line, _ = crowded(1)
    repeating = bid("d", 10, 1, repeats=True)
    line.add(repeating)
    clear(line)
    line.add(offer("d", line.mint("d", 20), 30), bid("a", 20, 30))
    line.add(at_ms=line.now_ms + 3 * SLOT_MS)
    while line.state.market.pending_fills.listed("all"):
        line.add()
    assert [each.energy_wh for _, applied in line.blocks for each in applied.clearings] == [120]
    trades = [*line.add(), *clear(line)]
    assert told(tuple(trades)) == [("d", "a", 20, 30)]
    line.undo_all()


# repeating bids


@pytest.mark.parametrize("parameters", [AUCTION, msgspec.structs.replace(MARKET, slot_ms=SLOT_MS)])
def test_a_repeating_bid_wants_its_energy_of_every_slot_until_it_ends(parameters: object) -> None:
    line = MarketLine("a", "b", parameters=parameters)  # type: ignore[arg-type]  # parametrize loses the type
    line.add(offer("a", line.mint("a", 100, 100, 100), 10))
    until_ms = line.state.time_ms + 3 * SLOT_MS
    line.add(bid("b", 50, 10, repeats=True, until_ms=until_ms))
    for _ in range(5):
        clear(line)
    assert line.owned_wh("b") in {150, 200}
    assert {order.side for order in line.orders.values()} == {"offer"}
    line.undo_all()


def test_a_repeating_bid_that_got_all_can_be_cancelled_and_counts_as_open() -> None:
    line = fresh(max_open_orders=1)
    wanted = bid("b", 50, 10, repeats=True)
    line.add(offer("a", line.mint("a", 100), 10), wanted)
    end_slot(line)
    line.add()
    assert line.refused(bid("b", 10, 1, salt="2")) == Code.ORDER_LIMIT
    line.add(cancel("b", wanted.id))
    assert wanted.id not in line.orders


# credit


@pytest.mark.parametrize("mode", ["auction", "continuous"])
def test_debts_and_open_bids_stay_below_the_credit_limit(mode: str) -> None:
    line = fresh(market_mode=mode, credit_limit_micro=1_000)
    line.add(offer("a", line.mint("a", 100), 10))
    line.add(bid("b", 60, 10))
    assert line.refused(bid("b", 41, 10, salt="2")) == Code.CREDIT_LIMIT
    clear(line)
    assert owed_micro(line.state.market, "b") == 600
    assert line.refused(bid("b", 41, 10, salt="2")) == Code.CREDIT_LIMIT
    line.add(bid("b", 40, 10, salt="3"), bid("c", 100, 10))
    line.undo_all()


def test_a_repeating_bid_comes_again_only_while_the_credit_suffices() -> None:
    line = fresh(credit_limit_micro=1_000)
    line.add(offer("a", line.mint("a", 200), 10), bid("b", 40, 10, repeats=True))
    bought = [sum(each.energy_wh for each in clear(line)) for _ in range(4)]
    assert bought == [40, 40, 0, 0]
    assert owed_micro(line.state.market, "b") == 800


# changing the mode


def test_a_change_of_the_mode_takes_effect_with_the_next_slot(line: MarketLine) -> None:
    line.add(change_parameters(25, {"market_mode": "continuous"}, expires=900))
    line.add(offer("a", line.mint("a", 100), 10))
    while line.state.height < 30:
        line.add(at_ms=line.now_ms + 10)
    assert line.add(bid("b", 50, 10), at_ms=line.now_ms + 10) == (), "the slot began as an auction"
    assert told(clear(line)) == [("a", "b", 50, 10)]
    assert told(line.add(bid("c", 50, 10))) == [("a", "c", 50, 10)]
    line.undo_all()
