"""The ledger over the bus: statements of the gateway, orders of the peer, and what is asked about the market."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from minervas_core.encoding import encode_untyped
from minervas_core.errors import Code
from minervas_core.messages import GetTransactionStatus, TransactionStatuses
from minervas_core.node_market_messages import (
    ChannelRegisters,
    Clearings,
    GetChannelRegisters,
    GetClearings,
    GetLot,
    GetLots,
    GetMarket,
    GetMeters,
    GetObligations,
    GetOrders,
    GetRetirements,
    GetTrades,
    GetVolumes,
    LotDetail,
    Lots,
    MarketView,
    Meters,
    Obligations,
    Orders,
    Retirements,
    Statement,
    Trades,
    Volumes,
)
from minervas_core.node_messages import BlockDetail, GetBlock, GetTransaction, SubmitResult, TransactionDetail
from minervas_core.transactions import Transaction
from minervas_ledger.settings import DatabaseSettings
from minervas_runtime.node_link import RemoteFault
from tests.support.builders import MARKET, bid, cancel, gateway_key, make_genesis, offer, statement
from tests.support.ledger import MEMBER, LedgerNode
from tests.support.ledger_market import FakeGateway, TradingChain
from tests.support.lot_builders import merge, retire
from tests.support.wait import wait_until_async


@pytest_asyncio.fixture
async def node(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    """A ledger of the market's parameters."""
    made = LedgerNode(tmp_path, ledger_database, make_genesis(MARKET))
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def gateway(node: LedgerNode) -> AsyncIterator[FakeGateway]:
    made = FakeGateway(node.broker)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def trading(node: LedgerNode) -> TradingChain:
    """A chain of the same content as the ledger's: two blocks, in which everybody's meter is registered."""
    made = TradingChain()
    for each in list(made.local.tip.blocks())[::-1]:
        assert (await node.peer.deliver(made.local.chain._stored(each))).status == "connected"
    return made


async def deliver(node: LedgerNode, trading: TradingChain, *transactions: Transaction) -> None:
    """A block that another member found."""
    assert (await node.peer.deliver(trading.block(*transactions))).status == "connected"


async def state(gateway: FakeGateway, transaction: Transaction | bytes) -> SubmitResult:
    raw = transaction if isinstance(transaction, bytes) else transaction.raw
    return await gateway.ask("statement", Statement(transaction=msgspec.Raw(raw)), SubmitResult)


# statements


