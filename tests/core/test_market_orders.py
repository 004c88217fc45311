"""Offers, bids, cancellations, expiry and revocation: every rule accepted and refused (minervas_core.market.orders)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code, InvalidEncoding
from minervas_core.rules import claims_of
from minervas_core.transactions import Transaction, decode_transaction
from tests.support.builders import FOR_EVER_MS, GENESIS_TIME_MS, MARKET, admit, bid, cancel, offer, revoke, statement
from tests.support.market_line import MarketLine
from tools.vectors.document_cases import changed, put

LARGEST = 2**53 - 1


@pytest.fixture
def line() -> MarketLine:
    """`a`, `b` and `c`, who may sell and buy."""
    return MarketLine("a", "b", "c")


# offers


def test_an_offer_holds_its_lots_and_is_as_large_as_they_are(line: MarketLine) -> None:
    lots = line.mint("a", 300, 200)
    made = offer("a", lots[::-1], 142_600, smallest_wh=50, buyer="b")
    line.add(made)
    order = line.orders[made.id]
    assert (order.side, order.member, order.price_micro, order.energy_wh) == ("offer", "a", 142_600, 500)
    assert (order.smallest_wh, order.buyer, order.lots, order.height) == (50, "b", lots[::-1], line.state.height)
    assert {line.lots[lot].offer for lot in lots} == {made.id}
    line.undo_all()


def test_only_existing_lots_are_offered(line: MarketLine) -> None:
    assert line.refused(offer("a", ["0" * 64], 1)) == Code.LOT_UNKNOWN


def test_only_own_lots_are_offered(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    assert line.refused(offer("b", lots, 1)) == Code.LOT_NOT_OWNED


def test_a_sold_lot_is_not_offered_again_by_its_seller(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    line.add(offer("a", lots, 1))
    line.add(bid("b", 100, 1))
    assert line.refused(offer("a", lots, 1, salt="again")) == Code.LOT_UNKNOWN
    (bought,) = line.lots
    assert line.refused(offer("a", [bought], 1)) == Code.LOT_NOT_OWNED
    line.add(offer("b", [bought], 2))


def test_a_lot_is_in_one_open_offer_at_most(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    assert line.refused(offer("a", lots, 1), offer("a", lots, 2)) == Code.LOT_OFFERED
    line.add(offer("a", lots, 1))
    assert line.refused(offer("a", lots, 2)) == Code.LOT_OFFERED


def test_a_lot_stands_once_in_an_offer(line: MarketLine) -> None:
    (lot,) = line.mint("a", 100)
    assert line.refused(offer("a", [lot, lot], 1)) == Code.LOT_TWICE


def test_an_offer_has_a_limited_number_of_lots() -> None:
    line = MarketLine("a", parameters=msgspec.structs.replace(MARKET, max_lots_per_offer=2))
    lots = line.mint("a", 10, 10, 10)
    assert line.refused(offer("a", lots, 1)) == Code.ORDER_TOO_LARGE
    line.add(offer("a", lots[:2], 1))


def test_lots_of_a_statement_can_be_offered_in_its_block_and_bought_there(line: MarketLine) -> None:
    """An input may come from an earlier group of the same block."""
    minted = statement("a", (2_000, 0), (3_000, 400))
    trades = line.add(minted, offer("a", [minted.id], 5), bid("b", 400, 5))
    assert [(each.seller, each.buyer, each.energy_wh) for each in trades] == [("a", "b", 400)]
    line.undo_all()


# what offers and bids have in common


@pytest.mark.parametrize("energy_wh", [1, 9])
def test_an_order_has_a_smallest_energy(line: MarketLine, energy_wh: int) -> None:
    lots = line.mint("a", energy_wh)
    assert line.refused(offer("a", lots, 1)) == Code.ORDER_TOO_SMALL
    assert line.refused(bid("a", energy_wh, 1)) == Code.ORDER_TOO_SMALL
    line.add(bid("a", 10, 1))


@pytest.mark.parametrize(
    ("energy_wh", "price_micro", "fits"),
    [
        (LARGEST, 1, True),
        (LARGEST, 2, False),
        (LARGEST, 0, True),
        (10, LARGEST // 10, True),
        (10, LARGEST // 10 + 1, False),
        (LARGEST, LARGEST, False),
    ],
)
def test_energy_times_price_stays_below_2_to_the_53(
    line: MarketLine, energy_wh: int, price_micro: int, fits: bool
) -> None:
    huge = bid("a", energy_wh, price_micro)
    if fits:
        line.add(huge)
        assert line.orders[huge.id].energy_wh == energy_wh
    else:
        assert line.refused(huge) == Code.ORDER_TOO_LARGE


def test_an_offer_at_a_huge_price_is_refused(line: MarketLine) -> None:
    lots = line.mint("a", 1_000)
    assert line.refused(offer("a", lots, LARGEST // 1_000 + 1)) == Code.ORDER_TOO_LARGE
    line.add(offer("a", lots, LARGEST // 1_000))


@pytest.mark.parametrize("energy_wh", [0, -1, 2**53])
def test_energy_of_zero_below_or_beyond_the_largest_number_is_no_bid(energy_wh: int) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        decode_transaction(changed(bid("a", 10, 1).raw, put("body", "energy_wh", value=energy_wh)))
    assert caught.value.code == Code.WRONG_SHAPE


@pytest.mark.parametrize("price_micro", [-1, 2**53])
def test_a_price_below_zero_or_beyond_the_largest_number_is_no_order(price_micro: int) -> None:
    for made in (bid("a", 10, 1), offer("a", ["0" * 64], 1)):
        with pytest.raises(InvalidEncoding) as caught:
            decode_transaction(changed(made.raw, put("body", "price_micro", value=price_micro)))
        assert caught.value.code == Code.WRONG_SHAPE


def test_a_price_of_zero_is_a_gift(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 0))
    (trade,) = line.add(bid("b", 100, 0))
    assert (trade.amount_micro, line.owed_micro("b", "a"), line.owned_wh("b")) == (0, 0, 100)


def test_a_member_has_a_limited_number_of_open_orders() -> None:
    line = MarketLine("a", "b", parameters=msgspec.structs.replace(MARKET, max_open_orders=2))
    lots = line.mint("a", 100)
    first, second = offer("a", lots, 50), bid("a", 10, 1, salt="1")
    line.add(first, second)
    assert line.refused(bid("a", 10, 1, salt="2")) == Code.ORDER_LIMIT
    line.add(bid("b", 10, 1))
    line.add(cancel("a", second.id), bid("a", 10, 1, salt="3"))
    assert line.refused(offer("a", lots, 50, salt="2")) == Code.LOT_OFFERED
    line.add(bid("b", 100, 50))
    assert first.id not in line.orders
    line.add(bid("a", 10, 1, salt="4"))


@pytest.mark.parametrize("who", ["nobody", "gone"])
def test_only_wallets_of_active_members_trade(line: MarketLine, who: str) -> None:
    lots = line.mint("a", 100)
    line.add(admit("gone", expires=900))
    line.add(revoke("gone", expires=900))
    for made in (offer(who, lots, 1), bid(who, 10, 1), cancel(who, "0" * 64)):
        assert line.refused(made) == Code.MEMBER_UNKNOWN


# cancellations


def test_a_cancelled_offer_frees_its_lots(line: MarketLine) -> None:
    lots = line.mint("a", 100, 50)
    made = offer("a", lots, 7)
    line.add(made)
    line.add(bid("b", 30, 7))
    line.add(cancel("a", made.id))
    assert line.orders == {}
    assert {lot.offer for lot in line.lots.values()} == {""}
    assert (line.owned_wh("a"), line.owned_wh("b")) == (120, 30)
    line.undo_all()


def test_freed_lots_can_be_offered_in_the_same_block(line: MarketLine) -> None:
    """Cancellations come before offers in a block."""
    lots = line.mint("a", 100)
    made = offer("a", lots, 7)
    line.add(made)
    again = offer("a", lots, 8, salt="dearer")
    line.add(cancel("a", made.id), again)
    assert set(line.orders) == {again.id}
    line.undo_all()


def test_a_bid_can_be_cancelled(line: MarketLine) -> None:
    made = bid("b", 100, 7)
    line.add(made)
    line.add(cancel("b", made.id))
    assert line.orders == {}


def test_only_own_open_orders_can_be_cancelled(line: MarketLine) -> None:
    made = bid("b", 100, 7)
    assert line.refused(cancel("b", made.id)) == Code.ORDER_UNKNOWN
    line.add(made)
    assert line.refused(cancel("c", made.id)) == Code.ORDER_NOT_OWNED
    assert line.refused(cancel("b", made.id), cancel("b", made.id, salt="again")) == Code.ORDER_UNKNOWN
    line.add(cancel("b", made.id))
    assert line.refused(cancel("b", made.id, salt="later")) == Code.ORDER_UNKNOWN


def test_a_filled_order_can_not_be_cancelled(line: MarketLine) -> None:
    made = offer("a", line.mint("a", 100), 7)
    line.add(made)
    line.add(bid("b", 100, 7))
    assert line.refused(cancel("a", made.id)) == Code.ORDER_UNKNOWN


# validity


def test_an_order_expires_by_the_time_of_the_block_before(line: MarketLine) -> None:
    """A miner raises its block's time while it searches: what applied must not stop to apply."""
    until_ms = line.state.time_ms + 5_000
    made = bid("b", 100, 7, until_ms=until_ms)
    line.add(made)
    line.add(at_ms=until_ms - GENESIS_TIME_MS - 1)
    line.add(at_ms=until_ms - GENESIS_TIME_MS + 50_000)
    assert made.id in line.orders, "the block before was still within its validity"
    line.add()
    assert line.orders == {}
    line.undo_all()


