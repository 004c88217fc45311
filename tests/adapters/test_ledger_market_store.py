"""The market in PostgreSQL: every table is what the chain says, whatever was undone and redone on the way."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from minervas_core.blocks import Block
from minervas_core.node_market_messages import GetLots
from minervas_core.tree import HeaderNode
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import lot_reads, market_reads
from minervas_ledger.store.connection import Connection, connect
from tests.support.builders import MARKET, LocalChain, bid, cancel, make_genesis, mine_block, offer, revoke
from tests.support.ledger import StoredChain
from tests.support.ledger_market import MEMBERS, TradingChain, same_state
from tests.support.seed import seeded_random


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


def test_restart_in_the_middle_of_trading_equals_memory(stored: StoredChain, trading: TradingChain) -> None:
    lots = [trading.mint("m0", 900), trading.mint("m0", 500)]
    same_state(stored, trading.local)
    trading.block(offer("m0", lots, 100))
    same_state(stored, trading.local)
    trading.block(bid("m1", 1_000, 120), bid("m2", 50, 100))
    same_state(stored, trading.local)
    trading.block(bid("m1", 5_000, 110, until_ms=trading.local.tip.time_ms + 500))
    trading.block()
    trading.block()
    same_state(stored, trading.local)
    trading.block(bid("m1", 20, 1), offer("m1", trading.lots_of("m1"), 900))
    trading.block(revoke("m1", expires=20))
    same_state(stored, trading.local)


def test_cancelled_offer_frees_its_lots(stored: StoredChain, trading: TradingChain, reader: Connection) -> None:
    lot = trading.mint("m0", 900)
    placed = offer("m0", [lot], 100)
    trading.block(placed)
    [held] = lot_reads.unspent_lots(reader, GetLots(owner="m0")).lots
    assert held.lot.offer == placed.id
    trading.block(cancel("m0", placed.id))
    [free] = lot_reads.unspent_lots(reader, GetLots(owner="m0")).lots
    assert free.lot.offer == ""
    same_state(stored, trading.local)


def test_lot_that_is_made_and_used_up_in_one_block_can_be_traced(
    stored: StoredChain, trading: TradingChain, reader: Connection
) -> None:
    lot = trading.mint("m0", 900)
    trading.block(offer("m0", [lot], 100))
    trading.block(bid("m1", 200, 100, salt="a"), bid("m2", 300, 100, salt="b"), bid("m1", 100, 100, salt="c"))
    spent = reader.execute(
        "SELECT count(*) FROM lots WHERE created_height = spent_height AND origins = ARRAY[%s]", (bytes.fromhex(lot),)
    ).fetchone()
    assert spent == (2,)
    chain = reader.execute(
        """
        WITH RECURSIVE line AS (
            SELECT id, parent FROM lots WHERE spent_height IS NULL
            UNION SELECT lots.id, lots.parent FROM lots JOIN line ON lots.id = line.parent
        )
        SELECT count(*) FROM line LEFT JOIN lots ON lots.id = line.parent WHERE lots.id IS NULL
        """
    ).fetchone()
    assert chain == (0,)  # the minted lot is its own root
    same_state(stored, trading.local)


def test_trades_name_the_channels_that_their_energy_came_from(trading: TradingChain, reader: Connection) -> None:
    first, second = trading.mint("m0", 900), trading.mint("m1", 400)
    trading.block(offer("m0", [first], 100))
    trading.block(bid("m2", 900, 100))
    resold = trading.lots_of("m2")
    trading.block(offer("m2", resold, 90), offer("m1", [second], 95))
    trading.block(bid("m0", 1_300, 100))
    found = market_reads.newest_trades(reader, 10)
    assert [(each.trade.seller, each.trade.energy_wh, each.meters) for each in found] == [
        ("m1", 400, ["m1/roof/dc"]),
        ("m2", 900, ["m0/roof/dc"]),
        ("m0", 900, ["m0/roof/dc"]),
    ]
    owed = {(each.debtor, each.creditor): each.owed.amount_micro for each in market_reads.obligations(reader)}
    assert owed == {("m2", "m0"): 90_000, ("m0", "m2"): 81_000, ("m0", "m1"): 38_000}


def test_meters_tell_what_their_channels_have_minted(trading: TradingChain, reader: Connection) -> None:
    for amount_wh in (100, 0, 250):
        trading.mint("m1", amount_wh)
    found = market_reads.meters(reader, "")
    assert [(each.member, each.minted_wh, each.statements) for each in found.energy] == [
        ("m0", 0, 0),
        ("m1", 350, 3),
        ("m2", 0, 0),
    ]
    expected = [record for _, record in sorted(trading.local.chain.state.market.meters.items())]
    assert found.meters == expected
    assert market_reads.meters(reader, "m2").meters == expected[2:]


def test_order_book_is_listed_best_price_first(trading: TradingChain, reader: Connection) -> None:
    lots = [trading.mint("m0", 100), trading.mint("m0", 200), trading.mint("m0", 300)]
    prices = {lots[0]: 50, lots[1]: 40, lots[2]: 50}
    trading.block(*(offer("m0", [lot], price, salt=lot) for lot, price in prices.items()))
    trading.block(bid("m1", 10, 5), bid("m2", 10, 9))
    found = market_reads.open_orders(reader, "", 10)
    assert [(each.order.side, each.order.price_micro) for each in found] == [
        ("offer", 40),
        ("offer", 50),
        ("offer", 50),
        ("bid", 9),
        ("bid", 5),
    ]
    assert found[1].order.index < found[2].order.index
    assert [each.order for each in market_reads.open_orders(reader, "m2", 10)] == [found[3].order]


# reorganisations


def rival(trading: TradingChain, base: HeaderNode, blocks: int) -> list[Block]:
    """A longer branch upon `base` with trades of its own, that nobody was told of."""
    other = TradingChain.__new__(TradingChain)
    other.local, other.stored = LocalChain(MARKET), None
    for node in list(base.blocks())[::-1]:
        other.local.receive(trading.local.chain._stored(node))
    made = [other.block(other.statement("m1", 700, salt="rival"))]
    made.append(other.block(offer("m1", other.lots_of("m1"), 10, salt="rival")))
    made.append(other.block(bid("m0", 300, 20, salt="rival")))
    return made + [other.block() for _ in range(blocks - 3)]


def test_reorganisation_leaves_nothing_of_the_losing_branch(stored: StoredChain, trading: TradingChain) -> None:
    lots = [trading.mint("m0", 900), trading.mint("m0", 500)]
    trading.block(offer("m0", lots, 100))
    base = trading.local.tip
    trading.block(bid("m1", 1_000, 120), trading.statement("m1", 5))
    trading.block(bid("m2", 400, 120))
    winning = rival(trading, base, 3)
    assert stored.take(*winning)[-1] == "connected"
    for block in winning:
        trading.local.receive(block)
    assert trading.local.tip.hash == winning[-1].hash
    same_state(stored, trading.local)


def test_reorganisation_there_and_back_in_one_commit(stored: StoredChain, trading: TradingChain) -> None:
    lots = [trading.mint("m0", 900), trading.mint("m0", 500)]
    trading.block(offer("m0", lots, 100))
    base = trading.local.tip
    winning = rival(trading, base, 3)
    trading.stored = None
    ours = [
        trading.block(bid("m1", 1_000, 120), trading.statement("m1", 5)),
        trading.block(bid("m2", 400, 120)),
        *(trading.block() for _ in range(3)),
    ]
    assert stored.take(*ours[:2], *winning, *ours[2:])[-1] == "connected"
    for block in winning:
        trading.local.receive(block)
    assert trading.local.tip.hash == ours[-1].hash
    same_state(stored, trading.local)


def test_branch_that_is_refused_after_its_fork_was_undone_changes_nothing(
    stored: StoredChain, trading: TradingChain
) -> None:
    lot = trading.mint("m0", 900)
    base = trading.local.tip
    trading.block(offer("m0", [lot], 100))
    trading.block(bid("m1", 900, 100))
    bad = mine_block(base, [offer("m1", [lot], 1)], "m0", trading.local.genesis)
    assert stored.take(bad) == ["side_branch"]
    node = HeaderNode(bad.hash, bad.header, base, base.work + bad.header.difficulty)
    above = mine_block(node, [], "m1", trading.local.genesis)
    above_node = HeaderNode(above.hash, above.header, node, node.work + above.header.difficulty)
    top = mine_block(above_node, [], "m2", trading.local.genesis)
    assert stored.take(above, top) == ["side_branch", "refused"]
    same_state(stored, trading.local)


@pytest.mark.parametrize("number", range(3))
def test_random_trading_in_random_commits_equals_a_replay(stored: StoredChain, number: int) -> None:
    choose = seeded_random(f"ledger market {number}")
    trading = TradingChain(stored)
    trading.stored = None
    waiting: list[Block] = []
    for step in range(60):
        waiting.append(random_block(trading, choose, step))
        if choose.random() < 0.3:
            stored.take(*waiting)
            waiting = []
    stored.take(*waiting)
    assert stored.now.view().tip.work == f"{trading.local.tip.work:x}"
    same = LocalChain(MARKET)
    for node in list(stored.now._chain.tip.blocks())[::-1]:
        same.receive(stored.now._chain._stored(node))
    report = same_state(stored, same)
    assert report.trades > 5
    assert report.lots > report.trades


def random_block(trading: TradingChain, choose: random.Random, step: int) -> Block:
    """A block on the tip with whatever applies there; or beside it, with what once stood in the chain, or nothing."""
    local = trading.local
    base, transactions = local.tip, trading.random_transactions(choose, str(step))
    depth = choose.choice([0, 0, 0, 0, 0, 1, 2, 3])
    if depth:
        transactions = []
        for _ in range(depth):
            if base.parent is None or base.height <= 3:
                break
            known = local.chain._stored(base).transactions
            transactions = [each for each in known if choose.random() < 0.7]
            base = base.parent
    block = local.mine(choose.choice(MEMBERS), transactions, on=base, start=step * 1_000)
    local.receive(block)
    return block
