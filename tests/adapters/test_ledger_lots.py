"""Merged and retired lots in PostgreSQL, and what is asked about lots: pages, filters, tracing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from minervas_core.encoding import encode
from minervas_core.market.records import MAX_ORIGINS
from minervas_core.messages import MAX_PLAIN_BYTES
from minervas_core.node_market_messages import MAX_ORIGINS_PER_ANSWER, GetLots, GetRetirements, LotDetail, TracedOrigin
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import lot_reads, market_reads
from minervas_ledger.store.connection import Connection, connect
from tests.support.builders import MARKET, LocalChain, bid, make_genesis, offer
from tests.support.ledger import StoredChain
from tests.support.ledger_market import TradingChain, same_state
from tests.support.lot_builders import merge, retire


@pytest.fixture
def stored(ledger_database: DatabaseSettings) -> Iterator[StoredChain]:
    chain = StoredChain(ledger_database, make_genesis(MARKET))
    yield chain
    chain.now.close()


@pytest.fixture
def trading(stored: StoredChain) -> TradingChain:
    return TradingChain(stored)


@pytest.fixture
def reader(ledger_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(ledger_database, application="test")
    yield connection
    connection.close()


def detail(reader: Connection, lot_id: str) -> LotDetail:
    found = lot_reads.lot_detail(reader, lot_id)
    assert found is not None
    return found


def energy_by_channel(origins: list[TracedOrigin]) -> dict[str, int]:
    return {f"{each.member}/{each.meter}/{each.channel}": each.energy_wh for each in origins}


# merging and retiring


def test_merged_and_retired_lots_are_traced_to_meters_and_times(
    stored: StoredChain, trading: TradingChain, reader: Connection
) -> None:
    lots = [trading.mint("m0", 900), trading.mint("m1", 400)]
    trading.block(offer("m0", lots[:1], 100))
    trading.block(bid("m1", 900, 100))
    parents = trading.lots_of("m1")
    joined, sale = merge("m1", parents), bid("m2", 1_000, 50)
    trading.block(joined)
    trading.block(offer("m1", [joined.id], 50), sale)
    [bought] = trading.lots_of("m2")
    used = retire("m2", [bought])
    trading.block(used)
    same_state(stored, trading.local)

    made = detail(reader, joined.id)
    assert (made.joined, made.lot.energy_wh, made.created_height, made.spent_height) == (parents, 1_300, 7, 8)
    assert energy_by_channel(made.origins) == {"m0/roof/dc": 900, "m1/roof/dc": 400}
    assert {each.statement for each in made.origins} == set(lots)
    last = trading.local.chain.state.market.registers.get("m1/roof/dc")
    assert last is not None
    assert {each.end_ms for each in made.origins if each.member == "m1"} == {last.time_ms}
    gone = detail(reader, bought)
    assert (gone.lot.parent, gone.joined, gone.retired_by, gone.spent_height) == (joined.id, [], used.id, 9)
    assert sum(each.energy_wh for each in gone.origins) == 1_000
    page = lot_reads.retirements(reader, GetRetirements(owner="m2"))
    [entry] = page.retirements
    assert (entry.retirement.lot, entry.retirement.transaction, entry.retirement.height) == (bought, used.id, 9)
    assert (entry.origins, page.more) == (gone.origins, False)
    assert lot_reads.retirements(reader, GetRetirements(owner="m1")).retirements == []
    [trade] = [each for each in market_reads.newest_trades(reader, 10) if each.trade.bid == sale.id]
    assert trade.meters == ["m0/roof/dc", "m1/roof/dc"]


def test_a_lot_that_is_no_lot_is_not_found(trading: TradingChain, reader: Connection) -> None:
    trading.mint("m0", 900)
    assert lot_reads.lot_detail(reader, "0" * 64) is None


def test_reorganisation_undoes_merges_and_retirements(stored: StoredChain, trading: TradingChain) -> None:
    lots = [trading.mint("m0", 900), trading.mint("m0", 500), trading.mint("m0", 100)]
    base = trading.local.tip
    joined = merge("m0", lots[:2])
    trading.block(joined)
    trading.block(retire("m0", [joined.id]))
    other = TradingChain.__new__(TradingChain)
    other.local, other.stored = LocalChain(MARKET), None
    for node in list(base.blocks())[::-1]:
        other.local.receive(trading.local.chain._stored(node))
    winning = [other.block(), other.block(retire("m0", lots[1:])), other.block(), other.block()]
    assert stored.take(*winning)[-1] == "connected"
    for block in winning:
        trading.local.receive(block)
    assert trading.local.tip.hash == winning[-1].hash
    report = same_state(stored, trading.local)
    assert report.retirements == 2


# pages


def test_lots_are_listed_by_page_of_one_owner_and_free_ones_only(trading: TradingChain, reader: Connection) -> None:
    lots = sorted(trading.mint("m0", 100 + n) for n in range(5))
    trading.mint("m1", 77)
    trading.block(offer("m0", lots[1:2], 100))
    assert [each.id for each in lot_reads.unspent_lots(reader, GetLots(owner="m0")).lots] == lots
    first = lot_reads.unspent_lots(reader, GetLots(owner="m0", free=True, limit=2))
    assert ([each.id for each in first.lots], first.more) == ([lots[0], lots[2]], True)
    second = lot_reads.unspent_lots(reader, GetLots(owner="m0", free=True, limit=2, after=lots[2]))
    assert ([each.id for each in second.lots], second.more) == (lots[3:], False)
    assert len(lot_reads.unspent_lots(reader, GetLots()).lots) == 6
    assert lot_reads.unspent_lots(reader, GetLots(owner="m0", after=lots[4])).lots == []


def test_retirements_are_listed_by_page(trading: TradingChain, reader: Connection) -> None:
    lots = [trading.mint("m0", 100 + n) for n in range(3)]
    trading.block(retire("m0", lots[:2]))
    trading.block(retire("m0", lots[2:]))
    first = lot_reads.retirements(reader, GetRetirements(limit=2))
    assert ([each.retirement.lot for each in first.retirements], first.more) == ([lots[2], lots[1]], True)
    last = first.retirements[-1].retirement
    asked = GetRetirements(limit=2, before_height=last.height, before_position=last.position)
    second = lot_reads.retirements(reader, asked)
    assert ([each.retirement.lot for each in second.retirements], second.more) == ([lots[0]], False)


def plant_wide_rows(reader: Connection, lots: int) -> None:
    """Lots and retirements of the most origins each, which no short history makes."""
    statements = [hashlib.sha256(f"statement {n}".encode()).digest() for n in range(MAX_ORIGINS)]
    energy_wh = [2**52 // MAX_ORIGINS] * MAX_ORIGINS
    name = "m" * 32
    with reader.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO statements VALUES (%s, 1, %s, %s, %s, %s, 0, 0, 1, 0, 0, 0, false, sha256('x'), 0)",
            [(statement, place, name, name, name) for place, statement in enumerate(statements)],
        )
        rows = [(hashlib.sha256(f"lot {n}".encode()).digest(), sum(energy_wh), n) for n in range(lots)]
        cursor.executemany(
            "INSERT INTO lots (id, owner, energy_wh, parent, origins, origin_wh, joined, created_height)"
            " VALUES (%s, %s, %s, %s, %s, %s, '{}', 1)",
            [(lot, name, total, lot, statements, energy_wh) for lot, total, _ in rows],
        )
        cursor.executemany(
            "INSERT INTO retirements VALUES (1, %s, sha256('x'), %s, %s, %s, %s, %s)",
            [(place, name, lot, total, statements, energy_wh) for lot, total, place in rows],
        )


def test_a_page_ends_before_it_is_too_large_for_a_message(trading: TradingChain, reader: Connection) -> None:
    trading.mint("m0", 100)
    plant_wide_rows(reader, 50)
    fit = MAX_ORIGINS_PER_ANSWER // MAX_ORIGINS
    wide = "m" * 32
    lots = lot_reads.unspent_lots(reader, GetLots(owner=wide, limit=1_000))
    assert (len(lots.lots), lots.more) == (fit, True)
    rest = lot_reads.unspent_lots(reader, GetLots(owner=wide, limit=1_000, after=lots.lots[-1].id))
    assert (len(rest.lots), rest.more) == (50 - fit, False)
    retired = lot_reads.retirements(reader, GetRetirements(owner=wide, limit=200))
    assert (len(retired.retirements), retired.more) == (fit, True)
    assert max(len(encode(lots)), len(encode(retired))) < MAX_PLAIN_BYTES
    of_one_origin = encode(lot_reads.unspent_lots(reader, GetLots(owner="m0")).lots[0])
    assert len(encode(lots)) + 1_000 * len(of_one_origin) < MAX_PLAIN_BYTES
