"""A small consortium whose trades rest on real Modbus frames, and the evidence for its one bill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw

from minervas_core.audit import replay
from minervas_core.billing.bills import BilledTrade, bill_lines, make_bill
from minervas_core.billing.records import Bill, BillLine, BillPeriod
from minervas_core.blocks import Block, decode_block
from minervas_core.encoding import Record
from minervas_core.evidence.certificate import FORMAT, Certificate
from minervas_core.evidence.finality import ShownFinality
from minervas_core.evidence.records import (
    EvidencePart,
    ShownBill,
    ShownLines,
    ShownLot,
    ShownReadings,
    ShownStatement,
    ShownTrade,
)
from minervas_core.market.lots import origins_root
from minervas_core.market.records import Channel, Lot, MeterDeclaration, Retire, Trade
from minervas_core.meter_maps.meter_map import MapFile
from minervas_core.meter_maps.modbus_frames import crc16, read_request
from minervas_core.metering import Generation, Reading, RegisterPoint, readings_root
from minervas_core.proof import carried_at
from minervas_core.transactions import Transaction, is_about_members, sign_transaction
from minervas_runtime.meter_map_files import load_meter_maps
from tests.support.builders import (
    GENESIS_TIME_MS,
    NETWORK,
    bid,
    gateway_key,
    offer,
    register_meter,
    seed_bytes,
    signing_key,
    wallet_fields,
)
from tests.support.voting import INTERVAL, VOTING, VotingChain

SELLER, BUYER, THIRD = "farm", "house", "school"
MAPS: dict[str, MapFile] = load_meter_maps()
METER = MeterDeclaration(
    meter="balcony", model="pzem-003", channels=[Channel(name="ch2", rated_w=3_600_000)], register_step_wh=1
)
R = TypeVar("R", bound=Record)


def frame_of(energy_wh: int, power_tenths: int = 831) -> tuple[str, str]:
    """A read of a PZEM-003 at 23.45 V and 3.54 A, and its reply, as hex."""
    request = read_request(1, 4, 0, 8)
    words = (2_345, 354, power_tenths, 0, energy_wh & 0xFFFF, energy_wh >> 16, 0, 0)
    reply = bytes([1, 4, 16]) + b"".join(word.to_bytes(2, "big") for word in words)
    return request.hex(), (reply + crc16(reply)).hex()


def sample(sequence: int, time_ms: int, energy_wh: int) -> Reading:
    """A reading with its frame."""
    request, reply = frame_of(energy_wh)
    return Reading(
        meter="balcony",
        channel="ch2",
        sequence=sequence,
        time_ms=time_ms,
        quality="measured",
        power_mw=83_100,
        voltage_mv=23_450,
        current_ma=3_540,
        energy_mwh=energy_wh * 1_000,
        request=request,
        reply=reply,
    )


def silence(sequence: int, time_ms: int) -> Reading:
    """A sample that nobody answered."""
    return Reading(
        meter="balcony",
        channel="ch2",
        sequence=sequence,
        time_ms=time_ms,
        quality="missing",
        fault="timeout",
        request=frame_of(0)[0],
        reply="",
    )


def _register_wh(reading: Reading) -> int:
    assert not isinstance(reading.energy_mwh, msgspec.UnsetType)
    return reading.energy_mwh // 1_000


def stated(readings: list[Reading]) -> Transaction:
    """The gateway's statement over readings."""
    key = gateway_key(SELLER)
    first, last = readings[0], readings[-1]
    points = [RegisterPoint(time_ms=each.time_ms, register_wh=_register_wh(each)) for each in (first, last)]
    measured = sum(each.quality == "measured" for each in readings[1:])
    body = Generation(
        network=NETWORK,
        sender=key.public,
        salt=seed_bytes(f"stated {first.sequence}", 16).hex(),
        expires_height=900,
        member=SELLER,
        meter="balcony",
        channel="ch2",
        start=points[0],
        end=points[1],
        measured=measured,
        substituted=0,
        missing=len(readings) - 1 - measured,
        reset=False,
        readings_root=readings_root(readings),
    )
    return sign_transaction(body, key)


def january(first_height: int, last_height: int) -> BillPeriod:
    """January 2027 in Seoul."""
    zone = ZoneInfo("Asia/Seoul")
    bounds = [int(dt.datetime(2027, month, 1, tzinfo=zone).timestamp()) * 1_000 for month in (1, 2)]
    return BillPeriod(
        month="2027-01",
        from_ms=bounds[0],
        until_ms=bounds[1],
        time_zone="Asia/Seoul",
        first_height=first_height,
        last_height=last_height,
        is_final=True,
    )


