"""The auction of a slot as one would write it down first: every price is tried over all orders."""

from __future__ import annotations

from benchmarks.naive.market import Changes, Market, Order


def clear(market: Market) -> Changes:
    """Find the price that sells most, and carry out the fills. Smallest fills and personal deals are left out."""
    changes = Changes()
    offers = sorted(_side(market, "offer"), key=lambda order: (order.price_micro, order.place))
    bids = sorted(_side(market, "bid"), key=lambda order: (-order.price_micro, order.place))
    best, fit = 0, list[int]()
    for price in sorted({order.price_micro for order in (*offers, *bids)}):
        supply = sum(order.energy_wh for order in offers if order.price_micro <= price)
        demand = sum(order.energy_wh for order in bids if order.price_micro >= price)
        sold = min(supply, demand)
        if sold > best:
            best, fit = sold, []
        if sold == best:
            fit.append(price)
    price = (fit[0] + fit[-1]) // 2 if best else 0
    while best:
        offer, bid = offers[0], bids[0]
        energy_wh = min(offer.energy_wh, bid.energy_wh, best)
        if offer.member != bid.member:
            market.fill(offer, bid, price, changes)
        offers, bids = (each if each[0].energy_wh else each[1:] for each in (offers, bids))
        best -= energy_wh
    return changes


def _side(market: Market, side: str) -> list[Order]:
    return [order for order in market.orders.values() if order.side == side]
