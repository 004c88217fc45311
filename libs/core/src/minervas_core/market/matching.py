"""Continuous matching: an incoming order executes at the resting order's price (design section 5).

Best price first, then (height, index). Partial fills. A fill below an offer's smallest fill happens only if it takes
the offer's whole remainder. A member does not trade with itself. Only its buyer sees an offer for a single buyer.
"""

from __future__ import annotations

import msgspec

from minervas_core.encoding import MAX_INTEGER, sha256_hex
from minervas_core.market.lots import split_lot
from minervas_core.market.records import Lot, Obligation, Order, Trade
from minervas_core.market.state import BlockContext, Market


def derived_lot_id(offer: str, bid: str, event: int) -> str:
    """Id of a lot that an offer derives: independent of the block, so a reorganisation does not rename it."""
    return sha256_hex(b"minervas/v1/lot\0" + f"{offer}/{bid}/{event}".encode("ascii"))


def resume_matching(market: Market, context: BlockContext) -> None:
    """Go on with the orders whose matching was cut short in the block before, oldest first."""
    waiting = [str(entry[-1]) for entry in market.orders.listed("waiting")]
    for order_id in waiting:
        order = market.orders.get(order_id)
        if order is not None:
            market.orders.put(order_id, msgspec.structs.replace(order, waiting=False))
            match_incoming(market, order_id, context)


def match_incoming(market: Market, order_id: str, context: BlockContext) -> None:
    """Execute an order against the resting ones until neither price, energy nor the fills of a block allow more."""
    incoming: Order | None = market.order(order_id)
    book = market.orders.listed("bid" if incoming and incoming.side == "offer" else "offer")
    position = 0
    while incoming is not None and position < len(book):
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
            _fill(market, offer_id, bid_id, resting.price_micro, context)
        if resting_id in market.orders:
            position += 1
        incoming = market.orders.get(order_id)


def _may_trade(offer: Order, bid: Order) -> bool:
    return offer.member != bid.member and offer.buyer in ("", bid.member)


def _is_older(resting: Order, incoming: Order) -> bool:
    """Orders placed after one whose matching was cut short do not come before it."""
    return (resting.height, resting.index) < (incoming.height, incoming.index)


def _fill(market: Market, offer_id: str, bid_id: str, price_micro: int, context: BlockContext) -> None:
    """One fill at the resting order's price, if the offer's smallest fill allows it."""
    offer, bid = market.order(offer_id), market.order(bid_id)
    energy_wh = min(offer.energy_wh, bid.energy_wh)
    if energy_wh < min(offer.smallest_wh, offer.energy_wh):
        return
    owed = market.owed(bid.member, offer.member)
    amount_micro = energy_wh * price_micro
    if owed.amount_micro + amount_micro > MAX_INTEGER or owed.energy_wh + energy_wh > MAX_INTEGER:
        return
    delivered = _deliver(market, offer_id, bid_id, energy_wh, context)
    _reduce(market, bid_id, energy_wh)
    debt = Obligation(amount_micro=owed.amount_micro + amount_micro, energy_wh=owed.energy_wh + energy_wh)
    market.obligations.put(f"{bid.member}/{offer.member}", debt)
    context.fills_left -= 1
    context.trades.append(
        Trade(
            height=context.height,
            position=len(context.trades),
            offer=offer_id,
            bid=bid_id,
            seller=offer.member,
            buyer=bid.member,
            energy_wh=energy_wh,
            price_micro=price_micro,
            amount_micro=amount_micro,
            lots=delivered,
        )
    )


def _reduce(market: Market, order_id: str, energy_wh: int) -> None:
    """Take filled energy off an order; a filled order leaves the book."""
    order = market.order(order_id)
    if order.energy_wh == energy_wh:
        market.orders.drop(order_id)
    else:
        left = msgspec.structs.replace(order, energy_wh=order.energy_wh - energy_wh)
        market.orders.put(order_id, left)


def _deliver(market: Market, offer_id: str, bid_id: str, energy_wh: int, context: BlockContext) -> list[str]:
    """Move energy from an offer's lots, in order, to the bidder; return the ids of the lots delivered."""
    offer, buyer = market.order(offer_id), market.order(bid_id).member
    lots, events, missing_wh = list(offer.lots), offer.events, energy_wh
    delivered: list[str] = []
    while missing_wh > 0:
        source_id = lots.pop(0)
        source = market.lot(source_id)
        piece_wh = min(missing_wh, source.energy_wh)
        delivered.append(derived_lot_id(offer_id, bid_id, events))
        piece, change = split_lot(source_id, source, piece_wh)
        sold = msgspec.structs.replace(piece, owner=buyer, offer="")
        _make_lot(market, delivered[-1], sold, context)
        events += 1
        if change is not None:
            change_id = derived_lot_id(offer_id, "", events)
            _make_lot(market, change_id, change, context)
            lots.insert(0, change_id)
            events += 1
        market.lots.drop(source_id)
        missing_wh -= piece_wh
    market.orders.put(offer_id, msgspec.structs.replace(offer, lots=lots, events=events))
    _reduce(market, offer_id, energy_wh)
    return delivered


def _make_lot(market: Market, lot_id: str, lot: Lot, context: BlockContext) -> None:
    market.lots.put(lot_id, lot)
    context.lots[lot_id] = lot
