"""Samples of what is said about metering and trading."""

from __future__ import annotations

from msgspec import Raw

from minervas_core import ledger_messages
from minervas_core import node_market_messages as said
from minervas_core.encoding import Record, encode
from minervas_core.expected_output import ExpectedChannel, ExpectedOutput
from minervas_core.market.fills import derived_lot_id
from minervas_core.market.records import (
    Clearing,
    Lot,
    Meter,
    Obligation,
    Order,
    Origin,
    Register,
    Retirement,
    Slot,
    Trade,
)
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import Transaction, TransactionForm
from tools.vectors.fixtures import HAENAM, KIM, START_MS
from tools.vectors.market_fixtures import (
    BALCONY_OF_MOKPO,
    BATCH,
    BID,
    CANCEL,
    CLAIM,
    CREDIT_NOTE,
    FIRST_STATEMENT,
    MERGE,
    OFFER,
    PAYMENT,
    READINGS,
    REGISTERED_MS,
    RETIRE,
    ROOF,
    ROOF_OF_HAENAM,
    gateway_key,
)

METER = Meter(
    member=HAENAM.member,
    meter=ROOF.meter,
    model=ROOF.model,
    gateway=gateway_key(HAENAM).public,
    channels=ROOF.channels,
    register_step_wh=ROOF.register_step_wh,
    registered_ms=REGISTERED_MS,
)
SOLD = derived_lot_id(OFFER.id, BID.id, 0)
CHANGE = derived_lot_id(OFFER.id, "", 1)
TRADE = Trade(
    height=4,
    position=0,
    offer=OFFER.id,
    bid=BID.id,
    seller=HAENAM.member,
    buyer=KIM.member,
    energy_wh=300,
    price_micro=142_600,
    amount_micro=300 * 142_600,
    lots=[SOLD],
)


def _form(transaction: Transaction) -> Record:
    return TransactionForm(body=transaction.body, signature=transaction.signature)


def reading_samples() -> dict[str, Record]:
    """What a gateway publishes, by name of the sample."""
    return {"ReadingBatch": BATCH}


def ledger_samples() -> dict[str, Record]:
    """What ledgers of different members say to each other, by name of the sample."""
    spool = BATCH.body.spool
    return {
        "GetReadingRuns": ledger_messages.GetReadingRuns(),
        "GetReadingRuns, the next page": ledger_messages.GetReadingRuns(after_spool=spool, after_first=7),
        "ReadingRuns": ledger_messages.ReadingRuns(
            runs=[
                ledger_messages.ReadingRun(spool=spool, first=0, last=1),
                ledger_messages.ReadingRun(spool=spool, first=7, last=9),
            ],
            more=False,
        ),
        "GetReadingBatches": ledger_messages.GetReadingBatches(spool=spool, first=0, last=1),
        "ReadingBatches": ledger_messages.ReadingBatches(batches=[Raw(encode(BATCH))], up_to=1),
    }


def metering_samples() -> dict[str, Record]:
    """What a gateway publishes, and the transactions of metering and market, by name of the sample."""
    return reading_samples() | {
        "ExpectedOutput": ExpectedOutput(
            format=1,
            member=BATCH.body.member,
            made_ms=1,
            model="clear sky",
            start_ms=0,
            step_ms=900_000,
            channels=[ExpectedChannel(meter="roof", channel="array", rated_w=3_000, power_mw=[0, 1_200_000])],
        ),
        "TransactionForm, register_meter": _form(BALCONY_OF_MOKPO),
        "TransactionForm, register_meter of an array": _form(ROOF_OF_HAENAM),
        "TransactionForm, generation": _form(FIRST_STATEMENT),
        "TransactionForm, offer": _form(OFFER),
        "TransactionForm, bid": _form(BID),
        "TransactionForm, cancel": _form(CANCEL),
        "TransactionForm, merge": _form(MERGE),
        "TransactionForm, retire": _form(RETIRE),
        "TransactionForm, retire with a claim": _form(CLAIM),
        "TransactionForm, payment": _form(PAYMENT),
        "TransactionForm, credit_note": _form(CREDIT_NOTE),
    }


def _traced_samples() -> dict[str, Record]:
    """What is told of a retired lot."""
    wh, used = 900, Origin(statement=FIRST_STATEMENT.id, energy_wh=900)
    lot = Lot(owner=HAENAM.member, energy_wh=wh, parent=FIRST_STATEMENT.id, origins=[used])
    traced = said.TracedOrigin(
        statement=FIRST_STATEMENT.id,
        energy_wh=wh,
        member=HAENAM.member,
        meter="roof",
        channel="array",
        start_ms=REGISTERED_MS + 500,
        end_ms=REGISTERED_MS + 1_500,
    )
    retirement = Retirement(
        height=4,
        position=0,
        transaction=RETIRE.id,
        owner=HAENAM.member,
        lot=FIRST_STATEMENT.id,
        energy_wh=wh,
        origins=[used],
    )
    return {
        "GetLot": said.GetLot(id=FIRST_STATEMENT.id),
        "LotDetail": said.LotDetail(
            id=FIRST_STATEMENT.id,
            lot=lot,
            joined=[],
            origins=[traced],
            created_height=3,
            spent_height=4,
            retired_by=RETIRE.id,
        ),
        "GetRetirements": said.GetRetirements(owner=HAENAM.member),
        "Retirements": said.Retirements(
            retirements=[said.RetirementEntry(retirement=retirement, origins=[traced])], more=False
        ),
    }


