"""Auctions in PostgreSQL: state and history are what the chain says, and prices and volumes can be asked for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from minervas_core.node_market_messages import GetClearings, GetVolumes
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import price_reads
from minervas_ledger.store.connection import Connection, connect
from tests.support.builders import AUCTION, GENESIS_TIME_MS, bid, make_genesis, mine_block, offer
from tests.support.ledger import StoredChain
from tests.support.ledger_market import TradingChain, same_state
from tests.support.seed import seeded_random

PARAMETERS = msgspec.structs.replace(AUCTION, slot_ms=4_000, max_fills_per_block=2)


@pytest.fixture
def stored(ledger_database: DatabaseSettings) -> Iterator[StoredChain]:
    chain = StoredChain(ledger_database, make_genesis(PARAMETERS))
    yield chain
    chain.now.close()


@pytest.fixture
def trading(stored: StoredChain) -> TradingChain:
    return TradingChain(stored, PARAMETERS)


@pytest.fixture
def reader(ledger_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(ledger_database, application="test")
    yield connection
    connection.close()


def test_random_auctions_equal_memory_after_restarts_and_branches(stored: StoredChain, trading: TradingChain) -> None:
    choose, local = seeded_random("ledger auctions"), trading.local
    for step in range(40):
        trading.block(*trading.random_transactions(choose, str(step)))
        if step % 13 == 7:
            same_state(stored, local)
        if step % 9 == 8:
            assert local.tip.parent is not None
            rival = mine_block(local.tip.parent, [], "m1", local.genesis, start=step)
            local.receive(rival)
            stored.take(rival)
            above = mine_block(local.node(rival), [], "m2", local.genesis)
            local.receive(above)
            assert stored.take(above) == ["connected"]
    report = same_state(stored, local)
    assert report.trades > 3


def test_a_block_that_clears_can_be_taken_back_with_what_it_decided(
    stored: StoredChain, trading: TradingChain, reader: Connection
) -> None:
    lots = [trading.mint("m0", 100) for _ in range(3)]
    trading.block(*(offer("m0", [lot], 10) for lot in lots), bid("m1", 300, 20))
    while not price_reads.clearings(reader, GetClearings())[0:1] or not trading.local.tip.height > 9:
        trading.block()
    cleared = next(each for each in price_reads.clearings(reader, GetClearings()) if each.energy_wh)
    parent = trading.local.tip
    while parent.height >= cleared.height:
        assert parent.parent is not None
        parent = parent.parent
    base = parent
    for _ in range(trading.local.tip.height - base.height + 1):
        block = mine_block(base, [], "m2", trading.local.genesis, time_ms=base.time_ms + 1)
        trading.local.receive(block)
        stored.take(block)
        base = trading.local.node(block)
    assert trading.local.tip.hash == base.hash
    same_state(stored, trading.local)


def test_depth_spread_last_price_clearings_and_volumes_are_told(trading: TradingChain, reader: Connection) -> None:
    lots = [trading.mint("m0", 100) for _ in range(4)]
    trading.block(
        offer("m0", lots[:1], 10),
        offer("m0", lots[1:2], 10, salt="2"),
        offer("m0", lots[2:3], 30),
        offer("m0", lots[3:], 1, buyer="m2"),
        bid("m1", 150, 20),
        bid("m1", 10, 5, repeats=True),
    )
    slot = trading.local.chain.state.market.slot
    assert slot is not None
    before = price_reads.market_view(reader, slot, 20)
    assert [(each.price_micro, each.energy_wh, each.orders) for each in before.offers] == [(10, 200, 2), (30, 100, 1)]
    assert [(each.price_micro, each.energy_wh, each.orders) for each in before.bids] == [(20, 150, 1), (5, 10, 1)]
    assert (before.spread_micro, before.last) == (-10, msgspec.UNSET)
    while trading.local.tip.time_ms < slot.ends_ms + 1_000:
        trading.block()
    after = price_reads.market_view(reader, slot, 20)
    assert (after.spread_micro, len(after.offers)) == (5, 2)
    assert isinstance(after.last, msgspec.Struct)
    assert after.last.price_micro == 10
    [cleared] = [each for each in price_reads.clearings(reader, GetClearings()) if each.energy_wh]
    assert (cleared.price_micro, cleared.energy_wh, cleared.offers, cleared.bids) == (10, 150, 2, 1)
    assert price_reads.clearings(reader, GetClearings(before_height=cleared.height)) != [cleared]
    [volume] = price_reads.volumes(reader, PARAMETERS.slot_ms, GetVolumes())
    assert (volume.trades, volume.energy_wh, volume.amount_micro, volume.last_micro) == (2, 150, 1_500, 10)
    assert (volume.start_ms - GENESIS_TIME_MS) % PARAMETERS.slot_ms == 0
    assert price_reads.volumes(reader, PARAMETERS.slot_ms, GetVolumes(before_ms=volume.start_ms)) == []
