"""Writing the market: what a run of blocks changed, boiled down to the rows as they are at the end.

A block's undo data name every row of the state that the block changed. So do those of a block that is taken back.
All rows that were named are written as they are in the state at the end, which is exact whatever happened in between.
The history (statements, lots, trades, retirements, clearings, payments) above the fork goes, and that of the blocks
that stay is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from minervas_core.blocks import Block
from minervas_core.market.records import Merge
from minervas_core.market.state import Market
from minervas_core.metering import Generation
from minervas_core.reorganisation import ConnectedBlock
from minervas_core.state import BlockUndo
from minervas_ledger.store.arrays import PACKERS, Packed, bytea_array, int8_array
from minervas_ledger.store.auction_rows import CLEARINGS, clearing_row
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.lot_rows import LOTS, RETIREMENTS, lot_row, retirement_row
from minervas_ledger.store.market_rows import (
    STATE_FORMS,
    STATEMENTS,
    TRADES,
    statement_row,
    trade_row,
)
from minervas_ledger.store.settlement_rows import PAYMENTS, payment_rows
from minervas_ledger.store.table_forms import Row, StateForm, TableForm

LEAVE_HISTORY = (
    "DELETE FROM retirements WHERE height > %s",
    "DELETE FROM payments WHERE height > %s",
    "DELETE FROM trades WHERE height > %s",
    "DELETE FROM clearings WHERE height > %s",
    "DELETE FROM lots WHERE created_height > %s",
    "DELETE FROM statements WHERE height > %s",
)

UPDATE_LOTS = """
UPDATE lots SET offer = now.offer, spent_height = now.spent_height
FROM unnest(%s::bytea[], %s::bytea[], %s::bigint[]) AS now (id, offer, spent_height) WHERE lots.id = now.id
"""


@dataclass(slots=True)
class MarketBatch:
    """Changes of the market that are not committed yet."""

    _connected: dict[int, ConnectedBlock] = field(default_factory=dict)
    """By height: blocks of the best chain that are not in the database as such."""
    _fork_height: int | None = None
    """Height below the lowest committed block that was taken back."""
    _named: dict[str, set[str]] = field(default_factory=dict)
    """Keys of the rows that may have changed, by table of the state."""

    def name_rows(self, undo: BlockUndo) -> None:
        """A block that changed these rows is connected or taken back."""
        for row in undo.market_before:
            self._named.setdefault(row.table, set()).add(row.key)

    def connect(self, connected: ConnectedBlock) -> None:
        """A block joined the best chain."""
        self._connected[connected.block.header.height] = connected
        self.name_rows(connected.undo)

    def disconnect(self, block: Block) -> None:
        """The best chain's head left it; `name_rows` was called with its undo data."""
        height = block.header.height
        if self._connected.pop(height, None) is None:
            self._fork_height = height - 1 if self._fork_height is None else min(self._fork_height, height - 1)

    def write(self, connection: Connection, market: Market) -> None:
        """Write the rows as they are in the state. The connection must be in a transaction.

        Raises:
            psycopg.Error: then the transaction must be given up.
        """
        if self._fork_height is not None:
            for statement in LEAVE_HISTORY:
                connection.execute(statement, (self._fork_height,))
        for form in STATE_FORMS:
            _write_state(connection, form, market, sorted(self._named.get(form.state_table, ())))
        spent = self._spent_heights(market)
        copy_rows(connection, STATEMENTS, self._statement_rows())
        copy_rows(connection, LOTS, self._new_lot_rows(market, spent))
        copy_rows(connection, TRADES, self._trade_rows())
        copy_rows(connection, RETIREMENTS, self._retirement_rows())
        copy_rows(connection, CLEARINGS, self._clearing_rows())
        copy_rows(connection, PAYMENTS, self._payment_rows())
        self._update_lots(connection, market, spent)

    def _blocks(self) -> list[ConnectedBlock]:
        return [connected for _, connected in sorted(self._connected.items())]

    def _spent_heights(self, market: Market) -> dict[str, int]:
        """Where lots were spent: what is not in the state any more went in the last block that changed it."""
        touched = {
            row.key: connected.block.header.height
            for connected in self._blocks()
            for row in connected.undo.market_before
            if row.table == "lots"
        }
        return {lot_id: height for lot_id, height in touched.items() if lot_id not in market.lots}

    def _statement_rows(self) -> Iterable[Row]:
        for connected in self._blocks():
            yield from statement_rows(connected.block)

    def _new_lot_rows(self, market: Market, spent: dict[str, int]) -> Iterable[Row]:
        for connected in self._blocks():
            height, joined = connected.block.header.height, joined_lots(connected.block)
            for lot_id, made in connected.lots.items():
                lot = market.lots.get(lot_id) or made
                yield lot_row(
                    lot_id,
                    lot,
                    joined=joined.get(lot_id, ()),
                    created_height=height,
                    spent_height=spent.get(lot_id),
                )

    def _trade_rows(self) -> Iterable[Row]:
        for connected in self._blocks():
            for trade in connected.trades:
                yield trade_row(trade, connected.block.hash)

    def _retirement_rows(self) -> Iterable[Row]:
        for connected in self._blocks():
            yield from map(retirement_row, connected.retirements)

    def _clearing_rows(self) -> Iterable[Row]:
        for connected in self._blocks():
            yield from map(clearing_row, connected.clearings)

    def _payment_rows(self) -> Iterable[Row]:
        for connected in self._blocks():
            yield from payment_rows(connected.block)

    def _update_lots(self, connection: Connection, market: Market, spent: dict[str, int]) -> None:
        """Lots that were there before. One that is neither in the state nor spent now left with its block."""
        made = {lot_id for connected in self._connected.values() for lot_id in connected.lots}
        columns: tuple[list[bytes], list[bytes | None], list[int | None]] = ([], [], [])
        for lot_id in sorted(self._named.get("lots", set()) - made):
            lot = market.lots.get(lot_id)
            if lot is None and lot_id not in spent:
                continue
            columns[0].append(bytes.fromhex(lot_id))
            columns[1].append(bytes.fromhex(lot.offer) if lot is not None and lot.offer else None)
            columns[2].append(spent.get(lot_id))
        if columns[0]:
            packed = (bytea_array(columns[0]), bytea_array(columns[1]), int8_array(columns[2]))
            connection.execute(UPDATE_LOTS, [Packed(each) for each in packed])


