"""The audit of the market: its history block by block, and its state at the tip."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.audit import ReplayedBlock
from minervas_core.encoding import encode
from minervas_core.market.state import Market
from minervas_ledger.audit_compare import mismatch, shown
from minervas_ledger.store.auction_rows import CLEARINGS, clearing_row
from minervas_ledger.store.columns import as_bytes
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.lot_rows import LOT_FIXED_COLUMNS, LOTS, RETIREMENTS, lot_row, retirement_row
from minervas_ledger.store.market_history import HistoryRows
from minervas_ledger.store.market_rows import (
    STATE_FORMS,
    STATEMENTS,
    TRADES,
    trade_row,
)
from minervas_ledger.store.market_state import read_table
from minervas_ledger.store.market_writes import joined_lots, statement_rows
from minervas_ledger.store.settlement_rows import PAYMENTS, payment_rows
from minervas_ledger.store.table_forms import Row, StateForm, TableForm


class MarketAudit:
    """Follows the replay of the best chain. Only unspent lots are kept in memory.

    Args:
        connection: in the audit's snapshot.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statements = HistoryRows(connection, STATEMENTS, height_column="height", order="position")
        self._lots = HistoryRows(connection, LOTS, height_column="created_height", order="id")
        self._trades = HistoryRows(connection, TRADES, height_column="height", order="position")
        self._retirements = HistoryRows(connection, RETIREMENTS, height_column="height", order="position")
        self._clearings = HistoryRows(connection, CLEARINGS, height_column="height", order="height")
        self._payments = HistoryRows(connection, PAYMENTS, height_column="height", order="position")
        self._open_lots: dict[str, Row] = {}
        """Rows of the lots that no block has spent so far."""
        self._market = Market()
        self.lots = 0
        """Lots checked so far."""
        self.trades = 0
        """Trades checked so far."""
        self.retirements = 0
        """Retired lots checked so far."""

    def check_block(self, replayed: ReplayedBlock) -> None:
        """Check what one block added.

        Raises:
            LocalFault: ``audit_mismatch``.
        """
        height, block = replayed.height, replayed.block
        _compare_rows(STATEMENTS, self._statements.of(height), statement_rows(block))
        _compare_rows(TRADES, self._trades.of(height), [trade_row(trade, block.hash) for trade in replayed.trades])
        retired = [retirement_row(each) for each in replayed.retirements]
        _compare_rows(RETIREMENTS, self._retirements.of(height), retired)
        _compare_rows(CLEARINGS, self._clearings.of(height), [clearing_row(each) for each in replayed.clearings])
        _compare_rows(PAYMENTS, self._payments.of(height), payment_rows(block))
        self._check_made(replayed)
        self._check_spent(replayed)
        self._market = replayed.state.market
        self.lots += len(replayed.lots)
        self.trades += len(replayed.trades)
        self.retirements += len(replayed.retirements)

    def check_end(self) -> None:
        """Check that there is nothing else, and the state at the tip.

        Raises:
            LocalFault: ``audit_mismatch``.
        """
        for form, rows in (
            (STATEMENTS, self._statements),
            (LOTS, self._lots),
            (TRADES, self._trades),
            (RETIREMENTS, self._retirements),
            (CLEARINGS, self._clearings),
            (PAYMENTS, self._payments),
        ):
            if rows.left is not None:
                raise mismatch(form.name, _name(form, rows.left), "the best chain has no such row")
        for lot_id, row in self._open_lots.items():
            offer = self._market.lot(lot_id).offer
            _compare(LOTS, row, (*row[:LOT_FIXED_COLUMNS], bytes.fromhex(offer) or None, None))
        for state_form in STATE_FORMS:
            self._check_state(state_form)

    def _check_made(self, replayed: ReplayedBlock) -> None:
        """What never changes of a lot is as the block made it."""
        found, joined = self._lots.of(replayed.height), joined_lots(replayed.block)
        expected = [
            lot_row(lot_id, lot, joined=joined.get(lot_id, ()), created_height=replayed.height, spent_height=None)[
                :LOT_FIXED_COLUMNS
            ]
            for lot_id, lot in replayed.lots.items()
        ]
        _compare_rows(LOTS, [row[:LOT_FIXED_COLUMNS] for row in found], expected)
        self._open_lots.update((as_bytes(row[0]).hex(), row) for row in found)

    def _check_spent(self, replayed: ReplayedBlock) -> None:
        """What the block used up says so."""
        market = replayed.state.market
        for each in replayed.undo.market_before:
            if each.table == "lots" and each.key not in market.lots:
                row = self._open_lots.pop(each.key)
                _compare(LOTS, row, (*row[:LOT_FIXED_COLUMNS], None, replayed.height))

    def _check_state(self, form: StateForm) -> None:
        name = form.form.name
        found = dict(read_table(self._connection, form))
        expected = dict(self._market.table(form.state_table).items())
        for key in sorted(found.keys() | expected.keys()):
            if key not in found:
                raise mismatch(name, key, "the row is missing")
            if key not in expected:
                raise mismatch(name, key, "the state at the tip has no such row")
            if found[key] != expected[key]:
                raise mismatch(name, key, f"is {encode(found[key])!r}, not {encode(expected[key])!r}")


def _compare_rows(form: TableForm, found: Sequence[Row], expected: Sequence[Row]) -> None:
    """Compare the rows of one block.

    Raises:
        LocalFault: ``audit_mismatch`` naming the first row that differs, is missing, or is too many.
    """
    found_by_key = {row[: form.key_columns]: row for row in found}
    expected_by_key = {row[: form.key_columns]: row for row in expected}
    for key, should_be in expected_by_key.items():
        if key not in found_by_key:
            raise mismatch(form.name, _name(form, key), "the row is missing")
        _compare(form, found_by_key[key], should_be)
    for key in found_by_key.keys() - expected_by_key.keys():
        raise mismatch(form.name, _name(form, key), "its block has no such row")


def _compare(form: TableForm, found: Row, expected: Row) -> None:
    for column, is_there, should_be in zip(form.columns, found, expected, strict=False):
        if is_there != should_be:
            raise mismatch(form.name, _name(form, expected), f"{column} is {shown(is_there)}, not {shown(should_be)}")


def _name(form: TableForm, row: Row) -> str:
    """How a report names a row: by its key."""
    return ", ".join(f"{column} {shown(value)}" for column, value in zip(form.key, row, strict=False))
