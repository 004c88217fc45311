"""Bills: months in time zones, sums, tax and rounding; and samples of what is said about them."""

from __future__ import annotations

import json

import msgspec
from msgspec import Raw

from minervas_core import node_bill_messages as said
from minervas_core.billing.bills import BilledTrade, bill_hash, bill_lines, make_bill
from minervas_core.billing.records import Bill, BillLine, BillPeriod
from minervas_core.billing.statements import MonthOfMember, make_statement
from minervas_core.encoding import Record, encode
from minervas_core.evidence.certificate import FORMAT, Certificate
from minervas_core.evidence.finality import ShownFinality
from minervas_core.evidence.records import ShownBill, ShownLines, ShownLot, ShownReadings, ShownStatement, ShownTrade
from minervas_core.evidence.steps import Step
from minervas_core.genesis import Genesis, sign_genesis
from minervas_core.market.records import Origin, Trade
from minervas_core.market.settlement_records import Settlement
from minervas_core.proof import carried_at
from minervas_runtime.months import month_bounds
from tools.vectors.fixtures import ADMISSIONS, AUTHORITY, BLOCK_1, GENESIS, GENESIS_BODY, HAENAM, KIM, NETWORK
from tools.vectors.format import Case
from tools.vectors.market_fixtures import BID, CLAIM, FIRST_STATEMENT, OFFER, PAYMENT, READINGS
from tools.vectors.vote_samples import vote_samples

MONTHS = [
    ("Asia/Seoul", "2026-09"),
    ("Europe/Berlin", "2026-03"),
    ("Europe/Berlin", "2026-10"),
    ("Europe/Berlin", "2026-12"),
    ("America/New_York", "2026-11"),
    ("Pacific/Apia", "2011-12"),
    ("Asia/Beirut", "2022-03"),
    ("UTC", "2024-02"),
]
"""Also months in which the clocks change, and one that lacks a day."""


def month_cases() -> list[Case]:
    """When months begin and end."""
    found: list[Case] = []
    for zone, month in MONTHS:
        from_ms, until_ms = month_bounds(zone, month)
        found.append(
            {"name": f"{month} in {zone}", "zone": zone, "month": month, "from_ms": from_ms, "until_ms": until_ms}
        )
    return found


def taxed(tax_per_mille: int, currency: str = "KRW") -> Genesis:
    """The vectors' consortium with a tax, or another currency."""
    parameters = msgspec.structs.replace(GENESIS_BODY.parameters, tax_per_mille=tax_per_mille)
    return sign_genesis(msgspec.structs.replace(GENESIS_BODY, parameters=parameters, currency=currency), AUTHORITY)


def period(month: str = "2026-09", *, is_final: bool = True) -> BillPeriod:
    """A month in Seoul, of blocks 1 to 9."""
    from_ms, until_ms = month_bounds("Asia/Seoul", month)
    return BillPeriod(
        month=month,
        from_ms=from_ms,
        until_ms=until_ms,
        time_zone="Asia/Seoul",
        first_height=1,
        last_height=9,
        is_final=is_final,
    )