def test_an_order_that_expired_no_longer_trades_and_frees_its_lots(line: MarketLine) -> None:
    lots = line.mint("a", 100)
    until_ms = line.state.time_ms + 1_500
    line.add(offer("a", lots, 7, until_ms=until_ms))
    line.add(at_ms=until_ms - GENESIS_TIME_MS)
    assert line.add(bid("b", 100, 7)) == ()
    assert line.lots[lots[0]].offer == ""
    line.undo_all()


def test_an_expired_order_is_refused(line: MarketLine) -> None:
    lots, now_ms = line.mint("a", 100), line.state.time_ms
    for until_ms, valid in ((now_ms, False), (now_ms - 1, False), (now_ms + 1, True)):
        for made in (offer("a", lots, 9, until_ms=until_ms), bid("b", 10, 1, until_ms=until_ms)):
            if valid:
                line.add(made, at_ms=now_ms - GENESIS_TIME_MS + 100_000)
                line.undo()
            else:
                assert line.refused(made) == Code.ORDER_EXPIRED


# revocation


def test_a_revocation_closes_the_members_orders_and_freezes_its_lots(line: MarketLine) -> None:
    lots, others = line.mint("a", 100, 60), line.mint("b", 80)
    mine = [offer("a", lots[:1], 7), bid("a", 10, 1)]
    theirs = offer("b", others, 9)
    line.add(*mine, theirs)
    line.add(revoke("a", expires=900))
    assert set(line.orders) == {theirs.id}
    assert line.owned_wh("a") == 160
    assert {line.lots[lot].offer for lot in lots} == {""}
    assert line.refused(offer("a", lots, 1, salt="late")) == Code.MEMBER_UNKNOWN
    assert line.refused(cancel("a", mine[0].id)) == Code.MEMBER_UNKNOWN
    line.undo_all()


def test_what_a_revoked_member_owes_and_is_owed_stays(line: MarketLine) -> None:
    line.add(offer("a", line.mint("a", 100), 7))
    line.add(bid("b", 40, 7))
    line.add(revoke("a", expires=900))
    assert (line.owed_micro("b", "a"), line.owned_wh("b")) == (280, 40)
    (bought,) = [lot for lot, record in line.lots.items() if record.owner == "b"]
    line.add(offer("b", [bought], 9))


# the queue


def test_claims_of_orders() -> None:
    one, other = offer("a", ["1" * 64, "2" * 64], 5), offer("a", ["2" * 64], 6)
    assert set(claims_of(one)) & set(claims_of(other))
    assert set(claims_of(cancel("a", one.id))) == set(claims_of(cancel("a", one.id, salt="2")))
    assert claims_of(bid("a", 10, 1)) == ()


def test_an_order_without_end_of_validity_is_limited_by_nothing_else() -> None:
    made: Transaction = bid("a", 10, 1, until_ms=LARGEST)
    line = MarketLine("a")
    line.add(made)
    line.add(at_ms=FOR_EVER_MS - GENESIS_TIME_MS)
    line.add()
    assert made.id in line.orders
