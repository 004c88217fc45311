"""Fills: energy moves from an offer's lots to a bidder, who then owes its price (design section 5).

Both modes of the market end here: `continuous` decides fills one by one, `auction` all at once.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from minervas_core.encoding import MAX_INTEGER, sha256_hex
from minervas_core.market.lots import split_lot
from minervas_core.market.records import Lot, Obligation, Order, Trade
from minervas_core.market.state import BlockContext, Market


def derived_lot_id(offer: str, bid: str, event: int) -> str:
    """Id of a lot that an offer derives: independent of the block, so a reorganisation does not rename it."""
    return sha256_hex(b"minervas/v1/lot\0" + f"{offer}/{bid}/{event}".encode("ascii"))


class Fill(NamedTuple):
    """Energy that is to move from an offer to a bid."""

    offer: str
    bid: str
    energy_wh: int
    price_micro: int
    """Of a Wh."""


def execute_fill(market: Market, fill: Fill, context: BlockContext) -> None:
    """Carry out a fill between two open orders, which both have that energy.

    One that would take the buyer's debt to the seller to 2^53, in energy or amount, does not happen.
    """
    offer_id, bid_id, energy_wh, price_micro = fill
    offer, bid = market.order(offer_id), market.order(bid_id)
    owed = market.owed(bid.member, offer.member)
    amount_micro = energy_wh * price_micro
    if owed.amount_micro + amount_micro > MAX_INTEGER or owed.energy_wh + energy_wh > MAX_INTEGER:
        return
    delivered = _deliver(market, fill, context)
    _put_rest(market, bid_id, msgspec.structs.replace(bid, energy_wh=bid.energy_wh - energy_wh))
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


def _put_rest(market: Market, order_id: str, rest: Order) -> None:
    """What a fill left of an order; a filled order leaves the book, unless it comes again with the next slot."""
    if rest.energy_wh or rest.repeat_wh:
        market.orders.put(order_id, rest)
    else:
        market.orders.drop(order_id)


def _deliver(market: Market, fill: Fill, context: BlockContext) -> list[str]:
    """Move energy from an offer's lots, in order, to the bidder; return the ids of the lots delivered."""
    offer_id, bid_id, energy_wh, _ = fill
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
    rest = msgspec.structs.replace(offer, energy_wh=offer.energy_wh - energy_wh, lots=lots, events=events)
    _put_rest(market, offer_id, rest)
    return delivered


def _make_lot(market: Market, lot_id: str, lot: Lot, context: BlockContext) -> None:
    market.lots.put(lot_id, lot)
    context.lots[lot_id] = lot
