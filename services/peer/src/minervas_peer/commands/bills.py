"""`minervas bills`, `bill`, `statement`, `settlements`, and the pieces that exporting and verifying share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from minervas_core.billing.records import Bill, BillLine, MemberStatement
from minervas_core.encoding import Record, decode, encode_untyped
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_core.market.settlement_records import Settlement
from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, short, when
from minervas_peer.documents.csv_files import statement_amounts
from minervas_peer.documents.numbers import decimal_text, exact_money, kilowatt_hours, money, price_per_kwh
from minervas_peer.documents.texts import quality

NUMBER = re.compile(r"(?P<seller>[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)-(?P<year>\d{4})(?P<month>\d{2})-\d{3,6}")
PAIR = re.compile(r"(?P<month>\d{4}-\d{2})/(?P<seller>[a-z0-9-]{1,32})/(?P<buyer>[a-z0-9-]{1,32})")
R = TypeVar("R", bound=Record)

PAGE = 50
LINES_PER_PAGE = 500
MAX_BYTES = 64_000_000


@dataclass(frozen=True)
class BillReference:
    """Month, seller and buyer of a bill."""

    month: str
    seller: str
    buyer: str

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/v1/bills/{self.month}/{self.seller}/{self.buyer}"


@dataclass(frozen=True)
class WholeBill:
    """A bill with all its lines, and what was settled of it."""

    bill: Bill
    lines: list[BillLine]
    settled: Settlement


def find_bill(client: ApiClient, text: str) -> BillReference:
    """A bill by its number, or (also a preview) as ``MONTH/SELLER/BUYER``.

    Raises:
        LocalFault: ``not_found`` if there is none; ``wrong_shape`` for another text.
    """
    if pair := PAIR.fullmatch(text):
        return BillReference(pair["month"], pair["seller"], pair["buyer"])
    found = NUMBER.fullmatch(text)
    if found is None:
        raise LocalFault(
            Code.WRONG_SHAPE, "Name a bill by its number, or as MONTH/SELLER/BUYER; minervas bills MONTH lists them"
        )
    month = f"{found['year']}-{found['month']}"
    for entry in all_bills(client, month, found["seller"]):
        if entry["bill"]["number"] == text:
            return BillReference(month, found["seller"], entry["bill"]["buyer"])
    raise LocalFault(Code.NOT_FOUND, "There is no such final bill on this node", number=text)


def all_bills(client: ApiClient, month: str, member: str) -> Iterator[Json]:
    """All bills of a month and member, page by page."""
    after = ("", "")
    more = True
    while more:
        page = client.get(f"/v1/bills/{month}", member=member, after_seller=after[0], after_buyer=after[1], limit=PAGE)
        yield from page["bills"]
        more = page["more"] and bool(page["bills"])
        if page["bills"]:
            last = page["bills"][-1]["bill"]
            after = (last["seller"], last["buyer"])


def whole_bill(client: ApiClient, reference: BillReference) -> WholeBill:
    """A bill with all its lines.

    Raises:
        LocalFault: ``not_found`` if the chain moved on in between: ask again.
    """
    lines: list[BillLine] = []
    first: Bill | None = None
    while True:
        page = client.get(reference.path, after_line=len(lines), limit=LINES_PER_PAGE)
        bill = as_record(page["bill"], Bill)
        first = first or bill
        if bill != first:
            raise LocalFault(Code.NOT_FOUND, "The bill changed while it was read: ask again", month=reference.month)
        lines += [as_record(line, BillLine) for line in page["lines"]]
        if not page["more"] or not page["lines"]:
            return WholeBill(bill, lines, as_record(page["settled"], Settlement))


def genesis_of(client: ApiClient) -> Genesis:
    """The genesis that the node goes by."""
    return load_genesis(encode_untyped(client.get("/v1/genesis")["genesis"]))


def member_statement(client: ApiClient, month: str, member: str) -> MemberStatement:
    """A member's month."""
    return as_record(client.get(f"/v1/statements/{month}", member=member)["statement"], MemberStatement)


def as_record(value: Json, kind: type[R]) -> R:
    """JSON of the API as the record that it is."""
    return decode(encode_untyped(value), kind, max_bytes=MAX_BYTES)


