"""Records of auctions as rows of the database, and back."""

from __future__ import annotations

from typing import cast

import msgspec

from minervas_core.encoding import Record
from minervas_core.market.records import Clearing, Slot
from minervas_core.market.state import PendingFill
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.table_forms import Row, StateForm, TableForm


def _slot_row(key: str, record: Record) -> Row:
    slot = cast("Slot", record)
    return (key, slot.mode, slot.ends_ms, slot.cleared)


def _slot_of(row: Row) -> tuple[str, Slot]:
    key, mode, ends_ms, cleared = row
    kept = Slot(mode="auction" if mode == "auction" else "continuous", ends_ms=as_int(ends_ms), cleared=bool(cleared))
    return str(key), kept


def _fill_row(key: str, record: Record) -> Row:
    fill = cast("PendingFill", record)
    return (key, bytes.fromhex(fill.offer), bytes.fromhex(fill.bid), fill.energy_wh, fill.price_micro)


def _fill_of(row: Row) -> tuple[str, PendingFill]:
    key, offer, bid, energy_wh, price_micro = row
    fill = PendingFill(
        offer=as_bytes(offer).hex(),
        bid=as_bytes(bid).hex(),
        energy_wh=as_int(energy_wh),
        price_micro=as_int(price_micro),
    )
    return str(key), fill


SLOTS = StateForm(
    "slots",
    TableForm("slots", {"id": "text", "mode": "text", "ends_ms": "int8", "cleared": "bool"}, key_columns=1),
    _slot_row,
    _slot_of,
)
PENDING_FILLS = StateForm(
    "pending_fills",
    TableForm(
        "pending_fills",
        {"number": "text", "offer": "bytea", "bid": "bytea", "energy_wh": "int8", "price_micro": "int8"},
        key_columns=1,
    ),
    _fill_row,
    _fill_of,
)
CLEARINGS = TableForm(
    "clearings",
    dict.fromkeys(
        (
            "height",
            "slot_ends_ms",
            "price_micro",
            "lowest_micro",
            "highest_micro",
            "energy_wh",
            "offers",
            "bids",
            "offered_wh",
            "wanted_wh",
            "deals",
            "deals_wh",
        ),
        "int8",
    ),
    key_columns=1,
)


def clearing_row(clearing: Clearing) -> Row:
    """The row of what an auction decided."""
    values = (getattr(clearing, name) for name in CLEARINGS.columns)
    return tuple(None if isinstance(value, msgspec.UnsetType) else value for value in values)


def clearing_of(row: Row) -> Clearing:
    """A row of `clearings` as a record."""
    given = {name: as_int(value) for name, value in zip(CLEARINGS.columns, row, strict=True) if value is not None}
    return msgspec.convert(given, Clearing)
