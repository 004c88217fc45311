"""The meters, statements and orders that the market's vectors share, and how to make more of them."""

from __future__ import annotations

import msgspec

from minervas_core.keys import SigningKey
from minervas_core.market.lots import origins_root
from minervas_core.market.records import Bid, Cancel, Channel, Merge, MeterDeclaration, Offer, Origin, Retire
from minervas_core.market.settlement_records import CreditNote, Payment
from minervas_core.metering import (
    Generation,
    Reading,
    ReadingBatch,
    ReadingBatchBody,
    RegisterPoint,
    readings_root,
    sign_batch,
)
from minervas_core.transactions import RegisterMeter, Transaction, sign_transaction
from tools.vectors.fixtures import (
    HAENAM,
    INTERVAL_MS,
    KIM,
    MOKPO,
    NETWORK,
    START_MS,
    MemberKeys,
    membership,
    seed,
)

EXPIRES_HEIGHT = 50
REGISTERED_MS = START_MS + INTERVAL_MS
"""Time of block 1: a meter that block 2 registers mints nothing from before it."""


def gateway_key(who: MemberKeys) -> SigningKey:
    """The key of a member's meter-gateway."""
    return SigningKey(seed(f"{who.member} gateway"))


ROOF = MeterDeclaration(
    meter="roof",
    model="sdm630",
    channels=[Channel(name="array", rated_w=3_600_000)],
    register_step_wh=10,
)
"""An array of 3.6 MW: 1 Wh a millisecond, so that the numbers are easy to check by hand."""

PANELS = MeterDeclaration(
    meter="balcony",
    model="pzem-003",
    channels=[Channel(name="ch2", rated_w=120), Channel(name="ch3", rated_w=120)],
    register_step_wh=1,
)
"""Two panels of 120 W."""


def register_meter(
    who: MemberKeys, meter: MeterDeclaration = ROOF, *, gateway: str = "", name: str = ""
) -> Transaction:
    """The registration of a meter under its owner's gateway key, or another."""
    change = RegisterMeter(member=who.member, gateway=gateway or gateway_key(who).public, meter=meter)
    return membership(change, f"meter {who.member} {meter.meter} {name}", expires_height=EXPIRES_HEIGHT)


