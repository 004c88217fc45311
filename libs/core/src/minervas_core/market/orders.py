"""Offers, bids and cancellations: who may place what, and what becomes of the lots (design section 5).

Every rule has a check, which changes nothing (the queue asks it too), and an application, which relies on the check.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from minervas_core.encoding import MAX_INTEGER
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Parameters
from minervas_core.market.continuous import match_incoming
from minervas_core.market.credit import check_credit, has_credit
from minervas_core.market.lots import free_lots
from minervas_core.market.records import Bid, Cancel, Merge, Offer, Order, Retire
from minervas_core.market.state import BlockContext, Market


def check_offer(market: Market, offer: Offer, seller: str, parent_time_ms: int, parameters: Parameters) -> None:
    """Check an offer of `seller`.

    Raises:
        InvalidTransaction: ``lot_unknown``, ``lot_not_owned``, ``lot_offered``, ``lot_twice``, ``order_too_small``,
            ``order_too_large``, ``order_expired`` or ``order_limit``.
    """
    if len(offer.lots) > parameters.max_lots_per_offer:
        raise InvalidTransaction(Code.ORDER_TOO_LARGE, "Too many lots in one offer", lots=len(offer.lots))
    energy_wh = sum(lot.energy_wh for lot in free_lots(market, offer.lots, seller))
    _check_terms(energy_wh, offer, parent_time_ms, parameters)
    _check_count(market, seller, parameters)


def place_offer(market: Market, offer_id: str, offer: Offer, seller: str, context: BlockContext) -> None:
    """Put checked lots on sale; in continuous mode they are matched at once."""
    lots = {lot_id: market.lot(lot_id) for lot_id in offer.lots}
    for lot_id, lot in lots.items():
        market.lots.put(lot_id, msgspec.structs.replace(lot, offer=offer_id))
    order = Order(
        side="offer",
        member=seller,
        price_micro=offer.price_micro,
        energy_wh=sum(lot.energy_wh for lot in lots.values()),
        smallest_wh=offer.smallest_wh,
        valid_until_ms=offer.valid_until_ms,
        height=context.height,
        index=context.orders,
        buyer=offer.buyer,
        lots=list(offer.lots),
    )
    _enter(market, offer_id, order, context)


def check_bid(market: Market, bid: Bid, buyer: str, parent_time_ms: int, parameters: Parameters) -> None:
    """Check a bid of `buyer`.

    Raises:
        InvalidTransaction: ``order_too_small``, ``order_too_large``, ``order_expired``, ``order_limit`` or
            ``credit_limit``.
    """
    _check_terms(bid.energy_wh, bid, parent_time_ms, parameters)
    _check_count(market, buyer, parameters)
    check_credit(market, buyer, bid.energy_wh * bid.price_micro, parameters.credit_limit_micro)


def place_bid(market: Market, bid_id: str, bid: Bid, buyer: str, context: BlockContext) -> None:
    """Ask for energy; in continuous mode it is matched at once."""
    order = Order(
        side="bid",
        member=buyer,
        price_micro=bid.price_micro,
        energy_wh=bid.energy_wh,
        valid_until_ms=bid.valid_until_ms,
        height=context.height,
        index=context.orders,
        lots=[],
        repeat_wh=bid.energy_wh if bid.repeats else 0,
    )
    _enter(market, bid_id, order, context)


def renew_bids(market: Market, parameters: Parameters, context: BlockContext) -> None:
    """At the start of a slot: every repeating bid that got something of the last one wants all its energy again.

    It stands behind all orders that are there, in the order in which the repeating bids stood. One whose member's
    credit does not suffice goes on with what it has left.
    """
    for *_, order_id in list(market.orders.listed("repeating")):
        bid = market.order(str(order_id))
        got_micro = (bid.repeat_wh - bid.energy_wh) * bid.price_micro
        if bid.energy_wh < bid.repeat_wh and has_credit(market, bid.member, got_micro, parameters.credit_limit_micro):
            again = msgspec.structs.replace(
                bid, energy_wh=bid.repeat_wh, height=context.height, index=context.orders, waiting=False
            )
            _enter(market, str(order_id), again, context)


def check_cancel(market: Market, cancel: Cancel, member: str) -> None:
    """Check that `member` may take an order back.

    Raises:
        InvalidTransaction: ``order_unknown``, ``order_not_owned`` or ``order_cleared``.
    """
    order = market.orders.get(cancel.order)
    if order is None:
        raise InvalidTransaction(
            Code.ORDER_UNKNOWN, "No such open order: filled, expired or never placed", order=cancel.order
        )
    if order.member != member:
        raise InvalidTransaction(
            Code.ORDER_NOT_OWNED, "The order is another member's", order=cancel.order, owner=order.member
        )
    if market.waits_for_fills(cancel.order):
        raise InvalidTransaction(
            Code.ORDER_CLEARED, "The slot's auction gave it energy that the next blocks deliver", order=cancel.order
        )


def close_order(market: Market, order_id: str) -> None:
    """Remove an order; the lots that an offer still holds are free again."""
    for lot_id in market.order(order_id).lots:
        market.lots.put(lot_id, msgspec.structs.replace(market.lot(lot_id), offer=""))
    market.orders.drop(order_id)


def expire_orders(market: Market, parent_time_ms: int) -> None:
    """Close every order whose validity ended by the predecessor's time, unless an auction's fills are still to come.

    The block's own time would not do: a miner raises it while it searches, which must not change what applies.
    """
    by_end = market.orders.listed("end")
    ended = by_end[: bisect_left(by_end, (parent_time_ms + 1,))]
    for *_, order_id in ended:
        if not market.waits_for_fills(str(order_id)):
            close_order(market, str(order_id))


def close_orders_of(market: Market, member: str) -> None:
    """Close all orders of a member that is revoked in this block."""
    for order_id, _ in list(market.orders_of(member)):
        close_order(market, order_id)


def claims_of(body: Offer | Bid | Cancel | Merge | Retire) -> tuple[str, ...]:
    """What only one transaction can have at a time."""
    match body:
        case Offer() | Merge() | Retire():
            return tuple(f"lot {lot}" for lot in body.lots)
        case Cancel():
            return (f"cancel {body.order}",)
        case Bid():
            return ()


def _enter(market: Market, order_id: str, order: Order, context: BlockContext) -> None:
    """Put an order into the book, as the next one of this block."""
    context.orders += 1
    market.orders.put(order_id, order)
    if context.mode == "continuous":
        match_incoming(market, order_id, context)


def _check_count(market: Market, member: str, parameters: Parameters) -> None:
    if market.count_of_orders(member) >= parameters.max_open_orders:
        raise InvalidTransaction(
            Code.ORDER_LIMIT, "Too many open orders", member=member, limit=parameters.max_open_orders
        )


def _check_terms(energy_wh: int, terms: Offer | Bid, parent_time_ms: int, parameters: Parameters) -> None:
    """What offers and bids have in common."""
    if energy_wh < parameters.smallest_order_wh:
        raise InvalidTransaction(
            Code.ORDER_TOO_SMALL,
            "Smaller than an order may be",
            energy_wh=energy_wh,
            least_wh=parameters.smallest_order_wh,
        )
    if energy_wh * terms.price_micro > MAX_INTEGER or energy_wh > MAX_INTEGER:
        raise InvalidTransaction(
            Code.ORDER_TOO_LARGE,
            "Energy times price reaches 2^53",
            energy_wh=str(energy_wh),
            price_micro=terms.price_micro,
        )
    if terms.valid_until_ms <= parent_time_ms:
        raise InvalidTransaction(
            Code.ORDER_EXPIRED,
            "Its validity is over",
            valid_until_ms=terms.valid_until_ms,
            time_ms=parent_time_ms,
        )
