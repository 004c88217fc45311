"""Payments and credit notes: what is owed goes down by them, and never below nothing (design section 5).

The chain knows what a pair traded in all, but no months: these depend on time zones, whose rules change, and two nodes
must never disagree. So it takes a month as a name, checks that it can be over, and bounds what a pair settles in all
by what it traded in all. That the amount fits the bill of just that month is looked after by the seller's own node.
"""

from __future__ import annotations

from minervas_core.encoding import MAX_INTEGER
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Genesis
from minervas_core.market.records import Obligation
from minervas_core.market.settlement_records import CreditNote, Payment, Settlement
from minervas_core.market.state import Market
from minervas_core.money import minor_unit_micro, with_tax

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EARLIEST_ZONE_MS = 14 * HOUR_MS
"""Where a month begins and ends first: the line islands are 14 hours ahead of UTC."""
LATEST_ZONE_MS = 12 * HOUR_MS
"""Where it does so last."""


def settlement_key(debtor: str, creditor: str, month: str) -> str:
    """How the state keys what was settled of a bill."""
    return f"{debtor}/{creditor}/{month}"


def first_of_month_utc_ms(year: int, month: int) -> int:
    """When a month begins in UTC; `month` may be 13 for the next January.

    Days are counted as in H. Hinnant's ``days_from_civil`` (chrono-compatible low-level date algorithms).
    """
    shifted = year * 12 + month - 3
    year_from_march, month_from_march = divmod(shifted, 12)
    era_year = year_from_march % 400
    day_of_era = era_year * 365 + era_year // 4 - era_year // 100 + (153 * month_from_march + 2) // 5
    return (year_from_march // 400 * 146_097 + day_of_era - 719_468) * DAY_MS


def check_settling(market: Market, body: Payment | CreditNote, time_ms: int, genesis: Genesis) -> None:
    """Check a payment or credit note; its sender is checked elsewhere.

    Args:
        market: the state before it.
        body: the transaction.
        time_ms: time of the block's predecessor.
        genesis: says the tax, the currency and when the consortium began.

    Raises:
        InvalidTransaction: ``bill_not_final`` if the month cannot be over, or was before the consortium;
            ``payment_too_large`` if the pair would settle more than it owes.
    """
    year, month = (int(part) for part in body.month.split("-"))
    ends_ms = first_of_month_utc_ms(year, month + 1)
    if time_ms < ends_ms - EARLIEST_ZONE_MS or ends_ms + LATEST_ZONE_MS <= genesis.body.created_ms:
        raise InvalidTransaction(
            Code.BILL_NOT_FINAL, "There is no final bill of this month", month=body.month, time_ms=time_ms
        )
    pair = f"{body.buyer}/{body.seller}"
    months = {*(key.rpartition("/")[2] for key in _keys_of(market, pair)), body.month}
    settled = settled_micro(market, pair)
    most_micro = _most_micro(market.owed(body.buyer, body.seller), len(months), genesis)
    if settled + body.amount_micro > min(most_micro, MAX_INTEGER):
        raise InvalidTransaction(
            Code.PAYMENT_TOO_LARGE,
            "More than the buyer owes the seller",
            amount_micro=body.amount_micro,
            open_micro=max(0, min(most_micro, MAX_INTEGER) - settled),
        )


def apply_settling(market: Market, body: Payment | CreditNote) -> None:
    """Carry out a checked payment or credit note."""
    key = settlement_key(body.buyer, body.seller, body.month)
    before = market.settlements.get(key) or Settlement(paid_micro=0, credited_micro=0)
    is_payment = isinstance(body, Payment)
    after = Settlement(
        paid_micro=before.paid_micro + (body.amount_micro if is_payment else 0),
        credited_micro=before.credited_micro + (0 if is_payment else body.amount_micro),
    )
    market.settlements.put(key, after)


def settled_micro(market: Market, pair: str) -> int:
    """What ``debtor/creditor`` has settled over all months, in millionths of the currency."""
    rows = (market.settlements.get(key) for key in _keys_of(market, pair))
    return sum(row.paid_micro + row.credited_micro for row in rows if row is not None)


def _keys_of(market: Market, pair: str) -> list[str]:
    """Rows of a pair, one for each month of which it has settled something."""
    return [str(entry[-1]) for entry in market.settlements.listed_under("pair", pair)]


def _most_micro(owed: Obligation, months: int, genesis: Genesis) -> int:
    """What a pair may settle in all: trades with tax, and what rounding can add to each month's bill.

    A bill is rounded to the nearest unit, so by half a unit at most; a pair that owes nothing settles nothing.
    """
    if not owed.amount_micro:
        return 0
    return with_tax(owed.amount_micro, genesis.parameters.tax_per_mille) + months * minor_unit_micro(
        genesis.body.currency
    )
