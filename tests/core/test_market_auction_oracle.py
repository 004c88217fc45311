"""The auction against a brute force that looks at every Wh and every price (spec/market.md, the auction).

The oracle is written from the rule's meaning, not from its steps: volume, price and consistency are searched for.
`make soak` tries twenty times as many books.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from minervas_core.market.auction import Auction, hold_auction, make_deals
from minervas_core.market.records import Order
from tests.support.examples import examples

HIGHEST = 6
"""Prices of the small books are 0 to this."""


@dataclass(frozen=True)
class Small:
    """An order of a small book."""

    member: str
    price: int
    energy: int
    smallest: int = 1
    buyer: str = ""


def order(side: str, small: Small, place: int) -> Order:
    return Order(
        side="offer" if side == "offer" else "bid",
        member=small.member,
        price_micro=small.price,
        energy_wh=small.energy,
        smallest_wh=small.smallest,
        valid_until_ms=1,
        height=1,
        index=place,
        buyer=small.buyer,
        lots=[],
    )


def book(side: str, smalls: list[Small]) -> list[tuple[str, Order]]:
    """Best price first, then oldest, named by place."""
    made = [(f"{side}{place}", order(side, small, place)) for place, small in enumerate(smalls)]
    sign = 1 if side == "offer" else -1
    return sorted(made, key=lambda each: (sign * each[1].price_micro, each[1].index))


members = st.sampled_from("abc")
smalls = st.builds(Small, members, st.integers(0, HIGHEST), st.integers(1, 4))
coarse = st.builds(Small, members, st.integers(0, HIGHEST), st.integers(1, 4), st.sampled_from([1, 1, 2, 3, 4, 9]))
strangers = st.builds(Small, st.just("s"), st.integers(0, HIGHEST), st.integers(1, 4), st.sampled_from([1, 2, 4, 9]))
bidders = st.builds(Small, st.just("b"), st.integers(0, HIGHEST), st.integers(1, 4))


def sold_by(auction: Auction) -> Counter[str]:
    found: Counter[str] = Counter()
    for fill in auction.fills:
        found.update({fill.offer: fill.energy_wh, fill.bid: fill.energy_wh})
    return found


def single_wh(orders: list[tuple[str, Order]], side: str) -> list[tuple[int, str]]:
    """Every Wh of a book with its price, best first; within an order one after the other."""
    sign = 1 if side == "offer" else -1
    return sorted(
        ((sign * each.price_micro, name) for name, each in orders for _ in range(each.energy_wh)),
        key=lambda unit: unit[0],
    )


def oracle(offers: list[tuple[str, Order]], bids: list[tuple[str, Order]]) -> tuple[int, list[int]]:
    """Greatest volume over all prices, and every price at which that volume leaves no better-priced Wh out."""
    asks, limits = [p for p, _ in single_wh(offers, "offer")], [-p for p, _ in single_wh(bids, "bid")]

    def volume(price: int) -> int:
        return min(sum(ask <= price for ask in asks), sum(limit >= price for limit in limits))

    most = max(volume(price) for price in range(HIGHEST + 1))
    fit = [
        price
        for price in range(HIGHEST + 1)
        if volume(price) == most
        and sum(ask < price for ask in asks) <= most
        and sum(limit > price for limit in limits) <= most
    ]
    return most, fit


def without_self(offers: list[tuple[str, Order]], bids: list[tuple[str, Order]]) -> Counter[str]:
    """Energy that sits out, by order: Wh by Wh, a member's cheapest against its own dearest while that pays."""
    out: Counter[str] = Counter()
    owner = {name: each.member for name, each in (*offers, *bids)}
    for member in "abcs":
        own_asks = [(p, name) for p, name in single_wh(offers, "offer") if owner[name] == member]
        own_limits = [(-p, name) for p, name in single_wh(bids, "bid") if owner[name] == member]
        for (ask, offered), (limit, wanted) in zip(own_asks, own_limits, strict=False):
            if ask > limit:
                break
            out.update((offered, wanted))
    return out