def lines_of(*amounts: tuple[int, int]) -> list[BillLine]:
    """Lines of (energy, price)."""
    trades = [
        Trade(
            height=2 + number,
            position=0,
            offer=OFFER.id,
            bid=BID.id,
            seller=HAENAM.member,
            buyer=KIM.member,
            energy_wh=energy_wh,
            price_micro=price,
            amount_micro=energy_wh * price,
            lots=["00" * 32],
        )
        for number, (energy_wh, price) in enumerate(amounts)
    ]
    start_ms = period().from_ms
    return bill_lines(BilledTrade(trade, start_ms + 1_000 * n, 900, n // 2, n) for n, trade in enumerate(trades))


def bill_cases() -> list[Case]:
    """Bills with their lines."""
    made = {
        "one line": (GENESIS, [(300, 142_600)], True),
        "half a won is rounded to the even one": (GENESIS, [(25, 100_000)], True),
        "half a won more": (GENESIS, [(35, 100_000)], True),
        "a gift": (GENESIS, [(300, 0)], True),
        "several lines and a tax of 10 %": (taxed(100), [(300, 142_600), (501, 99_999), (17, 150_001)], True),
        "a tax of 7.3 % in euros": (taxed(73, "EUR"), [(1_234, 321), (77, 299)], True),
        "dinars with three digits": (taxed(50, "KWD"), [(1_001, 77)], True),
        "a preview has no number": (GENESIS, [(300, 142_600)], False),
    }
    return [
        _bill_case(name, genesis, lines_of(*amounts), is_final) for name, (genesis, amounts, is_final) in made.items()
    ]


def _bill_case(name: str, genesis: Genesis, lines: list[BillLine], is_final: bool) -> Case:  # noqa: FBT001 - of a row
    bill = make_bill(genesis, HAENAM.member, KIM.member, period(is_final=is_final), lines, place=2)
    return {
        "name": name,
        "genesis_hex": genesis.raw.hex(),
        "lines": [json.loads(encode(line)) for line in lines],
        "place": 2,
        "bill": json.loads(encode(bill)),
        "hash": bill_hash(bill),
    }


# samples


def _sample_bill() -> tuple[Bill, list[BillLine]]:
    lines = lines_of((300, 142_600))
    return make_bill(GENESIS, HAENAM.member, KIM.member, period(), lines, place=1), lines


def _finality() -> ShownFinality:
    vote = vote_samples()["VoteForm"]
    return ShownFinality(
        members=[Raw(each.raw) for each in ADMISSIONS],
        headers=[BLOCK_1.header],
        signature=BLOCK_1.signature,
        votes=[Raw(encode(vote))],
    )


def evidence_samples() -> dict[str, Record]:
    """Parts of evidence and a certificate, by name of the sample."""
    bill, lines = _sample_bill()
    origin = Origin(statement=FIRST_STATEMENT.id, energy_wh=300)
    trade = Trade(
        height=4,
        position=0,
        offer=OFFER.id,
        bid=BID.id,
        seller=HAENAM.member,
        buyer=KIM.member,
        energy_wh=300,
        price_micro=142_600,
        amount_micro=300 * 142_600,
        lots=["ab" * 32],
    )
    return {
        "ShownBill": ShownBill(bill=bill),
        "ShownLines": ShownLines(lines=lines),
        "ShownTrade": ShownTrade(
            line=1,
            trade=trade,
            block=Raw(BLOCK_1.raw),
            offer=Raw(OFFER.raw),
            bid=Raw(BID.raw),
            lots=[ShownLot(id="ab" * 32, energy_wh=300, origins=[origin])],
            finality=_finality(),
        ),
        "ShownStatement": ShownStatement(statement=Raw(FIRST_STATEMENT.raw), readings=2),
        "ShownReadings": ShownReadings(readings=list(READINGS)),
        "Step": Step(about="bill", name="bill", status="failed", text="...", code="bill_wrong", values={"line": 1}),
        "Certificate": Certificate(
            format=FORMAT,
            network=NETWORK,
            genesis=GENESIS.hash,
            owner=HAENAM.member,
            retirement=carried_at([CLAIM.raw], 0),
            origins=[Origin(statement=FIRST_STATEMENT.id, energy_wh=900)],
            statements=[Raw(FIRST_STATEMENT.raw)],
            finality=_finality(),
        ),
    }


def bill_samples() -> dict[str, Record]:
    """Messages inside a node about bills, by name of the sample."""
    bill, lines = _sample_bill()
    entry = said.BillEntry(bill=bill, settled=Settlement(paid_micro=1_000_000, credited_micro=0))
    sums = MonthOfMember(900, 300, 42_780_000, 0, 0, 100, 100, 500, 900, 2, 1)
    statement = make_statement(GENESIS, HAENAM.member, period(), sums, mined={}, members=[HAENAM.member])
    shown = _finality()
    paid = said.SettlementEntry(
        transaction=PAYMENT.id,
        height=7,
        seller=HAENAM.member,
        buyer=KIM.member,
        month="2026-09",
        amount_micro=42_000_000,
    )
    return {
        "GetBills": said.GetBills(month="2026-09", member=KIM.member),
        "Bills": said.Bills(bills=[entry], more=False),
        "GetBillLines": said.GetBillLines(month="2026-09", seller=HAENAM.member, buyer=KIM.member),
        "BillLines": said.BillLines(entry=entry, lines=lines, more=False),
        "GetMemberStatement": said.GetMemberStatement(month="2026-09", member=HAENAM.member),
        "MemberStatement": statement,
        "GetSettlements": said.GetSettlements(member=KIM.member),
        "Settlements": said.Settlements(settlements=[paid]),
        "GetTradeAt": said.GetTradeAt(height=4, position=0),
        "TradeAt": said.TradeAt(
            trade=Trade(
                height=4,
                position=0,
                offer=OFFER.id,
                bid=BID.id,
                seller=HAENAM.member,
                buyer=KIM.member,
                energy_wh=300,
                price_micro=142_600,
                amount_micro=300 * 142_600,
                lots=["ab" * 32],
            )
        ),
        "GetFinalityProof": said.GetFinalityProof(height=4),
        "FinalityProof": said.FinalityProof(headers=shown.headers, signature=shown.signature, votes=shown.votes),
        "GetMemberHistory": said.GetMemberHistory(up_to_height=9),
        "MemberHistory": said.MemberHistory(transactions=[Raw(each.raw) for each in ADMISSIONS], more=False),
        "GetSoldReadings": said.GetSoldReadings(statement=FIRST_STATEMENT.id, asker=KIM.member),
        "SoldReadings": said.SoldReadings(readings=list(READINGS), total=2),
    }
