"""Making bills: pure functions of trades and a period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minervas_core.billing.records import Bill, BillLine, BillPeriod
from minervas_core.encoding import encode, sha256_hex
from minervas_core.errors import Code, InvalidProof
from minervas_core.genesis import Genesis
from minervas_core.market.records import Trade
from minervas_core.merkle import merkle_root
from minervas_core.money import minor_unit_micro, rounded_half_even

FORMAT = 1


@dataclass(frozen=True, slots=True)
class BilledTrade:
    """A trade with what a bill says beyond it."""

    trade: Trade
    time_ms: int
    """Of its block."""
    measured: int
    substituted: int
    missing: int
    """Readings of the statements that its lots come from."""


def bill_lines(trades: Iterable[BilledTrade]) -> list[BillLine]:
    """The lines of a bill, from a pair's trades of a month in the order of the chain."""
    return [
        BillLine(
            line=number,
            height=each.trade.height,
            position=each.trade.position,
            time_ms=each.time_ms,
            energy_wh=each.trade.energy_wh,
            price_micro=each.trade.price_micro,
            amount_micro=each.trade.amount_micro,
            measured=each.measured,
            substituted=each.substituted,
            missing=each.missing,
        )
        for number, each in enumerate(trades, start=1)
    ]


def make_bill(
    genesis: Genesis, seller: str, buyer: str, period: BillPeriod, lines: Sequence[BillLine], *, place: int
) -> Bill:
    """A bill over its lines.

    Args:
        genesis: says currency and tax.
        seller: whose energy it was.
        buyer: who owes.
        period: the month.
        lines: all of them.
        place: the buyer's place among the seller's buyers of the month, by id, from 1.
    """
    net_micro = sum(line.amount_micro for line in lines)
    total_micro = total_of(net_micro, genesis)
    rate = genesis.parameters.tax_per_mille
    tax_micro = net_micro * rate // 1_000
    return Bill(
        format=FORMAT,
        network=genesis.network,
        genesis=genesis.hash,
        number=bill_number(seller, period.month, place) if period.is_final else "",
        seller=seller,
        buyer=buyer,
        period=period,
        currency=genesis.body.currency,
        lines=len(lines),
        lines_root=lines_root(lines),
        energy_wh=sum(line.energy_wh for line in lines),
        net_micro=net_micro,
        tax_per_mille=rate,
        tax_micro=tax_micro,
        rounding_micro=total_micro - net_micro - tax_micro,
        total_micro=total_micro,
        measured=sum(line.measured for line in lines),
        substituted=sum(line.substituted for line in lines),
        missing=sum(line.missing for line in lines),
    )


def total_of(net_micro: int, genesis: Genesis) -> int:
    """What is to pay: net and tax together, rounded once."""
    exact = net_micro * (1_000 + genesis.parameters.tax_per_mille)
    return rounded_half_even(exact, minor_unit_micro(genesis.body.currency) * 1_000) // 1_000


def bill_number(seller: str, month: str, place: int) -> str:
    """A final bill's number; the same on every node."""
    return f"{seller}-{month.replace('-', '')}-{place:03}"


def bill_hash(bill: Bill) -> str:
    """SHA-256 over a bill's canonical bytes: two nodes see by it that they have the same bill."""
    return sha256_hex(encode(bill))


def lines_root(lines: Sequence[BillLine]) -> str:
    """Merkle root over lines, as a bill carries it."""
    return merkle_root([encode(line) for line in lines])


def places(buyers: Iterable[str]) -> Mapping[str, int]:
    """Each buyer's place among a seller's buyers of a month."""
    return {buyer: number for number, buyer in enumerate(sorted(set(buyers)), start=1)}


def check_bill(genesis: Genesis, bill: Bill, lines: Sequence[BillLine]) -> None:
    """Check that a bill's sums, tax and rounding follow from its lines.

    Raises:
        InvalidProof: ``wrong_network`` or ``bill_wrong`` naming the field.
    """
    if (bill.network, bill.genesis) != (genesis.network, genesis.hash):
        raise InvalidProof(Code.WRONG_NETWORK, "A bill of another consortium", genesis=bill.genesis)
    for number, line in enumerate(lines, start=1):
        if line.line != number or line.amount_micro != line.energy_wh * line.price_micro:
            raise InvalidProof(Code.BILL_WRONG, "A line's number or amount is wrong", line=line.line)
        if not bill.period.from_ms <= line.time_ms < bill.period.until_ms:
            raise InvalidProof(Code.BILL_WRONG, "A line is not of the bill's month", line=line.line)
    place = int(bill.number.rpartition("-")[2]) if bill.number else 1
    due = make_bill(genesis, bill.seller, bill.buyer, bill.period, lines, place=place)
    for name in Bill.__struct_fields__:
        if getattr(bill, name) != getattr(due, name):
            raise InvalidProof(Code.BILL_WRONG, "The bill does not follow from its lines", field=name)
