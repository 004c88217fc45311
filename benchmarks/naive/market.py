"""The market's rules over plain dictionaries, as spec/market.md tells them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from benchmarks.naive.records import Bid, Generation, Meter, Offer
from minervas_core.genesis import Parameters

HOUR_MS = 3_600_000


class Refused(Exception):
    """With the code of the refusal."""


@dataclass(frozen=True)
class Lot:
    """An unspent lot."""

    owner: str
    energy_wh: int
    parent: str
    origin: str
    offer: str = ""


@dataclass
class Order:
    """An open order."""

    id: str
    side: str
    member: str
    price_micro: int
    energy_wh: int
    smallest_wh: int
    valid_until_ms: int
    place: tuple[int, int]
    lots: list[str]
    buyer: str = ""
    events: int = 0


@dataclass(frozen=True)
class Register:
    """Where a channel's last statement ended."""

    time_ms: int
    register_wh: int
    statement: str
    since_ms: int
    minted_wh: int


@dataclass(frozen=True)
class Trade:
    """A fill."""

    offer: str
    bid: str
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int
    lots: list[str]


@dataclass
class Changes:
    """Rows that a block changed, for the database."""

    new_lots: list[tuple[str, Lot]] = field(default_factory=list)
    """As they were made; some may be used up again."""
    lots: list[str] = field(default_factory=list)
    registers: list[tuple[str, str, str]] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    new_orders: set[str] = field(default_factory=set)
    trades: list[Trade] = field(default_factory=list)
    debts: list[tuple[str, str]] = field(default_factory=list)


