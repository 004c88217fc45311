"""The benchmarks run, and their baseline does the same work as the project."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import admission, codec, connecting, dashboards, matching, readings, sync, validation
from benchmarks.databases import Databases
from benchmarks.naive import auction as naive_auction
from benchmarks.naive import plain_json
from benchmarks.naive.market import Refused
from benchmarks.naive.node import NaiveNode
from benchmarks.naive.records import Transaction
from benchmarks.results import Result, as_json, as_table
from benchmarks.validation import naive_node, ours
from benchmarks.world import World, make_world
from minervas_core.blocks import decode_block
from minervas_core.transactions import decode_transaction
from minervas_devnet.postgres import PostgresServer
from tests.support.builders import FAR_FUTURE_MS, altered


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(2, 30)


def test_baseline_ends_with_the_same_market_as_the_project(world: World) -> None:
    node, chain = naive_node(world), ours(world)
    for block in world.blocks:
        node.connect(node.validate(block.raw))
        assert chain.receive_block(block, FAR_FUTURE_MS).status == "connected"
    market = chain.state.market
    lots = {lot_id: (lot.owner, lot.energy_wh, lot.parent, lot.offer) for lot_id, lot in market.lots.items()}
    naive_lots = node.market.lots.items()
    assert {lot_id: (lot.owner, lot.energy_wh, lot.parent, lot.offer) for lot_id, lot in naive_lots} == lots
    origins = {lot_id: [origin.statement for origin in lot.origins] for lot_id, lot in market.lots.items()}
    assert {lot_id: [lot.origin] for lot_id, lot in naive_lots} == origins
    owed = {tuple(key.split("/")): (debt.amount_micro, debt.energy_wh) for key, debt in market.obligations.items()}
    assert node.market.debts == owed != {}
    assert (node.height, node.tip_hash) == (chain.tip.height, chain.tip.hash)


@pytest.mark.parametrize("fields", [{"time_ms": 1}, {"difficulty": 3}, {"prev": "ab" * 32}, {"tx_root": "ab" * 32}])
def test_baseline_refuses_a_wrong_header(world: World, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        naive_node(world).validate(altered(world.blocks[0], **fields).raw)


def test_baseline_refuses_a_wrong_signature(world: World) -> None:
    good = world.blocks[0].transactions[0]
    raw = world.blocks[0].raw.replace(good.signature.encode(), b"0" * 128)
    wrong = decode_block(raw)
    with pytest.raises(Refused, match="block_tx_root"):
        naive_node(world).validate(raw)
    with pytest.raises(Refused, match="bad_signature"):
        NaiveNode(world.genesis).check_signature(Transaction.model_validate_json(wrong.transactions[0].raw))


def test_plain_json_agrees_on_ids_and_refuses_what_we_refuse(world: World) -> None:
    for transaction in world.blocks[0].transactions:
        tx_id, content = plain_json.decode(transaction.raw)
        assert tx_id == decode_transaction(transaction.raw).id
        assert plain_json.encode(content) == transaction.raw
        for bad in (transaction.raw + b" ", transaction.raw.replace(b'"salt":"', b'"salt":"A')):
            with pytest.raises(ValueError, match=r"not canonical|^A"):
                plain_json.decode(bad)


def test_every_area_measures_both_sides_and_their_ratio(postgres_server: PostgresServer) -> None:
    results = [
        *codec.measure(transactions=20, rounds=1),
        *matching.measure(resting=200, incoming=5, rounds=1),
        *validation.measure(transactions=60, rounds=1),
    ]
    made = Databases(postgres_server)
    results += connecting.measure_in(made, transactions=20, blocks=1)
    results += sync.measure_in(made, full=1, nearly_empty=2, rounds=1)
    results += readings.measure_in(made, inserts=20, bulk=100, day_s=200, rounds=1)
    results += dashboards.measure_in(made, span_s=200, rounds=1)
    goals = {result.name: result.goal for result in results if result.goal is not None}
    assert goals == {
        "codec.transaction.ratio": 5,
        "match.continuous.ratio": 5,
        "validate.cold.ratio": 4,
        "validate.seen.ratio": 50,
        "connect.ratio": 15,
        "sync.full.ratio": 10,
        "sync.nearly_empty.ratio": 10,
        "readings.insert.ratio": 50,
        "readings.today.ratio": 8,
        "dashboards.history.ratio": 5,
        "dashboards.slowest_panel": 200,
    }
    assert all(result.value > 0 for result in results)
    assert {row["name"] for row in json.loads(as_json(results))["results"]} == {result.name for result in results}
    assert len(as_table(results).splitlines()) == len(results)


def test_both_sides_of_the_auctions_bench_sell_the_same() -> None:
    book = matching.make_book(400, crossed=True)
    market, naive = matching.our_market(book), matching.naive_market(book)
    sold_wh = matching.hold_auction(market)
    assert sold_wh == sum(trade.energy_wh for trade in naive_auction.clear(naive).trades) > 0
    owed = {tuple(key.split("/")): (each.amount_micro, each.energy_wh) for key, each in market.obligations.items()}
    assert owed == naive.debts


def test_admission_is_measured_alone_and_beside_a_crowd() -> None:
    """The promise itself is not checked here, but by `make bench`, on a machine that does nothing else."""
    results = admission.measure(members=2, revocations=1)
    goals = {result.name: result.goal for result in results if result.goal is not None}
    assert goals == {"revoke.loaded.session.max": 1_000, "revoke.loaded.handshake.max": 1_000}
    assert all(result.value > 0 for result in results)
    assert len({result.name for result in results}) == len(results) == 3 + 2 * 6 * 3


def test_a_missed_goal_is_seen() -> None:
    assert not Result("slow", 4.9, "x", goal=5).is_met
    assert not Result("large", 301, "MB", goal=300, better="lower").is_met
    assert Result("shown", 0, "x").is_met