def statement_rows(block: Block) -> list[Row]:
    """The rows of a block's metering statements."""
    return [
        statement_row(transaction.id, transaction.body, height=block.header.height, position=position)
        for position, transaction in enumerate(block.transactions)
        if isinstance(transaction.body, Generation)
    ]


def joined_lots(block: Block) -> dict[str, list[str]]:
    """The lots that each merge of a block joined, by the lot that it made."""
    return {each.id: each.body.lots for each in block.transactions if isinstance(each.body, Merge)}


def copy_rows(connection: Connection, form: TableForm, rows: Iterable[Row]) -> None:
    """Add whole rows."""
    listed = list(rows)
    if not listed:
        return
    arrays = [(place, PACKERS[kind]) for place, kind in enumerate(form.columns.values()) if kind in PACKERS]
    with connection.cursor() as cursor, cursor.copy(form.copy_statement.encode()) as copy:
        copy.set_types(["bytea" if kind in PACKERS else kind for kind in form.columns.values()])
        for row in listed:
            copy.write_row(_with_packed(row, arrays) if arrays else row)


def _with_packed(row: Row, arrays: Sequence[tuple[int, Callable[[object], bytes]]]) -> Row:
    """The row with its arrays packed: COPY takes the bytes of any binary value."""
    fields = list(row)
    for place, pack in arrays:
        fields[place] = pack(fields[place])
    return tuple(fields)


def _write_state(connection: Connection, form: StateForm, market: Market, keys: Sequence[str]) -> None:
    """Write the named rows of one of the state's tables."""
    if not keys:
        return
    table = market.table(form.state_table)
    key = form.form.key
    arrays = ", ".join(f"%s::{kind}[]" for kind in key.values())
    same = " AND ".join(f"{form.form.name}.{column} = named.{column}" for column in key)
    delete = f"DELETE FROM {form.form.name} USING unnest({arrays}) AS named ({', '.join(key)}) WHERE {same}"  # noqa: S608 - names are constants
    columns = zip(key.values(), zip(*map(form.key_of, keys), strict=True), strict=True)
    connection.execute(delete.encode(), [Packed(PACKERS[f"{kind}[]"](column)) for kind, column in columns])
    present = ((each, table.get(each)) for each in keys)
    copy_rows(connection, form.form, [form.to_row(each, record) for each, record in present if record is not None])