class Market:
    """Everything that is metered and traded."""

    def __init__(self) -> None:
        self.meters: dict[tuple[str, str], tuple[str, int, Meter]] = {}
        """Gateway key, time of registration and declaration by member and meter."""
        self.registers: dict[tuple[str, str, str], Register] = {}
        self.lots: dict[str, Lot] = {}
        self.orders: dict[str, Order] = {}
        self.debts: dict[tuple[str, str], tuple[int, int]] = {}
        """Amount and energy by debtor and creditor."""

    def expire(self, parent_time_ms: int, changes: Changes) -> None:
        """Close the orders whose validity is over."""
        for order in [each for each in self.orders.values() if each.valid_until_ms <= parent_time_ms]:
            for lot_id in order.lots:
                self._put_lot(lot_id, replace(self.lots[lot_id], offer=""), changes)
            self._drop_order(order, changes)

    def state(self, statement_id: str, body: Generation, block_time_ms: int, changes: Changes) -> None:
        """Check a statement and mint its lot."""
        key = (body.member, body.meter, body.channel)
        if key[:2] not in self.meters:
            raise Refused("meter_unknown")
        gateway, registered_ms, meter = self.meters[key[:2]]
        rated_w = {channel.name: channel.rated_w for channel in meter.channels}.get(body.channel)
        if body.sender != gateway or rated_w is None:
            raise Refused("channel_unknown")
        last, start, end = self.registers.get(key), body.start, body.end
        if start.time_ms < (last.time_ms if last else registered_ms) or end.time_ms > block_time_ms:
            raise Refused("statement_overlap")
        if last and not body.reset and (start.time_ms, start.register_wh) != (last.time_ms, last.register_wh):
            raise Refused("statement_gap")
        energy_wh = end.register_wh - start.register_wh
        if end.time_ms <= start.time_ms or energy_wh < 0:
            raise Refused("statement_order")
        since_ms, minted_wh = (last.since_ms, last.minted_wh) if last else (start.time_ms, 0)
        in_all = rated_w * (end.time_ms - since_ms) * 11 // (10 * HOUR_MS) + meter.register_step_wh - minted_wh
        now = rated_w * (end.time_ms - start.time_ms) * 11 // (10 * HOUR_MS) + meter.register_step_wh
        if energy_wh > min(in_all, now):
            raise Refused("statement_rated_power")
        self.registers[key] = Register(end.time_ms, end.register_wh, statement_id, since_ms, minted_wh + energy_wh)
        changes.registers.append(key)
        if energy_wh:
            self._make_lot(statement_id, Lot(body.member, energy_wh, statement_id, statement_id), changes)

    def place(
        self,
        order_id: str,
        body: Offer | Bid,
        member: str,
        changes: Changes,
        *,
        place: tuple[int, int],
        parent_time_ms: int,
        parameters: Parameters,
    ) -> None:
        """Check an order and match it."""
        lots = body.lots if isinstance(body, Offer) else []
        if len(set(lots)) != len(lots):
            raise Refused("lot_twice")
        for lot_id in lots:
            lot = self.lots.get(lot_id)
            if lot is None or lot.owner != member or lot.offer:
                raise Refused("lot_not_owned")
        energy_wh = sum(self.lots[lot_id].energy_wh for lot_id in lots) if isinstance(body, Offer) else body.energy_wh
        if energy_wh < parameters.smallest_order_wh or energy_wh * body.price_micro >= 2**53:
            raise Refused("order_too_small")
        if body.valid_until_ms <= parent_time_ms:
            raise Refused("order_expired")
        if sum(order.member == member for order in self.orders.values()) >= parameters.max_open_orders:
            raise Refused("order_limit")
        order = Order(order_id, body.type, member, body.price_micro, energy_wh, 1, body.valid_until_ms, place, lots)
        if isinstance(body, Offer):
            order.smallest_wh, order.buyer = body.smallest_wh, body.buyer
        for lot_id in lots:
            self._put_lot(lot_id, replace(self.lots[lot_id], offer=order_id), changes)
        self.orders[order_id] = order
        changes.orders.append(order_id)
        changes.new_orders.add(order_id)
        self._match(order, changes)

    def _match(self, incoming: Order, changes: Changes) -> None:
        other_side = "bid" if incoming.side == "offer" else "offer"
        sign = -1 if other_side == "bid" else 1
        book = [order for order in self.orders.values() if order.side == other_side]
        for resting in sorted(book, key=lambda order: (sign * order.price_micro, order.place)):
            offer, bid = (incoming, resting) if incoming.side == "offer" else (resting, incoming)
            if offer.price_micro > bid.price_micro or incoming.id not in self.orders:
                return
            if offer.member != bid.member and offer.buyer in ("", bid.member):
                self.fill(offer, bid, resting.price_micro, changes)

    def fill(self, offer: Order, bid: Order, price_micro: int, changes: Changes) -> None:
        """One fill between two orders."""
        energy_wh = min(offer.energy_wh, bid.energy_wh)
        if energy_wh < min(offer.smallest_wh, offer.energy_wh):
            return
        delivered = self._deliver(offer, bid, energy_wh, changes)
        for order in (offer, bid):
            order.energy_wh -= energy_wh
            changes.orders.append(order.id)
            if not order.energy_wh:
                self._drop_order(order, changes)
        debt = (bid.member, offer.member)
        amount_micro, owed_wh = self.debts.get(debt, (0, 0))
        self.debts[debt] = (amount_micro + energy_wh * price_micro, owed_wh + energy_wh)
        changes.debts.append(debt)
        changes.trades.append(Trade(offer.id, bid.id, offer.member, bid.member, energy_wh, price_micro, delivered))

    def _deliver(self, offer: Order, bid: Order, missing_wh: int, changes: Changes) -> list[str]:
        delivered = []
        while missing_wh:
            source_id = offer.lots.pop(0)
            source = self.lots[source_id]
            piece_wh = min(missing_wh, source.energy_wh)
            delivered.append(_derived(offer.id, bid.id, offer.events))
            self._make_lot(delivered[-1], Lot(bid.member, piece_wh, source_id, source.origin), changes)
            offer.events += 1
            if piece_wh < source.energy_wh:
                change_id = _derived(offer.id, "", offer.events)
                change = replace(source, energy_wh=source.energy_wh - piece_wh, parent=source_id)
                self._make_lot(change_id, change, changes)
                offer.lots.insert(0, change_id)
                offer.events += 1
            del self.lots[source_id]
            changes.lots.append(source_id)
            missing_wh -= piece_wh
        return delivered

    def _make_lot(self, lot_id: str, lot: Lot, changes: Changes) -> None:
        self.lots[lot_id] = lot
        changes.new_lots.append((lot_id, lot))

    def _put_lot(self, lot_id: str, lot: Lot, changes: Changes) -> None:
        self.lots[lot_id] = lot
        changes.lots.append(lot_id)

    def _drop_order(self, order: Order, changes: Changes) -> None:
        del self.orders[order.id]
        changes.orders.append(order.id)


def _derived(offer: str, bid: str, event: int) -> str:
    return hashlib.sha256(b"minervas/v1/lot\0" + f"{offer}/{bid}/{event}".encode()).hexdigest()
