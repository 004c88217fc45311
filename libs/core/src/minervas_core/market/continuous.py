"""Continuous matching: an incoming order executes at the resting order's price (design section 5).

Best price first, then (height, index). Partial fills. A fill below an offer's smallest fill happens only if it takes
the offer's whole remainder. A member does not trade with itself. Only its buyer sees an offer for a single buyer.
"""

from __future__ import annotations

import msgspec

from minervas_core.market.fills import Fill, execute_fill
from minervas_core.market.records import Order
from minervas_core.market.state import BlockContext, Market


def resume_matching(market: Market, context: BlockContext) -> None:
    """Go on with the orders whose matching was cut short in the block before, oldest first."""
    waiting = [str(entry[-1]) for entry in market.orders.listed("waiting")]
    for order_id in waiting:
        order = market.orders.get(order_id)
        if order is not None and order.waiting:
            market.orders.put(order_id, msgspec.structs.replace(order, waiting=False))
            match_incoming(market, order_id, context)


def match_incoming(market: Market, order_id: str, context: BlockContext) -> None:
    """Execute an order against the resting ones until neither price, energy nor the fills of a block allow more."""
    incoming: Order | None = market.order(order_id)
    book = market.orders.listed("bid" if incoming and incoming.side == "offer" else "offer")
    position = 0
    while incoming is not None and incoming.energy_wh and position < len(book):
        resting_id = str(book[position][-1])
        resting = market.order(resting_id)
        offer_id, bid_id = (order_id, resting_id) if incoming.side == "offer" else (resting_id, order_id)
        offer, bid = market.order(offer_id), market.order(bid_id)
        if offer.price_micro > bid.price_micro:
            return
        if _may_trade(offer, bid) and _is_older(resting, incoming):
            if context.fills_left == 0:
                market.orders.put(order_id, msgspec.structs.replace(incoming, waiting=True))
                return
            energy_wh = min(offer.energy_wh, bid.energy_wh)
            if energy_wh >= min(offer.smallest_wh, offer.energy_wh):
                execute_fill(market, Fill(offer_id, bid_id, energy_wh, resting.price_micro), context)
        if position < len(book) and book[position][-1] == resting_id:
            position += 1
        incoming = market.orders.get(order_id)


def _may_trade(offer: Order, bid: Order) -> bool:
    return offer.member != bid.member and offer.buyer in ("", bid.member)


def _is_older(resting: Order, incoming: Order) -> bool:
    """Orders placed after one whose matching was cut short do not come before it."""
    return (resting.height, resting.index) < (incoming.height, incoming.index)