async def test_statement_is_queued_and_handed_to_the_peer(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    made = trading.statement(MEMBER, 500)
    assert await state(gateway, made) == SubmitResult(status="accepted", id=made.id)
    await wait_until_async(lambda: node.peer.relayed)
    assert node.peer.relayed == [made.raw]
    assert (await node.peer.status()).mempool_transactions == 1


async def test_statement_is_spread_again_as_long_as_no_block_carries_it(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    """Gossip may have been lost, and the gateway repeats what is not in a block."""
    made = trading.statement(MEMBER, 500)
    assert (await state(gateway, made)).status == "accepted"
    assert (await state(gateway, made)).status == "known"
    await wait_until_async(lambda: len(node.peer.relayed) == 2)
    await deliver(node, trading, made)
    assert (await state(gateway, made)).status == "known"
    assert len(node.peer.relayed) == 2


async def test_gateway_is_told_where_its_statements_stand(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    made = trading.statement(MEMBER, 500)
    await state(gateway, made)
    question = GetTransactionStatus(ids=[made.id])
    assert (await gateway.ask("tx_status", question, TransactionStatuses)).statuses[0].state == "queued"
    await deliver(node, trading, made)
    found = (await gateway.ask("tx_status", question, TransactionStatuses)).statuses[0]
    assert (found.state, found.height, found.depth) == ("in_block", 3, 1)


async def test_gateway_is_told_its_meters_and_registers_at_the_tip(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    before = await gateway.ask("channel_registers", GetChannelRegisters(), ChannelRegisters)
    assert [(each.member, each.meter, each.gateway) for each in before.meters] == [
        (MEMBER, "roof", gateway_key(MEMBER).public)
    ]
    assert [(each.meter, each.channel, each.last) for each in before.channels] == [("roof", "dc", msgspec.UNSET)]
    assert before.slot_ms == MARKET.slot_ms
    made = trading.statement(MEMBER, 500)
    await deliver(node, trading, made)
    after = await gateway.ask("channel_registers", GetChannelRegisters(), ChannelRegisters)
    last = after.channels[0].last
    assert not isinstance(last, msgspec.UnsetType)
    assert (last.register_wh, last.statement) == (500, made.id)
    assert (after.tip_height, after.tip_time_ms) == (3, trading.local.tip.time_ms)


async def test_refused_statement_is_told_by_its_code_and_disturbs_nothing(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    await deliver(node, trading, trading.statement(MEMBER, 500))
    last = trading.local.chain.state.market.registers.get(f"{MEMBER}/roof/dc")
    assert last is not None
    from_ms = last.time_ms - trading.local.genesis.body.created_ms
    ahead_ms = node.clock.now_ms() + 10**6 - trading.local.genesis.body.created_ms
    bad = {
        Code.STATEMENT_RATED_POWER: statement(MEMBER, (from_ms, 500), (from_ms + 1_000, 9_999)),
        Code.STATEMENT_OVERLAP: statement(MEMBER, (from_ms - 500, 500), (from_ms + 1_000, 600)),
        Code.STATEMENT_GAP: statement(MEMBER, (from_ms + 10, 500), (from_ms + 1_000, 600)),
        Code.STATEMENT_FUTURE: statement(MEMBER, (from_ms, 500), (ahead_ms, 600)),
        Code.STATEMENT_ORDER: statement(MEMBER, (from_ms, 500), (from_ms + 1_000, 400)),
        Code.METER_UNKNOWN: statement(MEMBER, (from_ms, 500), (from_ms + 1_000, 600), meter="shed"),
        Code.CHANNEL_UNKNOWN: statement(MEMBER, (from_ms, 500), (from_ms + 1_000, 600), channel="ac"),
        Code.UNKNOWN_TYPE: bid(MEMBER, 100, 100),
    }
    for code, transaction in bad.items():
        result = await state(gateway, transaction)
        assert (result.status, result.code, result.id) == ("refused", code, transaction.id)
    wrong_key = statement(MEMBER, (from_ms, 500), (from_ms + 1_000, 600), key=gateway_key("m1"))
    assert (await state(gateway, wrong_key)).code == Code.TX_WRONG_SENDER
    foreign = statement("m1", (from_ms, 0), (from_ms + 1_000, 100))
    assert (await state(gateway, foreign)).code == Code.TX_WRONG_SENDER
    assert (await state(gateway, b'{"body":{}}')).code == Code.WRONG_SHAPE
    forged = msgspec.json.decode(trading.statement(MEMBER, 100).raw)
    forged["signature"] = "00" * 64
    assert (await state(gateway, encode_untyped(forged))).code == Code.BAD_SIGNATURE
    status = await node.peer.status()
    assert status.mempool_transactions == 0
    assert set(bad) <= set(status.refusals)
    assert node.peer.relayed == []
    assert (await state(gateway, trading.statement(MEMBER, 100))).status == "accepted"


async def test_only_the_gateway_states_energy_and_only_the_peer_asks_for_lots(
    node: LedgerNode, gateway: FakeGateway, trading: TradingChain
) -> None:
    with pytest.raises(RemoteFault) as caught:
        await node.peer.link.request(
            "ledger", "statement", Statement(transaction=msgspec.Raw(b"{}")), SubmitResult, 5.0
        )
    assert caught.value.code == Code.FRAME_FOREIGN_SENDER
    with pytest.raises(RemoteFault) as caught:
        await gateway.ask("lots", GetLots(), Lots)
    assert caught.value.code == Code.FRAME_FOREIGN_SENDER


# orders


async def test_refused_order_is_told_by_its_code_and_disturbs_nothing(node: LedgerNode, trading: TradingChain) -> None:
    lot, foreign = trading.mint(MEMBER, 500), trading.mint("m1", 500)
    on_sale = trading.mint(MEMBER, 300)
    placed = offer(MEMBER, [on_sale], 100)
    trading.block(placed)
    sold = trading.mint(MEMBER, 100)
    trading.block(offer(MEMBER, [sold], 10, buyer="m2"))
    trading.block(bid("m2", 100, 10))
    for each in list(trading.local.tip.blocks())[::-1][2:]:
        await node.peer.deliver(trading.local.chain._stored(each))
    past_ms = trading.local.tip.time_ms
    bad = [
        (offer(MEMBER, [foreign], 100), Code.LOT_NOT_OWNED),
        (offer(MEMBER, [sold], 100), Code.LOT_UNKNOWN),
        (offer(MEMBER, [on_sale], 100, salt="again"), Code.LOT_OFFERED),
        (offer(MEMBER, [lot, lot], 100), Code.LOT_TWICE),
        (offer(MEMBER, [lot], 100, until_ms=past_ms), Code.ORDER_EXPIRED),
        (offer(MEMBER, [lot], 2**52), Code.ORDER_TOO_LARGE),
        (bid(MEMBER, 2**40, 2**40), Code.ORDER_TOO_LARGE),
        (bid(MEMBER, 9, 100), Code.ORDER_TOO_SMALL),
        (bid(MEMBER, 100, 100, until_ms=past_ms), Code.ORDER_EXPIRED),
        (cancel("m1", placed.id), Code.ORDER_NOT_OWNED),
        (cancel(MEMBER, "ab" * 32), Code.ORDER_UNKNOWN),
        (bid("stranger", 100, 100), Code.MEMBER_UNKNOWN),
        (merge("m1", [lot, "cd" * 32]), Code.LOT_NOT_OWNED),
        (retire(MEMBER, ["cd" * 32]), Code.LOT_UNKNOWN),
    ]
    results = (await node.peer.submit(*(transaction.raw for transaction, _ in bad), origin="local")).results
    assert [(each.status, each.code) for each in results] == [("refused", code) for _, code in bad]
    assert (results[-2].values["lot"], results[-2].values["owner"]) == (lot, MEMBER)
    status = await node.peer.status()
    assert status.mempool_transactions == 0
    assert {code for _, code in bad} <= set(status.refusals)
    results = (await node.peer.submit(offer(MEMBER, [lot], 100).raw, origin="local")).results
    assert results[0].status == "accepted"


@pytest.mark.parametrize("energy_wh", [0, -5, 2**53])
async def test_bid_for_an_impossible_amount_is_no_transaction(
    node: LedgerNode, trading: TradingChain, energy_wh: int
) -> None:
    form = msgspec.json.decode(bid(MEMBER, 100, 100).raw)
    form["body"]["energy_wh"] = energy_wh
    raw = msgspec.json.encode(form, order="sorted")
    [result] = (await node.peer.submit(raw, origin="local")).results
    assert (result.status, result.code, result.id) == ("refused", Code.WRONG_SHAPE, "")


# questions


async def test_questions_about_the_market_are_answered_from_committed_blocks(
    node: LedgerNode, trading: TradingChain
) -> None:
    minted = trading.statement(MEMBER, 500)
    await deliver(node, trading, minted)
    await deliver(node, trading, offer(MEMBER, [minted.id], 100))
    taken = bid("m1", 200, 100)
    await deliver(node, trading, taken)
    market = trading.local.chain.state.market
    lots = (await node.peer.ask_market("lots", GetLots(), Lots)).lots
    assert {each.id: each.lot for each in lots} == dict(market.lots.items())
    own = (await node.peer.ask_market("lots", GetLots(owner="m1"), Lots)).lots
    assert [each.lot.owner for each in own] == ["m1"]
    orders = (await node.peer.ask_market("orders", GetOrders(), Orders)).orders
    assert {each.id: each.order for each in orders} == dict(market.orders.items())
    [trade] = (await node.peer.ask_market("trades", GetTrades(), Trades)).trades
    assert (trade.trade.bid, trade.trade.amount_micro, trade.meters) == (taken.id, 20_000, [f"{MEMBER}/roof/dc"])
    [owed] = (await node.peer.ask_market("obligations", GetObligations(), Obligations)).obligations
    assert (owed.debtor, owed.creditor, owed.owed.amount_micro, owed.owed.energy_wh) == ("m1", MEMBER, 20_000, 200)
    view = await node.peer.ask_market("market", GetMarket(), MarketView)
    assert (view.slot.mode, [(each.price_micro, each.energy_wh) for each in view.offers]) == (
        "continuous",
        [(100, 300)],
    )
    assert (view.bids, view.last, view.spread_micro) == ([], trade.trade, msgspec.UNSET)
    [volume] = (await node.peer.ask_market("volumes", GetVolumes(), Volumes)).volumes
    assert (volume.trades, volume.energy_wh, volume.amount_micro) == (1, 200, 20_000)
    assert (await node.peer.ask_market("clearings", GetClearings(), Clearings)).clearings == []
    [other] = (await node.peer.ask_market("lots", GetLots(free=True), Lots)).lots
    used = retire("m1", [other.id])
    await deliver(node, trading, used)
    [retired] = (await node.peer.ask_market("retirements", GetRetirements(), Retirements)).retirements
    assert (retired.retirement.transaction, retired.retirement.lot) == (used.id, other.id)
    found = await node.peer.ask_market("lot_detail", GetLot(id=other.id), LotDetail)
    assert (found.retired_by, found.origins) == (used.id, retired.origins)
    with pytest.raises(RemoteFault) as caught:
        await node.peer.ask_market("lot_detail", GetLot(id="0" * 64), LotDetail)
    assert caught.value.code == Code.NOT_FOUND
    meters = await node.peer.ask_market("meters", GetMeters(member=MEMBER), Meters)
    assert [(each.minted_wh, each.statements) for each in meters.energy] == [(500, 1)]
    detail = await node.peer.ask("transaction", GetTransaction(id=minted.id), TransactionDetail)
    assert (bytes(detail.transaction), detail.state, detail.height) == (minted.raw, "in_block", 3)
    block = await node.peer.ask("block_detail", GetBlock(block="5"), BlockDetail)
    assert taken.raw in bytes(block.block)
