"""Payments and credit notes (minervas_core.market.settling)."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core.errors import Code
from minervas_core.market.credit import owed_micro
from minervas_core.market.settlement_records import Settlement
from minervas_core.market.settling import DAY_MS, HOUR_MS, first_of_month_utc_ms
from minervas_core.money import minor_unit_micro, rounded_half_even, with_tax
from tests.support.builders import GENESIS_TIME_MS, MARKET, bid, offer, revoke, signing_key
from tests.support.examples import examples
from tests.support.lot_builders import credit, pay
from tests.support.market_line import MarketLine

MONTH = dt.datetime.fromtimestamp(GENESIS_TIME_MS / 1000, dt.UTC).strftime("%Y-%m")
AFTER_MS = 40 * DAY_MS
"""After genesis: its month is over everywhere."""
UNIT = minor_unit_micro("KRW")


def sold(*, tax_per_mille: int = 0, wh: int = 500, price: int = 100_000) -> MarketLine:
    """`a` sold energy to `b` in the month of genesis, which is over."""
    line = MarketLine("a", "b", "c", parameters=msgspec.structs.replace(MARKET, tax_per_mille=tax_per_mille))
    (lot,) = line.mint("a", wh)
    line.add(offer("a", [lot], price), bid("b", wh, price))
    line.add(at_ms=AFTER_MS)
    return line


def test_payments_and_credit_notes_of_a_month_add_up_and_are_undone() -> None:
    line = sold()
    line.add(pay("a", "b", 20_000_000, month=MONTH), credit("a", "b", 5_000_000, month=MONTH))
    line.add(pay("a", "b", 25_000_000, month=MONTH, salt="2"))
    rows = dict(line.state.market.settlements.items())
    assert rows == {f"b/a/{MONTH}": Settlement(paid_micro=45_000_000, credited_micro=5_000_000)}
    assert line.owed_micro("b", "a") == 50_000_000
    line.undo_all()


def test_no_more_is_settled_than_is_owed_with_tax_and_a_unit_for_each_month() -> None:
    line = sold(tax_per_mille=100)
    most = with_tax(50_000_000, 100) + UNIT
    assert line.refused(pay("a", "b", most + 1, month=MONTH)) == Code.PAYMENT_TOO_LARGE
    line.add(pay("a", "b", most, month=MONTH))
    assert line.refused(credit("a", "b", 1, month=MONTH)) == Code.PAYMENT_TOO_LARGE


def test_a_payment_needs_the_sellers_wallet_or_the_authority_for_a_seller_that_is_gone() -> None:
    line = sold()
    authority = signing_key("authority")
    assert line.refused(pay("a", "b", 1, month=MONTH, by=authority)) == Code.TX_WRONG_SENDER
    assert line.refused(pay("a", "b", 1, month=MONTH, by=signing_key("b.peer"))) == Code.TX_WRONG_SENDER
    assert line.refused(pay("x", "b", 1, month=MONTH)) == Code.MEMBER_UNKNOWN
    line.add(revoke("a", expires=900))
    assert line.refused(pay("a", "b", 1, month=MONTH)) == Code.TX_WRONG_SENDER
    line.add(pay("a", "b", 1, month=MONTH, by=authority))
    line.undo_all()


def test_there_is_no_bill_of_a_month_that_cannot_be_over_or_was_before_the_consortium() -> None:
    line = sold()
    for month in ("1970-01", "9999-12"):
        assert line.refused(pay("a", "b", 1, month=month)) == Code.BILL_NOT_FINAL


@given(st.integers(1970, 9_998), st.integers(1, 12))
@settings(max_examples=examples(200))
def test_months_begin_as_in_the_calendar(year: int, month: int) -> None:
    moment = dt.datetime(year, month, 1, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert first_of_month_utc_ms(year, month) == moment.days * DAY_MS
    if month == 12:
        assert first_of_month_utc_ms(year, 13) == first_of_month_utc_ms(year + 1, 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60_000_000)), max_size=8))
@settings(max_examples=examples(40), deadline=None)
def test_in_every_history_no_more_is_settled_than_owed(amounts: list[tuple[bool, int]]) -> None:
    line, settled = sold(), 0
    for number, (is_payment, amount) in enumerate(amounts):
        made = (pay if is_payment else credit)("a", "b", amount, month=MONTH, salt=str(number))
        if settled + amount <= 50_000_000 + UNIT:
            line.add(made)
            settled += amount
        else:
            assert line.refused(made) == Code.PAYMENT_TOO_LARGE
    rows = [row for _, row in line.state.market.settlements.items()]
    assert sum(row.paid_micro + row.credited_micro for row in rows) == settled
    line.undo_all()


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [(0, 0), (499_999, 0), (500_000, 0), (500_001, 1), (1_500_000, 2), (2_500_000, 2), (-500_000, 0), (-1_500_000, -2)],
)
def test_amounts_are_rounded_to_units_half_to_even(amount: int, rounded: int) -> None:
    assert rounded_half_even(amount, UNIT) == rounded * UNIT


def test_the_widest_time_zones_bound_the_end_of_a_month() -> None:
    line = MarketLine("a", "b")
    (lot,) = line.mint("a", 500)
    line.add(offer("a", [lot], 1), bid("b", 500, 1))
    year, month = map(int, MONTH.split("-"))
    over_ms = first_of_month_utc_ms(year, month + 1) - 14 * HOUR_MS - GENESIS_TIME_MS
    line.add(at_ms=over_ms - 1)
    assert line.refused(pay("a", "b", 1, month=MONTH)) == Code.BILL_NOT_FINAL
    line.add(at_ms=over_ms)
    line.add(pay("a", "b", 1, month=MONTH))


def test_what_was_paid_counts_no_more_against_the_credit_limit() -> None:
    line = sold()
    before = owed_micro(line.state.market, "b")
    line.add(pay("a", "b", 20_000_000, month=MONTH))
    assert owed_micro(line.state.market, "b") == before - 20_000_000
