"""What the chain keeps of bills that were paid or corrected: two transactions, and one row for each pair and month."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import Count, Record
from minervas_core.identifiers import MemberId
from minervas_core.market.records import MarketBody

Month = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])\Z")]
"""A calendar month in the consortium's time zone, as ``2026-03``."""
AmountMicro = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""A positive amount in millionths of the currency."""
CreditReason = Literal["agreement", "meter_error", "price_error", "other"]
"""Why a bill is corrected. A text is not possible: names and contacts never go on chain."""


class Settling(MarketBody, frozen=True, kw_only=True):
    """What a payment and a credit note have in common: the bill that they are about."""

    seller: MemberId
    """Whose wallet signs; the authority signs for a member that was revoked or left."""
    buyer: MemberId
    month: Month
    amount_micro: AmountMicro


class Payment(Settling, frozen=True, kw_only=True, tag_field="type", tag="payment"):
    """The seller confirms that the buyer paid a final bill, or part of it."""


class CreditNote(Settling, frozen=True, kw_only=True, tag_field="type", tag="credit_note"):
    """The seller takes an amount off a final bill, which itself stays as it is."""

    reason: CreditReason


class Settlement(Record, frozen=True, kw_only=True):
    """What was paid and taken off a bill so far."""

    paid_micro: Count
    credited_micro: Count
