"""Payments and credit notes as rows of the database, and back."""

from __future__ import annotations

from typing import cast

import msgspec

from minervas_core.blocks import Block
from minervas_core.encoding import Record
from minervas_core.market.settlement_records import CreditNote, CreditReason, Payment, Settlement
from minervas_core.node_bill_messages import SettlementEntry
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.table_forms import Row, StateForm, TableForm


def _settlement_row(key: str, record: Record) -> Row:
    settled = cast("Settlement", record)
    return (*key.split("/"), settled.paid_micro, settled.credited_micro)


def _settlement_of(row: Row) -> tuple[str, Settlement]:
    debtor, creditor, month, paid_micro, credited_micro = row
    settled = Settlement(paid_micro=as_int(paid_micro), credited_micro=as_int(credited_micro))
    return f"{debtor}/{creditor}/{month}", settled


SETTLEMENTS = StateForm(
    "settlements",
    TableForm(
        "settlements",
        {"debtor": "text", "creditor": "text", "month": "text", "paid_micro": "int8", "credited_micro": "int8"},
        key_columns=3,
    ),
    _settlement_row,
    _settlement_of,
)

PAYMENTS = TableForm(
    "payments",
    {
        "height": "int8",
        "position": "int4",
        "id": "bytea",
        "seller": "text",
        "buyer": "text",
        "month": "text",
        "amount_micro": "int8",
        "reason": "text",
    },
    key_columns=2,
)


def payment_rows(block: Block) -> list[Row]:
    """The rows of a block's payments and credit notes."""
    rows: list[Row] = []
    for position, transaction in enumerate(block.transactions):
        body = transaction.body
        if isinstance(body, Payment | CreditNote):
            reason = body.reason if isinstance(body, CreditNote) else None
            rows.append(
                (
                    block.header.height,
                    position,
                    bytes.fromhex(transaction.id),
                    body.seller,
                    body.buyer,
                    body.month,
                    body.amount_micro,
                    reason,
                )
            )
    return rows


def payment_of(row: Row) -> SettlementEntry:
    """A row of `payments` as it is told."""
    height, _, tx_id, seller, buyer, month, amount_micro, reason = row
    return SettlementEntry(
        transaction=as_bytes(tx_id).hex(),
        height=as_int(height),
        seller=str(seller),
        buyer=str(buyer),
        month=str(month),
        amount_micro=as_int(amount_micro),
        reason=msgspec.UNSET if reason is None else cast("CreditReason", reason),
    )
