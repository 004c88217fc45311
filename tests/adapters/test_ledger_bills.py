"""Bills, payments and evidence out of PostgreSQL: what the ledger tells is what the chain and the meters say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import msgspec
import psycopg
import pytest

from minervas_core.errors import Code, MinervasError, PeerFault
from minervas_core.evidence.finality import ShownFinality
from minervas_core.evidence.records import (
    EvidencePart,
    ShownBill,
    ShownLines,
    ShownReadings,
    ShownStatement,
    ShownTrade,
)
from minervas_core.evidence.replay import replay_for_bill
from minervas_core.evidence.verification import BillVerification
from minervas_core.metering import Reading
from minervas_core.node_bill_messages import (
    GetBillLines,
    GetBills,
    GetFinalityProof,
    GetMemberHistory,
    GetMemberStatement,
    GetSettlements,
    GetSoldReadings,
    GetTradeAt,
)
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.bill_questions import BillQuestions
from minervas_ledger.store.columns import binary
from minervas_ledger.store.reader import DatabaseReader
from tests.support.builders import MARKET, make_genesis
from tests.support.evidence import BUYER, MAPS, SELLER, THIRD, EvidenceWorld
from tests.support.ledger import StoredChain, audit, migrated
from tests.support.ledger_market import TradingChain, same_state

SPOOL = bytes(16)
MONTH = "2027-01"


@dataclass
class Told:
    """The world of the evidence, stored; and who answers about it."""

    world: EvidenceWorld
    stored: StoredChain
    reader: DatabaseReader

    def questions(self, member: str = SELLER) -> BillQuestions:
        return BillQuestions(member, self.world.line.genesis, self.reader)


@pytest.fixture(scope="module")
def stored_world(postgres_server: PostgresServer) -> Iterator[tuple[EvidenceWorld, StoredChain]]:
    """A chain with one bill that rests on real frames, and these readings."""
    world = EvidenceWorld()
    settings = migrated(postgres_server.create_database("test-bills"))
    stored = StoredChain(settings, world.line.genesis)
    blocks = [world.block(height) for height in range(1, world.line.tip.height + 1)]
    assert set(stored.take(*blocks)) == {"connected"}
    with psycopg.connect(postgres_server.superuser_conninfo(settings.name), autocommit=True) as database:
        database.execute("SELECT make_readings_day(%s)", (world.readings[0].time_ms // 86_400_000,))
        for reading in world.readings:
            _store(database, reading)
    yield world, stored
    stored.now.close()


@pytest.fixture
async def told(stored_world: tuple[EvidenceWorld, StoredChain]) -> AsyncIterator[Told]:
    world, stored = stored_world
    reader = DatabaseReader(stored.settings)
    yield Told(world, stored, reader)
    await reader.close()


def _store(database: psycopg.Connection[tuple[object, ...]], reading: Reading) -> None:
    values = [getattr(reading, name) for name in ("power_mw", "voltage_mv", "current_ma", "energy_mwh")]
    known = [value if isinstance(value, int) else None for value in values]
    fault = reading.fault if isinstance(reading.fault, str) else None
    database.execute(
        "INSERT INTO readings (member, meter, channel, time_ms, spool, sequence, quality, power_mw, voltage_mv,"
        " current_ma, energy_mwh, fault, request, reply, stored_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1)",
        (
            SELLER,
            reading.meter,
            reading.channel,
            reading.time_ms,
            SPOOL,
            _place(reading),
            reading.quality,
            *known,
            fault,
            *binary([reading.request, reading.reply]),
        ),
    )


def _place(reading: Reading) -> int:
    return reading.sequence


async def test_a_months_bill_is_that_of_the_chain_and_a_preview_until_the_month_is_over(told: Told) -> None:
    found = await told.questions().bills(GetBills(month=MONTH))
    [entry] = found.bills
    assert (entry.bill.seller, entry.bill.buyer, entry.bill.number, found.more) == (SELLER, BUYER, "", False)
    lines = (await told.questions().lines(GetBillLines(month=MONTH, seller=SELLER, buyer=BUYER))).lines
    assert lines == told.world.lines()
    assert entry.bill.lines_root == told.world.bill().lines_root
    assert entry.bill.total_micro == told.world.bill().total_micro
    assert entry.bill.missing == 2
    assert not (await told.questions().bills(GetBills(month=MONTH, member=THIRD))).bills
    assert not (await told.questions().bills(GetBills(month="2026-12"))).bills


async def test_lines_come_in_pages_and_a_pair_that_traded_nothing_has_none(told: Told) -> None:
    page = await told.questions().lines(GetBillLines(month=MONTH, seller=SELLER, buyer=BUYER, limit=1))
    assert ([line.line for line in page.lines], page.more) == ([1], True)
    page = await told.questions().lines(GetBillLines(month=MONTH, seller=SELLER, buyer=BUYER, after_line=1))
    assert ([line.line for line in page.lines], page.more) == ([2], False)
    with pytest.raises(PeerFault) as caught:
        await told.questions().lines(GetBillLines(month=MONTH, seller=BUYER, buyer=SELLER))
    assert caught.value.code == Code.NOT_FOUND


async def test_statements_say_what_was_produced_sold_bought_used_and_left(told: Told) -> None:
    sold = await told.questions().statement(GetMemberStatement(month=MONTH, member=SELLER))
    assert (sold.produced_wh, sold.sold_wh, sold.bought_wh, sold.unsold_wh, sold.retired_wh) == (24, 21, 0, 3, 0)
    bought = await told.questions().statement(GetMemberStatement(month=MONTH, member=BUYER))
    assert (bought.produced_wh, bought.bought_wh, bought.retired_wh, bought.own_use_wh) == (0, 21, 11, 0)
    assert (sold.revenue_micro, bought.cost_micro) == (21 * 142_600,) * 2


async def test_what_the_ledger_shows_is_evidence_down_to_the_wire(told: Told) -> None:
    questions, world = told.questions(), told.world
    page = await questions.lines(GetBillLines(month=MONTH, seller=SELLER, buyer=BUYER))
    parts: list[EvidencePart] = [ShownBill(bill=page.entry.bill), ShownLines(lines=page.lines)]
    for line in page.lines:
        trade = (await questions.trade(GetTradeAt(height=line.height, position=line.position))).trade
        proof = await questions.finality(GetFinalityProof(height=line.height))
        history = await questions.member_history(GetMemberHistory(up_to_height=proof.headers[-1].height))
        shown = ShownFinality(
            members=history.transactions, headers=proof.headers, signature=proof.signature, votes=proof.votes
        )
        good = world.trade(line.line)
        parts.append(
            ShownTrade(
                line=line.line,
                trade=trade,
                block=good.block,
                offer=good.offer,
                bid=good.bid,
                lots=good.lots,
                finality=shown,
            )
        )
        answer = await told.questions().sold_readings(GetSoldReadings(statement=world.statement.id, asker=BUYER))
        parts.append(ShownStatement(statement=_raw(world.statement.raw), readings=answer.total))
        parts.append(ShownReadings(readings=answer.readings))
    steps = list(
        BillVerification(
            world.line.genesis,
            iter(parts),
            MAPS,
            lambda bill: replay_for_bill(world.line.genesis, world.raws, bill, lambda _: None),
        ).run()
    )
    assert {step.status for step in steps} == {"ok"}, steps[-1]


def _raw(data: bytes) -> msgspec.Raw:
    return msgspec.Raw(data)


async def test_readings_are_for_who_has_or_had_the_energy_and_nobody_else(told: Told) -> None:
    statement = told.world.statement.id
    for asker in (BUYER, SELLER, ""):
        answer = await told.questions().sold_readings(GetSoldReadings(statement=statement, asker=asker))
        assert len(answer.readings) == answer.total == len(told.world.readings)
    with pytest.raises(PeerFault) as caught:
        await told.questions().sold_readings(GetSoldReadings(statement=statement, asker=THIRD))
    assert caught.value.code == Code.NOT_AUTHORISED
    rest = await told.questions().sold_readings(GetSoldReadings(statement=statement, skip=7))
    assert rest.readings == told.world.readings[7:]


async def test_a_block_that_nobody_voted_for_is_not_shown_as_final(told: Told) -> None:
    for height in (told.world.line.tip.height, 10**6):
        with pytest.raises(MinervasError) as caught:
            await told.questions().finality(GetFinalityProof(height=height))
        assert caught.value.code in (Code.NOT_READY, Code.NOT_FOUND)


# payments


async def test_payments_survive_restarts_and_branches_and_the_audit_knows_them(postgres_server: PostgresServer) -> None:
    stored = StoredChain(migrated(postgres_server.create_database("test-payments")), make_genesis(MARKET))
    trading = TradingChain(stored)
    trading.pay_a_month_later()
    same_state(stored, trading.local)
    reader = DatabaseReader(stored.settings)
    questions = BillQuestions("m0", stored.genesis, reader)
    entries = (await questions.settlements(GetSettlements(member="m2"))).settlements
    assert {each.amount_micro for each in entries} == {1_000_000, 500_000}
    [month] = {each.month for each in entries}
    [entry] = (await questions.bills(GetBills(month=month, member="m0"))).bills
    assert (entry.settled.paid_micro, entry.settled.credited_micro) == (1_000_000, 500_000)
    await reader.close()
    parent = trading.local.tip.parent
    assert parent is not None
    for start in (5, 6):
        rival = trading.local.mine("m1", on=parent, start=start)
        trading.local.receive(rival)
        stored.take(rival)
        parent = trading.local.node(rival)
    assert not list(trading.local.chain.state.market.settlements.items())
    same_state(stored, trading.local)
    stored.now.close()
    audit(stored.settings, stored.genesis)
