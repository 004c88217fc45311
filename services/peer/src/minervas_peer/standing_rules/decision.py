"""What the standing rules do at a tip: a pure function of the rules, what they placed, and what the chain shows.

Every order of a rule ends with the slot in which it was made. So whatever is unsure about it (was it sent, did the
ledger take it, will a block carry it) ends with the slot, too, and until then it counts as if it stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from minervas_core.encoding import MAX_INTEGER
from minervas_core.genesis import Parameters
from minervas_core.market.records import Order, Slot
from minervas_peer.standing_rules.records import MAX_PLACED, BuyRule, PlacedOrder, Rule, SellRule, Side

CANCEL_AGAIN_BLOCKS = 8
"""A cancellation that no block took in this many is sent again."""


class Outcome(StrEnum):
    """What a rule decided, and why."""

    NO_RULE = "no_rule"
    PAUSED = "paused"
    SLOT_ENDS = "slot_ends"
    """The slot is over; the next block begins the next one."""
    UNANSWERED = "unanswered"
    """The ledger has not answered about an order: that one is sent again."""
    ORDER_LIMIT = "order_limit"
    """We have as many open orders as a member may."""
    CREDIT_LIMIT = "credit_limit"
    """What we owe and our open bids leave less than the smallest order."""
    NOTHING_TO_SELL = "nothing_to_sell"
    """Our free lots, less what is kept, do not make the smallest order."""
    TOO_SMALL = "too_small"
    """The rule asks for less than the smallest order."""
    BID_OF_SLOT_MADE = "bid_of_slot_made"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Situation:
    """What our ledger shows of one tip."""

    height: int
    time_ms: int
    """The tip's time."""
    slot: Slot
    parameters: Parameters
    free: Mapping[str, int]
    """Energy of our own lots that no offer holds, in Wh by id."""
    orders: Mapping[str, Order]
    """Our own open orders by id."""
    owed_micro: int
    """What we owe others and have not paid, or more."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to sign: an offer if it names lots, else a bid."""

    energy_wh: int
    price_micro: int
    valid_until_ms: int
    lots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule does now."""

    outcome: Outcome
    order: NewOrder | None = None
    resend: tuple[PlacedOrder, ...] = ()
    """Orders about which nothing was heard."""
    cancel: tuple[str, ...] = ()
    """Own open orders to take back."""


def decide(side: Side, rule: Rule | None, placed: Sequence[PlacedOrder], now: Situation) -> Decision:
    """What the rule of a side does at a tip.

    Args:
        side: which.
        rule: the rule, if there is one: its orders are still cancelled when it is gone.
        placed: all orders that rules have placed, of both sides.
        now: what the chain shows.
    """
    own = [each for each in placed if each.side == side]
    cancel = tuple(each.id for each in own if _is_to_cancel(each, now))
    if rule is None:
        return Decision(Outcome.NO_RULE, cancel=cancel)
    if rule.paused:
        return Decision(Outcome.PAUSED, cancel=cancel)
    if now.slot.cleared or now.time_ms >= now.slot.ends_ms:
        return Decision(Outcome.SLOT_ENDS, cancel=cancel)
    resend = tuple(each for each in own if each.raw and not each.cancel and _may_enter(each, now))
    if resend:
        return Decision(Outcome.UNANSWERED, resend=resend, cancel=cancel)
    if _open_orders(placed, now) >= now.parameters.max_open_orders or len(placed) >= MAX_PLACED:
        return Decision(Outcome.ORDER_LIMIT, cancel=cancel)
    outcome, order = _sell(rule, placed, now) if isinstance(rule, SellRule) else _buy(rule, own, now)
    return Decision(outcome, order=order, cancel=cancel)


def still_matters(placed: PlacedOrder, now: Situation) -> bool:
    """Whether an order is to be remembered: for a slot longer than it is valid, for the chain may change its tip."""
    return placed.id in now.orders or now.time_ms < placed.valid_until_ms + now.parameters.slot_ms


def _may_enter(placed: PlacedOrder, now: Situation) -> bool:
    """Whether a block on this tip could still take it."""
    return now.time_ms < placed.valid_until_ms


def _is_to_cancel(placed: PlacedOrder, now: Situation) -> bool:
    """Whether its member wants it back, it is open, and that was not just said. What waits for a block comes later."""
    if not placed.cancel or placed.id not in now.orders:
        return False
    said = placed.cancel_height
    return not said or now.height >= said + CANCEL_AGAIN_BLOCKS or now.height < said


def _open_orders(placed: Sequence[PlacedOrder], now: Situation) -> int:
    """Our open orders, with those of rules that a block may still take."""
    to_come = sum(1 for each in placed if each.id not in now.orders and _may_enter(each, now))
    return len(now.orders) + to_come


def _sell(rule: SellRule, placed: Sequence[PlacedOrder], now: Situation) -> tuple[Outcome, NewOrder | None]:
    """Free lots of this block in one offer, the largest first, never more than what is not kept.

    Lots of an order that a block may still take are free in the state, yet count as offered. So do those of an offer
    that the member took back by hand: it stays taken back in its slot.
    """
    taken = {lot for each in placed if _may_enter(each, now) for lot in each.lots} & now.free.keys()
    spare_wh = sum(now.free.values()) - sum(now.free[lot] for lot in taken) - rule.keep_wh
    most_wh = min(spare_wh, MAX_INTEGER, MAX_INTEGER // max(rule.price_micro, 1))
    chosen: list[str] = []
    chosen_wh = 0
    for lot, lot_wh in sorted(now.free.items(), key=lambda each: (-each[1], each[0])):
        if len(chosen) == now.parameters.max_lots_per_offer:
            break
        if lot not in taken and chosen_wh + lot_wh <= most_wh:
            chosen.append(lot)
            chosen_wh += lot_wh
    if not chosen or chosen_wh < now.parameters.smallest_order_wh:
        return Outcome.NOTHING_TO_SELL, None
    return Outcome.PLACE, NewOrder(chosen_wh, rule.price_micro, now.slot.ends_ms, tuple(chosen))


def _buy(rule: BuyRule, own: Sequence[PlacedOrder], now: Situation) -> tuple[Outcome, NewOrder | None]:
    """One bid in a slot, whatever becomes of it; smaller if our credit asks for it."""
    if any(_may_enter(each, now) for each in own):
        return Outcome.BID_OF_SLOT_MADE, None
    energy_wh = min(rule.energy_wh, MAX_INTEGER // max(rule.price_micro, 1))
    limit_micro = now.parameters.credit_limit_micro
    if limit_micro and rule.price_micro:
        bids_micro = sum(each.energy_wh * each.price_micro for each in now.orders.values() if each.side == "bid")
        energy_wh = min(energy_wh, (limit_micro - now.owed_micro - bids_micro) // rule.price_micro)
    if energy_wh < now.parameters.smallest_order_wh:
        return Outcome.CREDIT_LIMIT if energy_wh < rule.energy_wh else Outcome.TOO_SMALL, None
    return Outcome.PLACE, NewOrder(energy_wh, rule.price_micro, now.slot.ends_ms)
