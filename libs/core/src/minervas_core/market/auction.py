"""The auction of a slot as a function of the book: one price, who trades, and with whom (spec/market.md).

It changes nothing; `slots` carries out what it decides. All is integer arithmetic over two sorted lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minervas_core.market.fills import Fill
from minervas_core.market.records import Order

Book = Sequence[tuple[str, Order]]
"""Orders of one side with their ids: best price first, at one price the older one first."""


@dataclass(frozen=True, slots=True)
class Auction:
    """What an auction decides."""

    fills: tuple[Fill, ...]
    """At one price, by rank of the offers, and of the bids within an offer."""
    offered_wh: int
    """Energy of the offers that took part."""
    wanted_wh: int
    """Energy of the bids that took part."""
    lowest_micro: int = 0
    highest_micro: int = 0
    """Between these two every price would do; without fills they mean nothing."""

    @property
    def price_micro(self) -> int:
        """The price of all fills: the middle, rounded down."""
        return (self.lowest_micro + self.highest_micro) // 2

    @property
    def energy_wh(self) -> int:
        """Energy that is sold."""
        return sum(fill.energy_wh for fill in self.fills)


def hold_auction(offers: Book, bids: Book) -> Auction:
    """Decide the auction of the offers that everybody may buy and all bids."""
    open_wh, wanted_wh = _without_own(offers, bids)
    offered_in_all, wanted_in_all = sum(open_wh), sum(wanted_wh)
    sold_wh, next_ask = _choose_offers(offers, open_wh, bids, wanted_wh)
    bought_wh, next_limit = _choose_bids(bids, wanted_wh, sum(sold_wh))
    if not any(sold_wh):
        return Auction((), offered_in_all, wanted_in_all)
    dearest_ask = max(offer.price_micro for (_, offer), sold in zip(offers, sold_wh, strict=True) if sold)
    least_limit = min(bid.price_micro for (_, bid), bought in zip(bids, bought_wh, strict=True) if bought)
    lowest = dearest_ask if next_limit is None else max(dearest_ask, next_limit)
    highest = least_limit if next_ask is None else min(least_limit, next_ask)
    price = (lowest + highest) // 2
    pairs = _pair(offers, sold_wh, bids, bought_wh)
    fills = tuple(Fill(offer, bid, energy_wh, price) for offer, bid, energy_wh in pairs)
    return Auction(fills, offered_in_all, wanted_in_all, lowest, highest)


def make_deals(offers: Book, bids: Book, taken_wh: Mapping[str, int]) -> tuple[Fill, ...]:
    """Personal deals: offers for a single buyer, each at its own price, against what the auction left of its bids.

    Args:
        offers: those with a buyer, cheapest first.
        bids: all of them.
        taken_wh: what the auction took, by bid.
    """
    wishes = {offer.buyer: _Wishes() for _, offer in offers}
    for bid_id, bid in bids:
        left_wh = bid.energy_wh - taken_wh.get(bid_id, 0)
        if bid.member in wishes and left_wh:
            wishes[bid.member].add(bid_id, bid.price_micro, left_wh)
    fills: list[Fill] = []
    for offer_id, offer in offers:
        if offer.buyer == offer.member:
            continue
        wanted = wishes[offer.buyer]
        wanted.forget_below(offer.price_micro)
        energy_wh = min(offer.energy_wh, wanted.energy_wh)
        if energy_wh >= min(offer.smallest_wh, offer.energy_wh):
            fills += [Fill(offer_id, bid_id, part, offer.price_micro) for bid_id, part in wanted.take(energy_wh)]
    return tuple(fills)


class _Wishes:
    """What one buyer still wants: dearest first."""

    def __init__(self) -> None:
        self._bids: deque[tuple[str, int, int]] = deque()
        """Id, limit and energy."""
        self.energy_wh = 0

    def add(self, bid_id: str, limit_micro: int, energy_wh: int) -> None:
        """The next bid, not dearer than those before."""
        self._bids.append((bid_id, limit_micro, energy_wh))
        self.energy_wh += energy_wh

    def forget_below(self, price_micro: int) -> None:
        """Only bids that pay this price count from here on: the offers to come are not cheaper."""
        while self._bids and self._bids[-1][1] < price_micro:
            self.energy_wh -= self._bids.pop()[2]

    def take(self, energy_wh: int) -> Iterator[tuple[str, int]]:
        """Take energy, not more than there is, from the dearest bids on: id and energy of each part."""
        self.energy_wh -= energy_wh
        while energy_wh:
            bid_id, limit_micro, there_wh = self._bids.popleft()
            part_wh = min(energy_wh, there_wh)
            if part_wh < there_wh:
                self._bids.appendleft((bid_id, limit_micro, there_wh - part_wh))
            energy_wh -= part_wh
            yield bid_id, part_wh


def _without_own(offers: Book, bids: Book) -> tuple[list[int], list[int]]:
    """Energy of each order that takes part: what a member could sell to itself sits out, on both sides.

    A member's cheapest offers are set against its dearest bids, as long as the bid pays what the offer asks. Then no
    price lets a member sell and buy. An offer that this leaves with less than its smallest fill sits out.
    """
    open_wh = [offer.energy_wh for _, offer in offers]
    wanted_wh = [bid.energy_wh for _, bid in bids]
    sellers = {offer.member for _, offer in offers}
    own: dict[str, deque[int]] = {}
    for place, (_, bid) in enumerate(bids):
        if bid.member in sellers:
            own.setdefault(bid.member, deque()).append(place)
    for place, (_, offer) in enumerate(offers):
        left = own.get(offer.member)
        while left and open_wh[place] and bids[left[0]][1].price_micro >= offer.price_micro:
            both_wh = min(open_wh[place], wanted_wh[left[0]])
            open_wh[place] -= both_wh
            wanted_wh[left[0]] -= both_wh
            if not wanted_wh[left[0]]:
                left.popleft()
        if open_wh[place] < min(offer.smallest_wh, offer.energy_wh):
            open_wh[place] = 0
    return open_wh, wanted_wh


def _choose_offers(
    offers: Book, open_wh: Sequence[int], bids: Book, wanted_wh: Sequence[int]
) -> tuple[list[int], int | None]:
    """What each offer sells, and the ask of the first energy for which there is no demand left.

    An offer sells as much as the bids that pay its price want beyond what cheaper offers sell. If that is less than
    its smallest fill, and less than all of it, the offer is passed over: nobody else has to wait for it.
    """
    sold_wh = [0] * len(offers)
    demand_wh, sold_in_all, last = sum(wanted_wh), 0, len(bids)
    for place, (_, offer) in enumerate(offers):
        if not open_wh[place]:
            continue
        while last and bids[last - 1][1].price_micro < offer.price_micro:
            last -= 1
            demand_wh -= wanted_wh[last]
        if demand_wh <= sold_in_all:
            return sold_wh, offer.price_micro
        energy_wh = min(open_wh[place], demand_wh - sold_in_all)
        if energy_wh < min(offer.smallest_wh, offer.energy_wh):
            continue
        sold_wh[place] = energy_wh
        sold_in_all += energy_wh
        if energy_wh < open_wh[place]:
            return sold_wh, offer.price_micro
    return sold_wh, None


def _choose_bids(bids: Book, wanted_wh: Sequence[int], sold_wh: int) -> tuple[list[int], int | None]:
    """What each bid buys of what is sold, dearest first, and the limit of the first energy that gets nothing."""
    bought_wh = [0] * len(bids)
    for place, wanted in enumerate(wanted_wh):
        bought_wh[place] = min(wanted, sold_wh)
        sold_wh -= bought_wh[place]
        if bought_wh[place] < wanted:
            return bought_wh, bids[place][1].price_micro
    return bought_wh, None


def _pair(offers: Book, sold_wh: Sequence[int], bids: Book, bought_wh: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Who delivers how much to whom: the first offer to the first bid, until one of them has all, and so on."""
    buyers = iter([(bid_id, bought) for (bid_id, _), bought in zip(bids, bought_wh, strict=True) if bought])
    bid_id, missing_wh = "", 0
    for (offer_id, _), sold in zip(offers, sold_wh, strict=True):
        left_wh = sold
        while left_wh:
            if not missing_wh:
                bid_id, missing_wh = next(buyers)
            energy_wh = min(left_wh, missing_wh)
            yield offer_id, bid_id, energy_wh
            left_wh -= energy_wh
            missing_wh -= energy_wh
