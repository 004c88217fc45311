"""The market's part of the chain state: its tables, and what a block knows while its transactions apply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from minervas_core.encoding import Record, encode
from minervas_core.errors import Code, LocalFault
from minervas_core.market.records import Lot, Meter, Obligation, Order, Register, Retirement, Trade
from minervas_core.tables import Entry, SortedTable, Table

T = TypeVar("T")


class MarketRow(Record, frozen=True, kw_only=True):
    """One row of a market table, or that there is none."""

    table: str
    key: str
    row: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The record's canonical bytes; absent if the key is not in the table."""


ROW_TYPES: dict[str, type[Record]] = {
    "lots": Lot,
    "meters": Meter,
    "obligations": Obligation,
    "orders": Order,
    "registers": Register,
}
"""Type of each table's records."""


class Market:
    """Tables of the market, which can lie over another market's as a layer."""

    __slots__ = ("_below", "_tables")

    def __init__(self, *, below: Market | None = None) -> None:
        self._below = below
        self._tables: dict[str, Table[str, Record]] = {
            name: below.table(name).over() if below else _empty(name) for name in ROW_TYPES
        }

    @property
    def lots(self) -> Table[str, Lot]:
        """Unspent lots by id."""
        return self._tables["lots"]  # type: ignore[return-value]  # ROW_TYPES ties the name to the type

    @property
    def meters(self) -> SortedTable[str, Meter]:
        """Registered meters by ``member/meter``."""
        return self._tables["meters"]  # type: ignore[return-value]  # as above

    @property
    def obligations(self) -> Table[str, Obligation]:
        """What members owe, by ``debtor/creditor``."""
        return self._tables["obligations"]  # type: ignore[return-value]  # as above

    @property
    def orders(self) -> SortedTable[str, Order]:
        """Open orders by transaction id."""
        return self._tables["orders"]  # type: ignore[return-value]  # as above

    @property
    def registers(self) -> Table[str, Register]:
        """Where each channel's last statement ended, by ``member/meter/channel``."""
        return self._tables["registers"]  # type: ignore[return-value]  # as above

    def table(self, name: str) -> Table[str, Record]:
        """A table by its name in `ROW_TYPES`."""
        return self._tables[name]

    def merge_down(self) -> None:
        """Carry this layer's changes into the market below."""
        for table in self._tables.values():
            table.merge_down()

    def changed_before(self) -> list[MarketRow]:
        """What the rows that this layer changed hold below it, by table and key."""
        return [
            _row(name, key, table.before(key))
            for name, table in self._tables.items()
            for key in sorted(table.changes())
        ]

    def put_back(self, rows: Iterable[MarketRow]) -> None:
        """Restore rows as `changed_before` told them."""
        for row in rows:
            table = self._tables[row.table]
            if not isinstance(row.row, msgspec.UnsetType):
                table.put(row.key, msgspec.json.decode(row.row, type=ROW_TYPES[row.table]))
            elif row.key in table:
                table.drop(row.key)

    def rows(self) -> list[MarketRow]:
        """All rows, by table and key."""
        return [
            _row(name, key, record)
            for name, table in self._tables.items()
            for key, record in sorted(table.items(), key=lambda item: item[0])
        ]

    def lot(self, lot_id: str) -> Lot:
        """A lot that the rules know to exist."""
        return _known(self.lots.get(lot_id), lot_id)

    def order(self, order_id: str) -> Order:
        """An order that the rules know to be open."""
        return _known(self.orders.get(order_id), order_id)

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
    orders: int = 0
    """Orders placed so far: numbers the next one."""
    trades: list[Trade] = field(default_factory=list)
    """Trades so far, in order."""
    lots: dict[str, Lot] = field(default_factory=dict)
    """Lots that came into being so far, by id, as they were then: some may be used up again within the block."""
    retirements: list[Retirement] = field(default_factory=list)
    """Lots retired so far, in order."""


def _empty(name: str) -> Table[str, Record]:
    """A table with the sorted lists that the rules ask it for."""
    entries_of = {"orders": _order_entries, "meters": _meter_entries}.get(name)
    return SortedTable(entries_of) if entries_of else Table()  # type: ignore[arg-type]  # ROW_TYPES ties them


def _order_entries(order_id: str, order: Order) -> dict[str, Entry]:
    """``offer`` and ``bid``: best price first, then oldest; ``waiting``: oldest first; ``end``: by end of validity."""
    price = order.price_micro if order.side == "offer" else -order.price_micro
    entries: dict[str, Entry] = {
        order.side: (price, order.height, order.index, order_id),
        "end": (order.valid_until_ms, order_id),
        "member": (order.member, order_id),
    }
    if order.waiting:
        entries["waiting"] = (order.height, order.index, order_id)
    return entries


def _meter_entries(key: str, meter: Meter) -> dict[str, Entry]:
    return {"gateway": (meter.gateway, key)}


def _row(table: str, key: str, record: Record | None) -> MarketRow:
    return MarketRow(table=table, key=key, row=msgspec.UNSET if record is None else msgspec.Raw(encode(record)))


def _known(record: T | None, key: str) -> T:
    if record is None:
        raise LocalFault(Code.INTERNAL, "The state lacks a record that its rules guarantee", key=key)
    return record
