"""What the end of a slot brings: the auction, its fills block by block, and the next slot (spec/market.md).

A slot ends for the block whose *predecessor's* time is past it: the miner of a block raises its own block's time while
it searches, and nothing that applied may stop to apply. The mode of a slot stays as it was when the slot began.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from minervas_core.encoding import MAX_INTEGER
from minervas_core.genesis import Genesis, Parameters
from minervas_core.market.auction import Auction, Book, hold_auction, make_deals
from minervas_core.market.continuous import resume_matching
from minervas_core.market.fills import Fill, execute_fill
from minervas_core.market.orders import expire_orders, renew_bids
from minervas_core.market.records import Clearing, Slot
from minervas_core.market.state import BlockContext, Market, PendingFill, fill_key


def current_slot(market: Market, genesis: Genesis) -> Slot:
    """The slot that goes on in a state; the first one begins with the consortium."""
    return market.slot or _slot_after(genesis.body.created_ms, genesis.parameters)


def pass_time(market: Market, slot: Slot, time_ms: int, parameters: Parameters, context: BlockContext) -> None:
    """What happens to the market before the transactions of the block whose predecessor's time is `time_ms`.

    Args:
        market: the state.
        slot: the slot that went on so far.
        time_ms: the predecessor's time.
        parameters: those by which the block is judged.
        context: of the block; is told its mode, and what was traded.
    """
    context.mode = slot.mode
    ended = time_ms >= slot.ends_ms
    _deliver_pending(market, context)
    if ended and slot.mode == "auction" and not slot.cleared:
        _clear(market, slot, context)
    expire_orders(market, time_ms)
    if slot.mode == "continuous":
        resume_matching(market, context)
    if not ended:
        return
    if market.pending_fills.listed("all"):
        if not slot.cleared:
            market.put_slot(msgspec.structs.replace(slot, cleared=True))
        return
    _begin_slot(market, _slot_after(time_ms, parameters), parameters, context)


def _slot_after(time_ms: int, parameters: Parameters) -> Slot:
    """The slot in which a time lies."""
    ends_ms = (time_ms // parameters.slot_ms + 1) * parameters.slot_ms
    return Slot(mode=parameters.market_mode, ends_ms=min(ends_ms, MAX_INTEGER))


def _begin_slot(market: Market, slot: Slot, parameters: Parameters, context: BlockContext) -> None:
    market.put_slot(slot)
    context.mode = slot.mode
    if slot.mode == "auction":
        for *_, order_id in list(market.orders.listed("waiting")):
            order = market.order(str(order_id))
            market.orders.put(str(order_id), msgspec.structs.replace(order, waiting=False))
    renew_bids(market, parameters, context)


def _clear(market: Market, slot: Slot, context: BlockContext) -> None:
    """Decide the auction of a slot, carry out as many fills as the block may have, and let the rest wait."""
    offers, bids = _taking_part(market, "offer", slot), _taking_part(market, "bid", slot)
    auction = hold_auction([each for each in offers if not each[1].buyer], bids)
    taken_wh: dict[str, int] = {}
    for fill in auction.fills:
        taken_wh[fill.bid] = taken_wh.get(fill.bid, 0) + fill.energy_wh
    deals = make_deals([each for each in offers if each[1].buyer], bids, taken_wh)
    context.clearings.append(_clearing(slot, auction, deals, context.height))
    for number, fill in enumerate((*auction.fills, *deals)):
        if context.fills_left:
            execute_fill(market, fill, context)
        else:
            market.pending_fills.put(fill_key(number), PendingFill(**fill._asdict()))


def _taking_part(market: Market, side: str, slot: Slot) -> Book:
    """Orders of one side that were valid at the slot's end, best first."""
    listed = [(str(entry[-1]), market.order(str(entry[-1]))) for entry in market.orders.listed(side)]
    return [(order_id, order) for order_id, order in listed if order.valid_until_ms >= slot.ends_ms]


def _clearing(slot: Slot, auction: Auction, deals: tuple[Fill, ...], height: int) -> Clearing:
    found = bool(auction.fills)
    return Clearing(
        height=height,
        slot_ends_ms=slot.ends_ms,
        price_micro=auction.price_micro if found else msgspec.UNSET,
        lowest_micro=auction.lowest_micro if found else msgspec.UNSET,
        highest_micro=auction.highest_micro if found else msgspec.UNSET,
        energy_wh=min(auction.energy_wh, MAX_INTEGER),
        offers=len({fill.offer for fill in auction.fills}),
        bids=len({fill.bid for fill in auction.fills}),
        offered_wh=min(auction.offered_wh, MAX_INTEGER),
        wanted_wh=min(auction.wanted_wh, MAX_INTEGER),
        deals=len(deals),
        deals_wh=min(sum(fill.energy_wh for fill in deals), MAX_INTEGER),
    )


def _deliver_pending(market: Market, context: BlockContext) -> None:
    """Carry out fills that an earlier block decided, in order; those of an order that a revocation closed lapse."""
    keys = [str(entry[-1]) for entry in islice(market.pending_fills.listed("all"), context.fills_left)]
    for key in keys:
        waited = market.pending_fill(key)
        market.pending_fills.drop(key)
        if waited.offer in market.orders and waited.bid in market.orders:
            fill = Fill(waited.offer, waited.bid, waited.energy_wh, waited.price_micro)
            execute_fill(market, fill, context)
