"""Bills and statements as CSV: one line for each, with headings in the wanted language.

Numbers have a point and no separators, so that programs of every language read them. Energy is in kWh and money in the
currency; nothing is rounded but a total. A mark of byte order stands in front: without it Excel does not see that it
is UTF-8.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from minervas_core.billing.records import Bill, BillLine, MemberStatement
from minervas_core.market.settlement_records import Settlement
from minervas_peer.documents.numbers import decimal_text, kilowatt_hours, moment
from minervas_peer.documents.texts import quality, say

BYTE_ORDER_MARK = "\ufeff"


def bill_csv(bill: Bill, lines: Iterable[BillLine], settled: Settlement, language: str) -> str:
    """A bill: a row for each line, then the sums."""
    zone = bill.period.time_zone
    heads = ("number", "seller", "buyer", "month", "line", "time", "trade", "energy", "price", "amount", "quality")
    rows: list[Sequence[str]] = [[say(head, language) for head in heads]]
    name = bill.number or say("preview", language)
    rows += [
        [
            name,
            bill.seller,
            bill.buyer,
            bill.period.month,
            str(line.line),
            moment(line.time_ms, zone),
            f"{line.height}/{line.position}",
            kilowatt_hours(line.energy_wh).replace(",", ""),
            decimal_text(line.price_micro * 1_000),
            decimal_text(line.amount_micro),
            quality(line.substituted, line.missing, language),
        ]
        for line in lines
    ]
    sums = {
        say("net", language): bill.net_micro,
        say("tax", language, rate=rate_text(bill.tax_per_mille)): bill.tax_micro,
        say("rounding", language): bill.rounding_micro,
        say("total", language): bill.total_micro,
        say("paid", language): settled.paid_micro,
        say("credited", language): settled.credited_micro,
        say("open", language): bill.total_micro - settled.paid_micro - settled.credited_micro,
    }
    rows += [
        [name, bill.seller, bill.buyer, bill.period.month, label, "", "", "", "", decimal_text(amount), ""]
        for label, amount in sums.items()
    ]
    return _text(rows)


def statement_csv(statement: MemberStatement, language: str) -> str:
    """A statement: one row for each number."""
    rows: list[Sequence[str]] = [[say("member", language), say("month", language), "", ""]]
    energy = ("produced", "sold", "bought", "retired", "own_use", "unsold")
    for key in energy:
        value = kilowatt_hours(getattr(statement, f"{key}_wh")).replace(",", "")
        rows.append([statement.member, statement.period.month, say(key, language), f"{value} kWh"])
    for label, amount in statement_amounts(statement, language):
        rows.append([statement.member, statement.period.month, label, f"{decimal_text(amount)} {statement.currency}"])
    return _text(rows)


def statement_amounts(statement: MemberStatement, language: str) -> list[tuple[str, int]]:
    """The amounts of a statement with their labels."""
    return [
        (say("revenue", language), statement.revenue_micro),
        (say("cost", language), statement.cost_micro),
        (say("fee", language), statement.fee_micro),
        (say("reward", language, blocks=statement.rewards.blocks), statement.rewards.earned_micro),
        (say("share", language), statement.rewards.share_micro),
        (say("due", language), statement.consortium_micro),
    ]


def rate_text(per_mille: int) -> str:
    """A rate in per cent."""
    return f"{per_mille // 10}.{per_mille % 10}".removesuffix(".0")


def _text(rows: Iterable[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(rows)
    return BYTE_ORDER_MARK + file.getvalue()
