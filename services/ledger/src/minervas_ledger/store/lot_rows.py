"""Lots and retirements as rows of the database, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from minervas_core.market.records import Lot, Origin, Retirement
from minervas_ledger.store.columns import as_bytes, as_int, binary
from minervas_ledger.store.market_rows import hexes
from minervas_ledger.store.table_forms import Row, TableForm

LOTS = TableForm(
    "lots",
    {
        "id": "bytea",
        "owner": "text",
        "energy_wh": "int8",
        "parent": "bytea",
        "origins": "bytea[]",
        "origin_wh": "int8[]",
        "joined": "bytea[]",
        "created_height": "int8",
        "offer": "bytea",
        "spent_height": "int8",
    },
    key_columns=1,
)
LOT_FIXED_COLUMNS = 8
"""The columns at the front that never change."""

LOT_COLUMNS = ("id", "owner", "energy_wh", "parent", "origins", "origin_wh", "offer")
"""What makes an unspent lot's record (`lot_of`)."""

RETIREMENTS = TableForm(
    "retirements",
    {
        "height": "int8",
        "position": "int4",
        "transaction": "bytea",
        "owner": "text",
        "lot": "bytea",
        "energy_wh": "int8",
        "origins": "bytea[]",
        "origin_wh": "int8[]",
    },
    key_columns=2,
)


def lot_row(lot_id: str, lot: Lot, *, joined: Sequence[str], created_height: int, spent_height: int | None) -> Row:
    """The row of a lot; no offer holds one that is spent. `joined` are the lots that a merge made it from."""
    offer = bytes.fromhex(lot.offer) if lot.offer and spent_height is None else None
    return (
        bytes.fromhex(lot_id),
        lot.owner,
        lot.energy_wh,
        bytes.fromhex(lot.parent),
        *_origin_columns(lot.origins),
        binary(joined),
        created_height,
        offer,
        spent_height,
    )


def lot_of(row: Row) -> tuple[str, Lot]:
    """`LOT_COLUMNS` of an unspent lot as id and record."""
    lot_id, owner, energy_wh, parent, statements, origin_wh, offer = row
    record = Lot(
        owner=str(owner),
        energy_wh=as_int(energy_wh),
        parent=as_bytes(parent).hex(),
        origins=_origins_of(statements, origin_wh),
        offer="" if offer is None else as_bytes(offer).hex(),
    )
    return as_bytes(lot_id).hex(), record


def retirement_row(retirement: Retirement) -> Row:
    """The row of a retirement."""
    return (
        retirement.height,
        retirement.position,
        bytes.fromhex(retirement.transaction),
        retirement.owner,
        bytes.fromhex(retirement.lot),
        retirement.energy_wh,
        *_origin_columns(retirement.origins),
    )


def retirement_of(row: Row) -> Retirement:
    """A row of `retirements` as a record."""
    height, position, transaction, owner, lot, energy_wh, statements, origin_wh = row
    return Retirement(
        height=as_int(height),
        position=as_int(position),
        transaction=as_bytes(transaction).hex(),
        owner=str(owner),
        lot=as_bytes(lot).hex(),
        energy_wh=as_int(energy_wh),
        origins=_origins_of(statements, origin_wh),
    )


def _origin_columns(origins: Sequence[Origin]) -> tuple[list[bytes], list[int]]:
    return [bytes.fromhex(origin.statement) for origin in origins], [origin.energy_wh for origin in origins]


def _origins_of(statements: object, origin_wh: object) -> list[Origin]:
    energy_wh = cast("list[int]", origin_wh)
    return [Origin(statement=each, energy_wh=wh) for each, wh in zip(hexes(statements), energy_wh, strict=True)]