def _price_samples() -> dict[str, Record]:
    """What is told of prices and volumes."""
    slot = Slot(mode="auction", ends_ms=START_MS + 20_000)
    clearing = Clearing(
        height=4,
        slot_ends_ms=START_MS + 20_000,
        price_micro=142_600,
        lowest_micro=140_000,
        highest_micro=145_201,
        energy_wh=300,
        offers=1,
        bids=1,
        offered_wh=900,
        wanted_wh=300,
        deals=0,
        deals_wh=0,
    )
    without = Clearing(
        height=3,
        slot_ends_ms=START_MS,
        energy_wh=0,
        offers=0,
        bids=0,
        offered_wh=900,
        wanted_wh=0,
        deals=0,
        deals_wh=0,
    )
    volume = said.SlotVolume(
        start_ms=START_MS,
        trades=1,
        energy_wh=300,
        amount_micro=TRADE.amount_micro,
        lowest_micro=142_600,
        highest_micro=142_600,
        last_micro=142_600,
    )
    return {
        "GetMarket": said.GetMarket(),
        "MarketView": said.MarketView(
            slot=slot,
            offers=[said.PriceLevel(price_micro=142_600, energy_wh=600, orders=1)],
            bids=[said.PriceLevel(price_micro=150_000, energy_wh=300, orders=2)],
            spread_micro=-7_400,
            last=TRADE,
        ),
        "MarketView, an empty book": said.MarketView(slot=slot, offers=[], bids=[]),
        "GetClearings": said.GetClearings(),
        "Clearings": said.Clearings(clearings=[clearing, without]),
        "GetVolumes": said.GetVolumes(),
        "Volumes": said.Volumes(slot_ms=20_000, volumes=[volume]),
    }


def node_market_samples() -> dict[str, Record]:
    """Messages between the services of one node about metering and trading, by name of the sample."""
    last = Register(
        time_ms=REGISTERED_MS + 1_500,
        register_wh=1_900,
        statement=FIRST_STATEMENT.id,
        since_ms=REGISTERED_MS + 500,
        minted_wh=900,
    )
    lot = Lot(
        owner=HAENAM.member,
        energy_wh=600,
        parent=FIRST_STATEMENT.id,
        origins=[Origin(statement=FIRST_STATEMENT.id, energy_wh=600)],
        offer=OFFER.id,
    )
    order = Order(
        side="offer",
        member=HAENAM.member,
        price_micro=142_600,
        energy_wh=600,
        smallest_wh=100,
        valid_until_ms=START_MS + 3_600_000,
        height=4,
        index=0,
        lots=[CHANGE],
        events=2,
    )
    owed = Obligation(amount_micro=TRADE.amount_micro, energy_wh=TRADE.energy_wh)
    return {
        "Statement": said.Statement(transaction=Raw(FIRST_STATEMENT.raw)),
        "SubmitResult, accepted": SubmitResult(status="accepted", id=FIRST_STATEMENT.id),
        "GetChannelRegisters": said.GetChannelRegisters(),
        "ChannelRegisters": said.ChannelRegisters(
            meters=[METER],
            channels=[said.ChannelRegister(meter="roof", channel="array", last=last)],
            slot_ms=20_000,
            tip_height=4,
            tip_time_ms=START_MS + 8_000,
        ),
        "ReadingsStored": said.ReadingsStored(spool=BATCH.body.spool, ranges=[[0, 1]]),
        "ReadingsStored, some put aside": said.ReadingsStored(
            spool=BATCH.body.spool, ranges=[[0, 0]], refused=[[1, 1]]
        ),
        "Relay": said.Relay(transactions=[Raw(FIRST_STATEMENT.raw)]),
        "GetLots": said.GetLots(owner=HAENAM.member),
        "GetLots, the next page of free ones": said.GetLots(owner=HAENAM.member, free=True, after=CHANGE, limit=1_000),
        "Lots": said.Lots(lots=[said.LotEntry(id=CHANGE, lot=lot)], more=False),
        **_traced_samples(),
        "GetOrders": said.GetOrders(),
        "Orders": said.Orders(orders=[said.OrderEntry(id=OFFER.id, order=order)]),
        "GetTrades": said.GetTrades(),
        "Trades": said.Trades(trades=[said.TradeEntry(trade=TRADE, meters=["haenam-farm/roof/array"])]),
        **_price_samples(),
        "GetObligations": said.GetObligations(),
        "Obligations": said.Obligations(
            obligations=[said.ObligationEntry(debtor=KIM.member, creditor=HAENAM.member, owed=owed)]
        ),
        "GetMeters": said.GetMeters(),
        "Meters": said.Meters(
            meters=[METER],
            energy=[
                said.ChannelEnergy(member=HAENAM.member, meter="roof", channel="array", minted_wh=900, statements=1)
            ],
        ),
        "GetReadings": said.GetReadings(),
        "Readings": said.Readings(
            readings=[
                said.ReadingEntry(spool=BATCH.body.spool, reading=reading, stored_ms=START_MS + 9_000)
                for reading in READINGS
            ],
            stored=2,
            conflicts=0,
        ),
    }
