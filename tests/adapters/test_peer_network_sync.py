"""Whole peers on an in-memory broker with the real rights: blocks for members that ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.messages import (
    GetHeaders,
)
from minervas_core.node_messages import Announce, FetchBodies, FetchHeaders, TipChanged
from minervas_core.rights import Rights
from minervas_peer import sync_server
from minervas_runtime.clock import SystemClock
from minervas_runtime.node_link import NodeLink, RemoteError
from minervas_runtime.requests import Requester
from tests.support.peer_network import PeerNetwork, tip_at
from tests.support.peer_nodes import BLOCK, three, until_refused
from tests.support.wait import wait_until_async


@pytest.fixture
async def network() -> AsyncIterator[PeerNetwork]:
    async with PeerNetwork() as made:
        yield made


# sync


async def test_headers_and_bodies_are_fetched_from_the_named_member_sealed_both_ways(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    headers = [f'{{"height":{number}}}'.encode() for number in range(3)]
    bert.ledger.headers = headers
    bert.ledger.bodies = {"ab" * 32: BLOCK}
    assert await anna.ledger.fetch_headers("bert") == headers
    assert await anna.ledger.fetch_bodies("bert", ["cd" * 32, "ab" * 32]) == [BLOCK]


async def test_a_member_that_is_away_is_reported_as_unreachable_at_once(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    await bert.stop_peer()
    await wait_until_async(lambda: anna.peer.presence.is_offline("bert"))
    with pytest.raises(RemoteError) as refusal:
        await anna.ledger.fetch_headers("bert")
    assert refusal.value.code is Code.PEER_UNREACHABLE


async def test_a_member_that_refuses_a_request_is_reported_as_unreachable(network: PeerNetwork) -> None:
    anna, _, _ = await three(network)
    with pytest.raises(RemoteError) as refusal:
        await anna.ledger.fetch_bodies("bert", ["ab" * 32])
    assert refusal.value.code is Code.PEER_UNREACHABLE


async def test_a_request_under_a_key_that_was_lost_is_answered_once_the_key_came(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    bert.ledger.headers = [b"{}"]
    bert.peer.exchange.keys.forget("anna")
    assert await anna.ledger.fetch_headers("bert") == [b"{}"]


async def test_a_stranger_gets_no_answer_to_a_request(network: PeerNetwork) -> None:
    anna, _, _ = await three(network)
    name = Principal("mallory", "peer")
    bus = network.broker.connect(name, Rights(publish=("#",), subscribe=("inbox/v1/mallory/peer/+/+/+",)))
    await bus.start()
    stranger = Requester(bus, SystemClock())
    await stranger.start()
    ask = encode(GetHeaders(locator=[], limit=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await stranger.request("anna", "peer", "get_headers", ask, 5.0)
    assert anna.refused(Code.BAD_FRAME) == 1
    await stranger.stop()
    await bus.stop()


async def test_a_member_that_asks_too_often_gets_no_answer_for_a_while(
    network: PeerNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_server, "REQUEST_BURST", 5)
    monkeypatch.setattr(sync_server, "REQUEST_REFILL_MS", 3_600_000)
    anna, bert, cara = await three(network)
    bert.ledger.headers = [b"{}"]
    for _ in range(5):
        assert await anna.ledger.fetch_headers("bert") == [b"{}"]
    one_more = asyncio.create_task(anna.ledger.fetch_headers("bert"))
    await until_refused(bert, Code.RATE_LIMITED, 1)
    assert await cara.ledger.fetch_headers("bert") == [b"{}"]
    assert not one_more.done()
    one_more.cancel()


async def test_a_member_that_takes_too_much_is_refused(network: PeerNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_server, "VOLUME_BURST", 100)
    monkeypatch.setattr(sync_server, "VOLUME_REFILL_MS", 3_600_000)
    anna, bert, cara = await three(network)
    body = b'"' + b"x" * (45 * sync_server.VOLUME_UNIT_BYTES) + b'"'
    bert.ledger.bodies = {"ab" * 32: body}
    for _ in range(2):
        assert await anna.ledger.fetch_bodies("bert", ["ab" * 32]) == [body]
    with pytest.raises(RemoteError) as refusal:
        await anna.ledger.fetch_bodies("bert", ["ab" * 32])
    assert refusal.value.code is Code.RATE_LIMITED
    assert await cara.ledger.fetch_bodies("bert", ["ab" * 32]) == [body]


async def test_only_the_ledger_of_the_node_commands_its_peer(
    network: PeerNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    anna, bert, _ = await three(network)
    miner = network.broker.connect("anna.miner", Rights(publish=("#",), subscribe=("inbox/v1/anna/miner/+/+/+",)))
    await miner.start()
    link = NodeLink(miner, anna.node_key, "anna", "miner", network.consortium.genesis.network)
    await link.start()

    async def until_logged(number: int) -> None:
        """Wait until so many messages were refused because of who sent them."""
        await wait_until_async(
            lambda: (
                sum(
                    "refused" in record.getMessage() and Code.FRAME_FOREIGN_SENDER in str(record.__dict__)
                    for record in caplog.records
                )
                == number
            )
        )

    for number, (kind, body) in enumerate(
        (
            ("fetch_headers", FetchHeaders(member="bert", locator=[], limit=1)),
            ("fetch_bodies", FetchBodies(member="bert", hashes=["ab" * 32])),
            ("announce", Announce(block=msgspec.Raw(BLOCK))),
            ("tip", TipChanged(tip=tip_at(9), roster_hash="ab" * 32, syncing=False)),
        )
    ):
        await link.send("peer", kind, body)
        await until_logged(number + 1)
    assert anna.peer.ledger_watch.tip == tip_at(1)
    assert bert.ledger.blocks == []
    await link.stop()
    await miner.stop()


async def test_another_service_of_a_member_gets_no_blocks(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    name = Principal("bert", "miner")
    bus = network.broker.connect(name, Rights(publish=("#",), subscribe=("inbox/v1/bert/miner/+/+/+",)))
    await bus.start()
    miner = Requester(bus, SystemClock())
    await miner.start()
    ask = GetHeaders(locator=[], limit=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await miner.request("anna", "peer", "get_headers", partial(bert.peer.gossip._channel.seal, ask), 5.0)
    assert anna.refused(Code.FRAME_FOREIGN_SENDER) == 1
    await miner.stop()
    await bus.stop()
