"""The market's part of the chain state: its tables, and what a block knows while its transactions apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minervas_core.encoding import Hash, Record
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import MarketMode
from minervas_core.market.records import (
    Clearing,
    EnergyWh,
    Lot,
    Meter,
    Obligation,
    Order,
    PriceMicro,
    Register,
    Retirement,
    Slot,
    Trade,
)
from minervas_core.market.settlement_records import Settlement
from minervas_core.record_tables import RecordTables
from minervas_core.tables import Entry, SortedTable, Table

T = TypeVar("T")


class PendingFill(Record, frozen=True, kw_only=True):
    """A fill that an auction decided and that waits for the next block, for a block has only so many."""

    offer: Hash
    bid: Hash
    energy_wh: EnergyWh
    price_micro: PriceMicro


ROW_TYPES: Mapping[str, type[Record]] = {
    "lots": Lot,
    "meters": Meter,
    "obligations": Obligation,
    "orders": Order,
    "pending_fills": PendingFill,
    "registers": Register,
    "settlements": Settlement,
    "slots": Slot,
}
"""Type of each table's records."""


CURRENT = "current"
"""Key of the only row of a table that has one."""


class Market(RecordTables):
    """Tables of the market, which can lie over another market's as a layer."""

    __slots__ = ()

    ROW_TYPES = ROW_TYPES

    def _empty(self, name: str) -> Table[str, Record]:
        """A table with the sorted lists that the rules ask it for."""
        entries_of = _ENTRIES_OF.get(name)
        return SortedTable(entries_of) if entries_of else Table()

    @property
    def lots(self) -> Table[str, Lot]:
        """Unspent lots by id."""
        return self._tables["lots"]  # type: ignore[return-value]  # ROW_TYPES ties the name to the type

    @property
    def meters(self) -> SortedTable[str, Meter]:
        """Registered meters by ``member/meter``."""
        return self._tables["meters"]  # type: ignore[return-value]  # as above

    @property
    def obligations(self) -> SortedTable[str, Obligation]:
        """What members owe, by ``debtor/creditor``."""
        return self._tables["obligations"]  # type: ignore[return-value]  # as above

    @property
    def orders(self) -> SortedTable[str, Order]:
        """Open orders by transaction id."""
        return self._tables["orders"]  # type: ignore[return-value]  # as above

    @property
    def pending_fills(self) -> SortedTable[str, PendingFill]:
        """Fills of an auction that wait for the next block, by `fill_key`."""
        return self._tables["pending_fills"]  # type: ignore[return-value]  # as above

    @property
    def slot(self) -> Slot | None:
        """The slot that goes on; None in the first one, which genesis tells of."""
        row = self._tables["slots"].get(CURRENT)
        return row if isinstance(row, Slot) else None

    def put_slot(self, slot: Slot) -> None:
        """Go on to a slot, or to its auction's next step."""
        self._tables["slots"].put(CURRENT, slot)

    @property
    def registers(self) -> Table[str, Register]:
        """Where each channel's last statement ended, by ``member/meter/channel``."""
        return self._tables["registers"]  # type: ignore[return-value]  # as above

    @property
    def settlements(self) -> SortedTable[str, Settlement]:
        """What was paid and credited, by ``debtor/creditor/month``."""
        return self._tables["settlements"]  # type: ignore[return-value]  # as above

    def lot(self, lot_id: str) -> Lot:
        """A lot that the rules know to exist."""
        return _known(self.lots.get(lot_id), lot_id)

    def order(self, order_id: str) -> Order:
        """An order that the rules know to be open."""
        return _known(self.orders.get(order_id), order_id)

    def meter(self, key: str) -> Meter:
        """A meter that the rules know to be registered."""
        return _known(self.meters.get(key), key)

    def pending_fill(self, key: str) -> PendingFill:
        """A fill that waits for the next block."""
        return _known(self.pending_fills.get(key), key)

    def owed(self, debtor: str, creditor: str) -> Obligation:
        """What one member owes another so far."""
        return self.obligations.get(f"{debtor}/{creditor}") or Obligation(amount_micro=0, energy_wh=0)

    def orders_of(self, member: str) -> Iterator[tuple[str, Order]]:
        """A member's open orders, by id."""
        own = [str(entry[-1]) for entry in self.orders.listed_under("member", member)]
        return ((order_id, self.order(order_id)) for order_id in own)

    def count_of_orders(self, member: str) -> int:
        """How many orders a member has open."""
        return len(self.orders.listed_under("member", member))

    def waits_for_fills(self, order_id: str) -> bool:
        """Whether an auction gave an order energy that is still to be delivered."""
        fills = self.pending_fills
        return bool(fills.listed_under("offer", order_id) or fills.listed_under("bid", order_id))

    def owner_of_gateway(self, gateway: str) -> str | None:
        """The member whose meters are registered under a gateway key."""
        own = self.meters.listed_under("gateway", gateway)
        return str(own[0][-1]).partition("/")[0] if own else None