def show_bills(client: ApiClient, output: Output, *, month: str, member: str) -> None:
    """A month's bills."""
    entries = list(all_bills(client, month, member))
    if output.as_json:
        output.json({"bills": entries})
        return
    rows = []
    for entry in entries:
        bill, settled = entry["bill"], entry["settled"]
        left = bill["total_micro"] - settled["paid_micro"] - settled["credited_micro"]
        rows.append(
            (
                bill["number"] or f"preview {month}/{bill['seller']}/{bill['buyer']}",
                bill["seller"],
                bill["buyer"],
                bill["lines"],
                kilowatt_hours(bill["energy_wh"]),
                money(bill["total_micro"], bill["currency"]),
                money(left, bill["currency"]),
                bill["missing"],
            )
        )
    heads = ("bill", "seller", "buyer", "trades", "kWh", "total", "open", "readings missing")
    output.table(f"Bills of {month}", heads, rows)
    output.say("Not tax invoices. Previews have no number: their month is not over or not final.")


def show_bill(client: ApiClient, output: Output, *, reference: str) -> None:
    """One bill with its lines."""
    found = whole_bill(client, find_bill(client, reference))
    bill, settled = found.bill, found.settled
    if output.as_json:
        page = client.get(find_bill(client, reference).path, limit=1)
        output.json({"bill": page["bill"], "settled": page["settled"], "lines": [_plain(each) for each in found.lines]})
        return
    left = bill.total_micro - settled.paid_micro - settled.credited_micro
    facts = [
        ("bill", bill.number or "preview"),
        ("seller", bill.seller),
        ("buyer", bill.buyer),
        ("month", f"{bill.period.month} ({bill.period.time_zone})"),
        ("blocks", f"{bill.period.first_height} to {bill.period.last_height}"),
        ("sum", exact_money(bill.net_micro, bill.currency)),
        ("tax", f"{exact_money(bill.tax_micro, bill.currency)} ({bill.tax_per_mille} per mille)"),
        ("rounding", exact_money(bill.rounding_micro, bill.currency)),
        ("total", money(bill.total_micro, bill.currency)),
        ("open", money(left, bill.currency)),
        ("readings", f"{bill.measured:,} measured, {bill.substituted:,} substituted, {bill.missing:,} missing"),
    ]
    output.facts("Bill (not a tax invoice)", facts)
    rows = [
        (
            line.line,
            when(line.time_ms),
            f"{line.height}/{line.position}",
            kilowatt_hours(line.energy_wh),
            price_per_kwh(line.price_micro),
            exact_money(line.amount_micro, bill.currency),
            quality(line.substituted, line.missing, "en"),
        )
        for line in found.lines
    ]
    output.table("Lines", ("line", "time (UTC)", "trade", "kWh", "per kWh", "amount", "readings"), rows)


def show_statement(client: ApiClient, output: Output, *, month: str, member: str) -> None:
    """A member's month at a glance."""
    if output.as_json:
        output.json(client.get(f"/v1/statements/{month}", member=member))
        return
    found = member_statement(client, month, member)
    energy = [
        (key, f"{kilowatt_hours(getattr(found, f'{key}_wh'))} kWh")
        for key in ("produced", "sold", "bought", "retired", "own_use", "unsold")
    ]
    amounts = [(name, exact_money(micro, found.currency)) for name, micro in statement_amounts(found, "en")]
    state = "final" if found.period.is_final else "preview"
    output.facts(
        f"{found.member}, {month} ({state})",
        [*energy, *amounts, ("readings missing", found.missing), ("readings substituted", found.substituted)],
    )


def show_settlements(client: ApiClient, output: Output, *, member: str, limit: int) -> None:
    """Payments and credit notes."""
    page = client.get("/v1/settlements", member=member, limit=limit)
    if output.as_json:
        output.json(page)
        return
    rows = [
        (
            each["height"],
            "credit note" if "reason" in each else "payment",
            each["month"],
            each["seller"],
            each["buyer"],
            decimal_text(each["amount_micro"]),
            each.get("reason", ""),
            short(each["transaction"]),
        )
        for each in page["settlements"]
    ]
    output.table(
        "Payments and credit notes, newest first",
        ("block", "what", "month", "seller", "buyer", "amount", "reason", "transaction"),
        rows,
    )


def _plain(line: BillLine) -> Json:
    return {name: getattr(line, name) for name in BillLine.__struct_fields__}
