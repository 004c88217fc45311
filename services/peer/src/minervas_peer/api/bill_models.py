"""Shapes of what the API takes about bills; what it gives are the records of spec/bills.md as they are."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from minervas_core.encoding import MAX_INTEGER
from minervas_core.market.settlement_records import CreditReason

MONTH_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
MEMBER_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"


class NewPayment(BaseModel):
    """Our word that a buyer paid a final bill of ours, or a part of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    buyer: str = Field(pattern=MEMBER_PATTERN, max_length=32)
    month: str = Field(pattern=MONTH_PATTERN)
    amount_micro: int = Field(ge=1, le=MAX_INTEGER, description="Millionths of the currency.")


class NewCreditNote(NewPayment):
    """An amount that we take off a final bill of ours."""

    reason: CreditReason


class Bills(BaseModel):
    """A page of a month's bills, by seller and buyer."""

    bills: list[dict[str, Any]]
    more: bool = Field(description="Whether there are more; ask again after the last one's seller and buyer.")


class BillLines(BaseModel):
    """One bill and some of its lines."""

    bill: dict[str, Any]
    settled: dict[str, int]
    lines: list[dict[str, Any]]
    more: bool = Field(description="Whether there are more; ask again after the last line's number.")


class Statement(BaseModel):
    """A member's month at a glance."""

    statement: dict[str, Any]


class Settlements(BaseModel):
    """Payments and credit notes, newest first."""

    settlements: list[dict[str, Any]]


class Evidence(BaseModel):
    """A part of evidence (spec/evidence.md) or a certificate (spec/certificates.md)."""

    part: dict[str, Any]


class Readings(BaseModel):
    """Readings under a statement."""

    readings: list[dict[str, Any]]
    total: int
    reason: str


class GenesisOfNode(BaseModel):
    """The genesis file that this node goes by."""

    genesis: dict[str, Any]