def reduced(orders: list[tuple[str, Order]], out: Counter[str]) -> list[tuple[str, Order]]:
    """A book without the energy that sits out, nor offers that cannot reach their smallest fill any more."""
    found = []
    for name, each in orders:
        left = each.energy_wh - out[name]
        if left and left >= min(each.smallest_wh, each.energy_wh):
            found.append((name, order(each.side, Small(each.member, each.price_micro, left), each.index)))
    return found


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(smalls, max_size=5), st.lists(smalls, max_size=5))
def test_volume_and_price_are_those_of_the_oracle(sales: list[Small], wishes: list[Small]) -> None:
    offers, bids = book("offer", sales), book("bid", wishes)
    auction = hold_auction(offers, bids)
    out = without_self(offers, bids)
    volume, prices = oracle(reduced(offers, out), reduced(bids, out))
    assert auction.energy_wh == volume
    if volume:
        assert [auction.lowest_micro, auction.highest_micro] == [prices[0], prices[-1]]
        assert auction.price_micro == (prices[0] + prices[-1]) // 2
        assert {fill.price_micro for fill in auction.fills} == {auction.price_micro}


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(coarse, max_size=6), st.lists(smalls, max_size=6))
@example([Small("a", 0, 4, smallest=9), Small("a", 3, 1)], [Small("b", 5, 2)])
def test_every_fill_keeps_every_limit_and_only_stated_rules_leave_a_better_order_out(
    sales: list[Small], wishes: list[Small]
) -> None:
    offers, bids = book("offer", sales), book("bid", wishes)
    auction = hold_auction(offers, bids)
    got, out, price = sold_by(auction), without_self(offers, bids), auction.price_micro
    by_id = dict((*offers, *bids))
    for fill in auction.fills:
        sale, wish = by_id[fill.offer], by_id[fill.bid]
        assert sale.price_micro <= price <= wish.price_micro
        assert sale.member != wish.member
        assert fill.energy_wh > 0
    for name, each in offers:
        assert got[name] == 0 or got[name] >= min(each.smallest_wh, each.energy_wh)
        assert got[name] <= each.energy_wh - out[name]
        if auction.fills and each.price_micro < price and each.smallest_wh == 1:
            assert got[name] == each.energy_wh - out[name], "cheaper than the price and left out"
    for name, each in bids:
        assert got[name] <= each.energy_wh - out[name]
        if auction.fills and each.price_micro > price:
            assert got[name] == each.energy_wh - out[name], "pays more than the price and left out"


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(strangers, max_size=6), st.lists(bidders, max_size=6))
def test_offers_that_are_passed_over_change_nothing_for_the_others(sales: list[Small], wishes: list[Small]) -> None:
    """Nobody can block an auction, or move its price, with an offer whose smallest fill is not met."""
    offers, bids = book("offer", sales), book("bid", wishes)
    auction = hold_auction(offers, bids)
    got = sold_by(auction)
    demand_at = {p: sum(each.energy_wh for _, each in bids if each.price_micro >= p) for p in range(HIGHEST + 1)}
    cheaper_wh, passed_over = 0, set()
    for name, each in offers:
        room = demand_at[each.price_micro] - cheaper_wh
        if room > 0 and got[name] == 0:
            assert room < min(each.smallest_wh, each.energy_wh), "passed over without a reason"
            passed_over.add(name)
        cheaper_wh += got[name]
    left = [(name, each) for name, each in offers if name not in passed_over]
    alone = hold_auction(left, bids)
    assert alone.fills == auction.fills
    volume, prices = oracle(left, bids)
    assert auction.energy_wh == volume
    if volume:
        assert auction.price_micro == (prices[0] + prices[-1]) // 2


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(smalls, max_size=5), st.lists(smalls, max_size=5))
def test_at_the_margin_the_better_price_and_then_the_older_order_goes_first(
    sales: list[Small], wishes: list[Small]
) -> None:
    offers, bids = book("offer", sales), book("bid", wishes)
    got, out = sold_by(hold_auction(offers, bids)), without_self(offers, bids)
    for orders in (offers, bids):
        left = [(each.energy_wh - out[name], got[name]) for name, each in orders if each.energy_wh > out[name]]
        full = [wanted == bought for wanted, bought in left]
        assert full == sorted(full, reverse=True), "an order was filled before one that stands in front of it"
        assert sum(0 < bought < wanted for wanted, bought in left) <= 1


buyers = st.builds(Small, members, st.integers(0, HIGHEST), st.integers(1, 4), st.sampled_from([1, 2, 9]), members)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(coarse, max_size=3), st.lists(buyers, max_size=4), st.lists(smalls, max_size=5))
def test_deals_take_what_the_auction_left_of_their_buyers_bids_at_their_own_price(
    sales: list[Small], personal: list[Small], wishes: list[Small]
) -> None:
    bids = book("bid", wishes)
    auction = hold_auction(book("offer", sales), bids)
    taken = {name: wh for name, wh in sold_by(auction).items() if name.startswith("bid")}
    offers = book("offer", personal)
    deals = make_deals(offers, bids, taken)
    left = {name: each.energy_wh - taken.get(name, 0) for name, each in bids}
    expected: list[tuple[str, str, int, int]] = []
    for name, each in offers:
        fit = [
            b for b, wish in bids if wish.member == each.buyer != each.member and wish.price_micro >= each.price_micro
        ]
        parts, missing = [], each.energy_wh
        for bid_id in fit:
            part = min(missing, left[bid_id])
            parts += [(name, bid_id, part, each.price_micro)] if part else []
            missing -= part
        if parts and each.energy_wh - missing >= min(each.smallest_wh, each.energy_wh):
            expected += parts
            for _, bid_id, part, _ in parts:
                left[bid_id] -= part
    assert [tuple(fill) for fill in deals] == expected
