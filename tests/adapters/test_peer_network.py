"""Whole peers on an in-memory broker with the real rights: keys and gossip."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from minervas_core.errors import Code
from minervas_core.frames import MAX_FRAME_BYTES
from minervas_core.messages import (
    BlockAnnouncement,
    TransactionBatch,
)
from minervas_core.rights import Rights
from minervas_peer.gossip import FRAME_BURST
from tests.support.peer import roster
from tests.support.peer_network import QUICK, PeerNetwork
from tests.support.peer_nodes import BLOCK, settle, three, topic, until_blocks, until_refused
from tests.support.seed import seeded_random
from tests.support.wait import wait_until_async


@pytest.fixture
async def network() -> AsyncIterator[PeerNetwork]:
    async with PeerNetwork() as made:
        yield made


# keys


@pytest.mark.parametrize("number", range(3))
async def test_newcomers_get_each_others_keys_in_whatever_order_they_start(number: int) -> None:
    names = ["anna", "bert", "cara", "dora"]
    seeded_random(f"start {number}").shuffle(names)
    async with PeerNetwork() as network:
        for name in names:
            await network.add(name)
        await wait_until_async(network.complete)


async def test_keys_converge_although_half_of_all_messages_about_them_are_lost(network: PeerNetwork) -> None:
    chance = seeded_random("losses of key messages")
    network.broker.loses = lambda message: (
        any(kind in message.topic for kind in ("hello", "sender_key", "key_request")) and chance.random() < 0.5
    )
    for name in ("anna", "bert", "cara"):
        await network.add(name)
    await wait_until_async(network.complete, timeout=60)


async def test_a_restarted_peer_has_a_higher_epoch_and_gets_all_keys_again(network: PeerNetwork) -> None:
    anna, *_ = await three(network)
    before = anna.peer.exchange.own_key.epoch
    await anna.restart()
    assert anna.peer.exchange.own_key.epoch > before
    await wait_until_async(network.complete)


async def test_after_an_interruption_of_the_broker_everybody_says_hello_again(network: PeerNetwork) -> None:
    _, bert, _ = await three(network)
    network.broker.interrupt()
    await bert.restart()
    network.broker.resume()
    await wait_until_async(network.complete)


async def test_a_key_that_could_not_be_sent_counts_as_not_given(network: PeerNetwork) -> None:
    anna, *_ = await three(network)
    await wait_until_async(lambda: anna.peer.exchange.given_to == {"bert", "cara"})
    network.broker.interrupt()
    await anna.peer.courier._send(anna.peer.exchange._give("bert"))
    assert anna.peer.exchange.given_to == {"cara"}
    network.broker.resume()
    await wait_until_async(lambda: anna.peer.exchange.given_to == {"bert", "cara"})


async def test_a_settled_member_gives_its_key_only_once_the_newcomer_is_on_its_tip(network: PeerNetwork) -> None:
    anna, bert = await network.add("anna"), await network.add("bert")
    await settle(network, anna, bert)
    cara = await network.add("cara")
    await wait_until_async(lambda: anna.holds_key_of(cara) and bert.holds_key_of(cara))
    assert not cara.holds_key_of(anna)
    assert not cara.holds_key_of(bert)
    await anna.ledger.move(2, roster([node.member for node in (anna, bert, cara)], height=2))
    await wait_until_async(lambda: cara.holds_key_of(anna))
    assert not cara.holds_key_of(bert)


async def test_when_a_member_is_revoked_the_others_change_keys_and_it_gets_none_and_is_not_heard(
    network: PeerNetwork,
) -> None:
    anna, bert, cara = await three(network)
    before = anna.peer.exchange.own_key
    without = roster([anna.member, bert.member], [cara.member], height=2)
    await anna.ledger.move(2, without)
    await bert.ledger.move(2, without)
    await wait_until_async(lambda: anna.peer.exchange.own_key.epoch > before.epoch)
    await wait_until_async(lambda: bert.holds_key_of(anna) and anna.holds_key_of(bert))
    await wait_until_async(lambda: anna.refused(Code.MEMBER_REVOKED) >= 2, describe="Hellos of the revoked member")
    assert not cara.holds_key_of(anna)
    anna.ledger.blocks.clear()
    refused = anna.refused(Code.MEMBER_REVOKED)
    await cara.ledger.announce(BLOCK)
    await bert.ledger.announce(b'{"b":1}')
    await wait_until_async(lambda: anna.ledger.blocks == [("bert", b'{"b":1}')])
    await wait_until_async(lambda: anna.refused(Code.MEMBER_REVOKED) > refused)
    assert [origin for origin, _ in anna.ledger.blocks] == ["bert"]


async def test_the_key_changes_on_a_timer_and_frames_still_arrive() -> None:
    gossip = msgspec.structs.replace(QUICK, sender_key_lifetime_ms=300)
    async with PeerNetwork(gossip=gossip) as network:
        anna, bert = await network.add("anna"), await network.add("bert")
        await wait_until_async(network.complete)
        first = anna.peer.exchange.own_key.epoch
        for number in range(20):
            await anna.ledger.announce(f'{{"n":{number}}}'.encode())
        await wait_until_async(lambda: anna.peer.exchange.own_key.epoch > first)
        await anna.ledger.announce(BLOCK)
        await wait_until_async(lambda: len(bert.ledger.blocks) == 21)


# gossip


async def test_a_found_block_reaches_every_other_ledger_and_not_the_finders(network: PeerNetwork) -> None:
    anna, bert, cara = await three(network)
    await anna.ledger.announce(BLOCK)
    for other in (bert, cara):
        await until_blocks(other, ("anna", BLOCK))
    assert anna.ledger.blocks == []


async def test_a_frame_under_an_unknown_key_waits_and_is_opened_when_the_key_comes(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    network.broker.loses = lambda message: message.topic.endswith(("/hello", "/sender_key", "/key_request"))
    await bert.restart()
    await wait_until_async(lambda: bert.bus.connected and bert.peer.ledger_watch.tip is not None)
    await anna.ledger.announce(BLOCK)
    await wait_until_async(lambda: len(bert.peer.gossip.pending) == 1)
    assert bert.ledger.blocks == []
    network.broker.loses = lambda _message: False
    await wait_until_async(lambda: bert.ledger.blocks == [("anna", BLOCK)])
    assert len(bert.peer.gossip.pending) == 0


async def test_own_transactions_within_a_few_milliseconds_travel_in_one_frame(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    frames = await network.spy("mesh/v1/+/+/tx")
    sent = [f'{{"n":{number}}}'.encode() for number in range(450)]
    for transaction in sent:
        anna.peer.gossip.offer(transaction)
    await wait_until_async(lambda: [raw for _, raw in bert.ledger.submitted if raw in sent] == sent)
    assert len([frame for frame in frames if frame.topic == topic(anna, "tx")]) == 3


async def test_a_frame_on_the_topic_of_another_member_is_refused_and_counted(network: PeerNetwork) -> None:
    anna, bert, cara = await three(network)
    frames = await network.spy("mesh/v1/+/+/block")
    await anna.ledger.announce(BLOCK)
    await wait_until_async(lambda: frames)
    await wait_until_async(lambda: len(bert.ledger.blocks) == 1)
    broker_operator = network.broker.connect("mallory.peer", Rights(publish=("#",), subscribe=()))
    await broker_operator.start()
    await broker_operator.publish("mesh/v1/cara/peer/block", frames[0].payload)
    await until_refused(bert, Code.FRAME_FOREIGN_SENDER, 1)
    other_service = "mesh/v1/cara/miner/block"
    content = BlockAnnouncement(block=msgspec.Raw(BLOCK))
    await broker_operator.publish(other_service, cara.peer.gossip._channel.seal(content, other_service))
    await until_refused(bert, Code.FRAME_FOREIGN_SENDER, 2)
    assert len(bert.ledger.blocks) == 1
    await broker_operator.stop()


async def test_replayed_garbage_and_oversize_frames_are_counted_and_harmless(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    frames = await network.spy("mesh/v1/+/+/block")
    await anna.ledger.announce(BLOCK)
    await wait_until_async(lambda: frames and bert.ledger.blocks)
    for payload, code in (
        (frames[0].payload, Code.FRAME_REPLAYED),
        (b"\xff garbage", Code.BAD_FRAME),
        (bytes(MAX_FRAME_BYTES + 1), Code.TOO_LARGE),
        (frames[0].payload[:-1] + b"!", Code.FRAME_REPLAYED),
        (b"", Code.BAD_FRAME),
    ):
        before = bert.refused(code)
        await anna.bus.publish(topic(anna, "block"), payload)
        await until_refused(bert, code, before + 1)
    await anna.ledger.announce(b'{"n":2}')
    await wait_until_async(lambda: bert.ledger.blocks == [("anna", BLOCK), ("anna", b'{"n":2}')])


async def test_a_sealed_frame_with_other_content_than_its_kind_is_refused(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    await anna.peer.gossip._publish("block", TransactionBatch(transactions=[msgspec.Raw(b"{}")]))
    await anna.peer.gossip._publish("tx", BlockAnnouncement(block=msgspec.Raw(b"{}")))
    await until_refused(bert, Code.WRONG_SHAPE, 2)
    assert bert.ledger.blocks == []


async def test_a_member_that_floods_frames_is_cut_down_and_others_are_still_heard(network: PeerNetwork) -> None:
    anna, bert, cara = await three(network)
    for _ in range(FRAME_BURST + 50):
        await cara.bus.publish(topic(cara, "block"), b"flood")
    await wait_until_async(lambda: bert.refused(Code.RATE_LIMITED) > 0)
    await anna.ledger.announce(BLOCK)
    await until_blocks(bert, ("anna", BLOCK))


async def test_frames_under_keys_that_never_come_are_given_up_and_bounded(network: PeerNetwork) -> None:
    _, bert, cara = await three(network)
    network.broker.loses = lambda message: message.topic.endswith(("/hello", "/sender_key"))
    key = cara.member.sender_key(2**50)
    cara.peer.exchange.own_key = key
    for number in range(100):
        await cara.ledger.announce(f'{{"n":{number}}}'.encode())
    await until_refused(bert, Code.FRAME_UNKNOWN_KEY, 100 - 32)
    assert len(bert.peer.gossip.pending) == 32
    assert bert.ledger.blocks == []


async def test_while_its_ledger_is_away_a_peer_refuses_at_once_and_goes_on(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    await bert.ledger.stop()
    bert.peer.ledger._timeout_s = 0.2
    for number in range(5):
        await anna.ledger.announce(f'{{"n":{number}}}'.encode())
    await wait_until_async(lambda: bert.refused(Code.TIMEOUT) + bert.refused(Code.NOT_READY) >= 5)
    assert bert.peer.ledger.is_away