@dataclass
class BlockContext:
    """What the market's rules need to know of the block being applied."""

    height: int
    fills_left: int
    """Fills that this block may still have."""
    mode: MarketMode = "auction"
    """How its orders are matched."""
    orders: int = 0
    """Orders placed so far: numbers the next one."""
    trades: list[Trade] = field(default_factory=list)
    """Trades so far, in order."""
    lots: dict[str, Lot] = field(default_factory=dict)
    """Lots that came into being so far, by id, as they were then: some may be used up again within the block."""
    retirements: list[Retirement] = field(default_factory=list)
    """Lots retired so far, in order."""
    clearings: list[Clearing] = field(default_factory=list)
    """Auctions decided in this block: one at most."""


def fill_key(number: int) -> str:
    """Key of a pending fill; sorts by the number of the fill in its auction."""
    return f"{number:08d}"


def _order_entries(order_id: str, order: Order) -> dict[str, Entry]:
    """The sorted lists of orders.

    ``offer`` and ``bid``: best price first, then oldest, without those that want nothing for now; ``waiting`` and
    ``repeating``: oldest first; ``end``: by end of validity; ``member``: by member.
    """
    price = order.price_micro if order.side == "offer" else -order.price_micro
    entries: dict[str, Entry] = {
        "end": (order.valid_until_ms, order_id),
        "member": (order.member, order_id),
    }
    if order.energy_wh:
        entries[order.side] = (price, order.height, order.index, order_id)
    if order.repeat_wh:
        entries["repeating"] = (order.height, order.index, order_id)
    if order.waiting:
        entries["waiting"] = (order.height, order.index, order_id)
    return entries


def _meter_entries(key: str, meter: Meter) -> dict[str, Entry]:
    return {"gateway": (meter.gateway, key)}


def _settlement_entries(key: str, _settlement: Settlement) -> dict[str, Entry]:
    return {"pair": (key.rpartition("/")[0], key)}


def _obligation_entries(pair: str, _: Obligation) -> dict[str, Entry]:
    return {"debtor": (pair.partition("/")[0], pair)}


def _fill_entries(key: str, fill: PendingFill) -> dict[str, Entry]:
    """``all``: in the order in which they were decided; ``offer`` and ``bid``: by order."""
    return {"all": (key,), "offer": (fill.offer, key), "bid": (fill.bid, key)}


_ENTRIES_OF: Mapping[str, Callable[[str, Any], dict[str, Entry]]] = {
    "meters": _meter_entries,
    "obligations": _obligation_entries,
    "orders": _order_entries,
    "pending_fills": _fill_entries,
    "settlements": _settlement_entries,
}
"""What makes the sorted lists of a table that has some."""


def _known(record: T | None, key: str) -> T:
    if record is None:
        raise LocalFault(Code.INTERNAL, "The state lacks a record that its rules guarantee", key=key)
    return record