class EvidenceWorld:
    """The seller meters, sells a part in two trades, and the buyer retires what it bought first."""

    def __init__(self) -> None:
        parameters = msgspec.structs.replace(VOTING, market_mode="continuous")
        self.line = VotingChain([SELLER, BUYER, THIRD], parameters=parameters)
        self.line.add(transactions=[register_meter(SELLER, METER)])
        start_ms = GENESIS_TIME_MS + 5_000
        self.readings = [
            sample(number + (number > 4), start_ms + 100 * number, 1_000 + 3 * number) for number in range(9)
        ]
        self.readings.insert(5, silence(5, start_ms + 450))
        self.statement = stated(self.readings)
        while self.line.tip.time_ms < start_ms + 1_000:
            self.line.add()
        self.line.add(transactions=[self.statement])
        self.offer = offer(SELLER, [self.statement.id], 142_600)
        self.bids = [bid(BUYER, 11, 150_000), bid(BUYER, 10, 142_600, salt="2")]
        self.line.add(transactions=[self.offer, self.bids[0]])
        self.lot = next(k for k, each in self.line.chain.state.market.lots.items() if each.owner == BUYER)
        self.line.add(transactions=[self.bids[1]])
        held = self.line.chain.state.market.lot(self.lot)
        body = Retire(**wallet_fields(BUYER, 900, "use"), lots=[self.lot], origins_root=origins_root(held.origins))
        self.retirement = sign_transaction(body, signing_key(f"{BUYER}.peer"))
        self.line.add(transactions=[self.retirement])
        self.retired_height = self.line.tip.height
        self._make_final()
        self.raws = [self.line.store.blocks[self.hash_at(height)] for height in range(1, self.line.tip.height + 1)]
        self.trades, self.lots = self._traded()

    def hash_at(self, height: int) -> str:
        """Hash of a block."""
        return self.line.checkpoint(height).hash

    def block(self, height: int) -> Block:
        """A block."""
        return decode_block(self.line.store.blocks[self.hash_at(height)])

    def _make_final(self) -> None:
        height = self.line.tip.height
        target = height + INTERVAL - height % INTERVAL
        self.checkpoint = target
        self.line.justify(0, target)
        self.line.justify(target, target + INTERVAL)
        self.line.add()

    def _traded(self) -> tuple[list[Trade], dict[str, Lot]]:
        trades: list[Trade] = []
        lots: dict[str, Lot] = {}
        for each in replay(self.line.genesis, self.raws):
            trades += each.trades
            lots.update(each.lots)
        return trades, lots

    # evidence

    def finality(self, height: int) -> ShownFinality:
        """What shows that a block is final."""
        shown = [self.block(each) for each in range(1, self.checkpoint + 1)]
        members = [tx for block in shown for tx in block.transactions if is_about_members(tx)]
        votes = self.line.votes(self.checkpoint, self.checkpoint + INTERVAL)
        return ShownFinality(
            members=[Raw(each.raw) for each in members],
            headers=[block.header for block in shown[height - 1 :]],
            signature=shown[height - 1].signature,
            votes=[Raw(vote.raw) for vote in votes],
        )

    def lines(self) -> list[BillLine]:
        """The bill's lines."""
        content = self.statement.body
        assert isinstance(content, Generation)
        times = [self.block(trade.height).header.time_ms for trade in self.trades]
        found = [
            BilledTrade(trade, time_ms, content.measured, content.substituted, content.missing)
            for trade, time_ms in zip(self.trades, times, strict=True)
        ]
        return bill_lines(found)

    def bill(self) -> Bill:
        """The bill."""
        period = january(1, self.line.tip.height)
        return make_bill(self.line.genesis, SELLER, BUYER, period, self.lines(), place=1)

    def trade(self, number: int) -> ShownTrade:
        """Evidence of one line."""
        trade = self.trades[number - 1]
        return ShownTrade(
            line=number,
            trade=trade,
            block=Raw(self.block(trade.height).raw),
            offer=Raw(self.offer.raw),
            bid=Raw(self.bids[number - 1].raw),
            lots=[
                ShownLot(id=lot, energy_wh=self.lots[lot].energy_wh, origins=self.lots[lot].origins)
                for lot in trade.lots
            ],
            finality=self.finality(trade.height),
        )

    def parts(self) -> list[EvidencePart]:
        """The whole evidence."""
        behind: list[list[EvidencePart]] = [
            [
                self.trade(number),
                ShownStatement(statement=Raw(self.statement.raw), readings=len(self.readings)),
                ShownReadings(readings=self.readings[:4]),
                ShownReadings(readings=self.readings[4:]),
            ]
            for number in (1, 2)
        ]
        parts: list[EvidencePart] = [ShownBill(bill=self.bill()), ShownLines(lines=self.lines())]
        for each in behind:
            parts += each
        return parts

    def certificate(self) -> Certificate:
        """Of what the buyer retired."""
        block = self.block(self.retired_height)
        raws = [each.raw for each in block.transactions]
        return Certificate(
            format=FORMAT,
            network=NETWORK,
            genesis=self.line.genesis.hash,
            owner=BUYER,
            retirement=carried_at(raws, raws.index(self.retirement.raw)),
            origins=self.lots[self.lot].origins,
            statements=[Raw(self.statement.raw)],
            finality=self.finality(self.retired_height),
        )


def with_part(parts: list[EvidencePart], kind: type[R], change: Callable[[R], R]) -> list[EvidencePart]:
    """The parts, the first one of a kind changed."""
    for place, part in enumerate(parts):
        if isinstance(part, kind):
            return [*parts[:place], change(part), *parts[place + 1 :]]  # type: ignore[list-item]  # of the same kind
    raise AssertionError(kind)


def replaced(record: R, **fields: object) -> R:
    """A record with other fields."""
    return msgspec.structs.replace(record, **fields)