def statement(
    who: MemberKeys,
    start: tuple[int, int],
    end: tuple[int, int],
    *,
    meter: str = "roof",
    channel: str = "array",
    reset: bool = False,
    substituted: int = 0,
    key: SigningKey | None = None,
    name: str = "",
) -> Transaction:
    """A statement from (ms after registration, register in Wh) to another such point."""
    signer = key or gateway_key(who)
    begin, finish = (RegisterPoint(time_ms=REGISTERED_MS + ms, register_wh=wh) for ms, wh in (start, end))
    body = Generation(
        network=NETWORK,
        sender=signer.public,
        salt=seed(f"statement {who.member} {meter} {channel} {start} {end} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        member=who.member,
        meter=meter,
        channel=channel,
        start=begin,
        end=finish,
        measured=max(0, end[0] - start[0]) // 1_000,
        substituted=substituted,
        missing=0,
        reset=reset,
        readings_root=readings_root(READINGS),
    )
    return sign_transaction(body, signer)


def offer(
    who: MemberKeys,
    lots: list[str],
    price_micro: int,
    *,
    smallest_wh: int = 1,
    valid_until_ms: int = START_MS + 3_600_000,
    buyer: str = "",
    name: str = "",
) -> Transaction:
    """An offer of lots."""
    body = Offer(
        network=NETWORK,
        sender=who.wallet.public,
        salt=seed(f"offer {who.member} {lots} {price_micro} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        lots=lots,
        price_micro=price_micro,
        smallest_wh=smallest_wh,
        valid_until_ms=valid_until_ms,
        buyer=buyer,
    )
    return sign_transaction(body, who.wallet)


def bid(
    who: MemberKeys,
    energy_wh: int,
    price_micro: int,
    *,
    valid_until_ms: int = START_MS + 3_600_000,
    repeats: bool = False,
    name: str = "",
) -> Transaction:
    """A bid."""
    body = Bid(
        network=NETWORK,
        sender=who.wallet.public,
        salt=seed(f"bid {who.member} {energy_wh} {price_micro} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        energy_wh=energy_wh,
        price_micro=price_micro,
        valid_until_ms=valid_until_ms,
        repeats=repeats,
    )
    return sign_transaction(body, who.wallet)


def cancel(who: MemberKeys, order: str, name: str = "") -> Transaction:
    """A cancellation."""
    body = Cancel(
        network=NETWORK,
        sender=who.wallet.public,
        salt=seed(f"cancel {who.member} {order} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        order=order,
    )
    return sign_transaction(body, who.wallet)


def merge(who: MemberKeys, lots: list[str], name: str = "") -> Transaction:
    """A merge of lots."""
    body = Merge(
        network=NETWORK,
        sender=who.wallet.public,
        salt=seed(f"merge {who.member} {lots} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        lots=lots,
    )
    return sign_transaction(body, who.wallet)


def retire(
    who: MemberKeys, lots: list[str], name: str = "", *, claim: list[tuple[str, int]] | None = None
) -> Transaction:
    """A retirement of lots; `claim` names the origins and energies that it says to be in them."""
    origins = None if claim is None else [Origin(statement=each, energy_wh=wh) for each, wh in claim]
    body = Retire(
        network=NETWORK,
        sender=who.wallet.public,
        salt=seed(f"retire {who.member} {lots} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        lots=lots,
        origins_root=msgspec.UNSET if origins is None else origins_root(origins),
    )
    return sign_transaction(body, who.wallet)


def pay(
    seller: MemberKeys,
    buyer: MemberKeys,
    amount_micro: int,
    *,
    month: str = "2026-09",
    name: str = "",
    key: SigningKey | None = None,
) -> Transaction:
    """The seller's word that the buyer paid; `key` if another key than the seller's wallet signs."""
    signer = key or seller.wallet
    body = Payment(
        network=NETWORK,
        sender=signer.public,
        salt=seed(f"payment {seller.member} {buyer.member} {month} {amount_micro} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        seller=seller.member,
        buyer=buyer.member,
        month=month,
        amount_micro=amount_micro,
    )
    return sign_transaction(body, signer)


def credit(
    seller: MemberKeys, buyer: MemberKeys, amount_micro: int, *, month: str = "2026-09", name: str = ""
) -> Transaction:
    """A credit note of the seller."""
    body = CreditNote(
        network=NETWORK,
        sender=seller.wallet.public,
        salt=seed(f"credit {seller.member} {buyer.member} {month} {amount_micro} {name}", 16).hex(),
        expires_height=EXPIRES_HEIGHT,
        seller=seller.member,
        buyer=buyer.member,
        month=month,
        amount_micro=amount_micro,
        reason="meter_error",
    )
    return sign_transaction(body, seller.wallet)


READINGS = (
    Reading(
        meter="balcony",
        channel="ch2",
        sequence=0,
        time_ms=START_MS + 8_000,
        quality="measured",
        power_mw=83_100,
        voltage_mv=23_450,
        current_ma=3_540,
        energy_mwh=129_000,
        request="010400000008f1cc",
        reply="01041009290162033f000000810000000000003ad1",
    ),
    Reading(
        meter="balcony",
        channel="ch3",
        sequence=1,
        time_ms=START_MS + 8_050,
        quality="missing",
        fault="timeout",
        request="020400000008f1ff",
        reply="",
    ),
    Reading(
        meter="balcony",
        channel="ch3",
        sequence=2,
        time_ms=START_MS + 9_000,
        quality="substituted",
        energy_mwh=77_000,
        fault="timeout",
        request="",
        reply="",
    ),
)
"""One of each quality. The raw bytes are only bytes here: nobody checks them on chain."""

BATCH: ReadingBatch = sign_batch(
    ReadingBatchBody(
        network=NETWORK,
        member=MOKPO.member,
        gateway=gateway_key(MOKPO).public,
        spool=seed("spool", 16).hex(),
        readings=list(READINGS),
    ),
    gateway_key(MOKPO),
)

ROOF_OF_HAENAM = register_meter(HAENAM)
BALCONY_OF_MOKPO = register_meter(MOKPO, PANELS)
FIRST_STATEMENT = statement(HAENAM, (500, 1_000), (1_500, 1_900))
SECOND_STATEMENT = statement(HAENAM, (1_500, 1_900), (2_500, 2_400), substituted=1)
OFFER = offer(HAENAM, [FIRST_STATEMENT.id], 142_600, smallest_wh=100)
BID = bid(KIM, 300, 150_000)
CANCEL = cancel(HAENAM, OFFER.id)
MERGE = merge(HAENAM, [SECOND_STATEMENT.id, FIRST_STATEMENT.id])
RETIRE = retire(HAENAM, [FIRST_STATEMENT.id])
CLAIM = retire(HAENAM, [FIRST_STATEMENT.id], claim=[(FIRST_STATEMENT.id, 900)])
PAYMENT = pay(HAENAM, KIM, 42_000_000)
CREDIT_NOTE = credit(HAENAM, KIM, 780_000)
"""Together just what 300 Wh at 142.6 per kWh come to."""
