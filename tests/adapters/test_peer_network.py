"""Whole peers on an in-memory broker with the real rights: keys, gossip, membership, sync, presence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.frames import MAX_FRAME_BYTES
from minervas_core.identifiers import Principal
from minervas_core.messages import (
    BlockAnnouncement,
    ChainTip,
    GetHeaders,
    GetTransactionStatus,
    Hello,
    Presence,
    Reply,
    TransactionBatch,
    TransactionStatuses,
)
from minervas_core.node_messages import Announce, FetchBodies, FetchHeaders, TipChanged
from minervas_core.rights import ADMISSION, Rights
from minervas_core.topics import mesh
from minervas_peer import sync_server
from minervas_peer.gossip import FRAME_BURST
from minervas_runtime.clock import SystemClock
from minervas_runtime.node_link import NodeLink, RemoteError
from minervas_runtime.requests import Requester
from tests.support.peer import roster
from tests.support.peer_network import QUICK, Node, PeerNetwork, tip_at
from tests.support.seed import seeded_random
from tests.support.wait import wait_until_async

BLOCK = b'{"a":"block"}'


@pytest.fixture
async def network() -> AsyncIterator[PeerNetwork]:
    async with PeerNetwork() as made:
        yield made


def topic(node: Node, kind: str) -> str:
    return mesh(node.principal, kind)


async def settle(network: PeerNetwork, *nodes: Node, height: int = 1) -> None:
    """Put these nodes, and only them, on everybody's tip, and wait until they have each other's keys."""
    on_tip = roster([node.member for node in nodes], height=height)
    for node in nodes:
        await node.ledger.move(height, on_tip)
    await wait_until_async(lambda: all(node.peer.directory.settled for node in nodes), describe="all on their tips")
    await wait_until_async(lambda: all(one.holds_key_of(two) for one in nodes for two in nodes if one is not two))


async def three(network: PeerNetwork) -> list[Node]:
    """Three settled nodes."""
    nodes = [await network.add(name) for name in ("anna", "bert", "cara")]
    await wait_until_async(network.complete)
    await settle(network, *nodes)
    return nodes


async def until_blocks(node: Node, *expected: tuple[str, bytes]) -> None:
    await wait_until_async(lambda: node.ledger.blocks == list(expected), describe=lambda: str(node.ledger.blocks))


async def until_refused(node: Node, code: Code, number: int) -> None:
    await wait_until_async(lambda: node.refused(code) == number, describe=f"{number} x {code}")


async def until_submitted(node: Node, origin: str, transaction: bytes) -> None:
    await wait_until_async(lambda: (origin, transaction) in node.ledger.submitted, describe=origin)


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
    await wait_until_async(lambda: bert.ledger.blocks == [("anna", BLOCK)], timeout=20)
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


# membership


async def test_membership_transactions_of_admission_reach_every_ledger_both_ways(network: PeerNetwork) -> None:
    first, second = (network.consortium.member(name).admit.raw for name in ("anna", "zoe"))
    network.admission.transactions = [first]
    nodes = [await network.add(name) for name in ("anna", "bert")]
    for node in nodes:
        await until_submitted(node, "consortium", first)
    network.admission.transactions.append(second)
    await network.admission.publish()
    for node in nodes:
        await until_submitted(node, "consortium", second)


async def test_pages_of_membership_transactions_are_all_asked_for(network: PeerNetwork) -> None:
    network.admission.transactions = [network.consortium.member(f"m{number}").admit.raw for number in range(7)]
    network.admission.page_size = 3
    anna = await network.add("anna")
    await wait_until_async(lambda: {raw for _, raw in anna.ledger.submitted} == set(network.admission.transactions))


async def test_another_page_than_asked_for_is_refused(network: PeerNetwork, caplog: pytest.LogCaptureFixture) -> None:
    network.admission.transactions = [network.consortium.member(f"m{number}").admit.raw for number in range(3)]
    network.admission.page_size = 1
    network.admission.first_page_only = True
    caplog.set_level("INFO")
    anna = await network.add("anna")
    await wait_until_async(lambda: "membership_not_pulled" in caplog.text)
    assert {raw for _, raw in anna.ledger.submitted} == {network.admission.transactions[0]}


async def test_a_membership_transaction_that_the_authority_did_not_sign_is_not_passed_on(
    network: PeerNetwork,
) -> None:
    good = network.consortium.member("zoe").admit.raw
    forger = network.consortium.member("mallory").wallet
    forged = network.consortium.member("eve", authority=forger).admit.raw
    network.admission.transactions = [forged, b"{}", good]
    anna = await network.add("anna")
    await wait_until_async(lambda: anna.ledger.submitted)
    assert {raw for _, raw in anna.ledger.submitted} == {good}
    assert anna.refused(Code.TX_WRONG_SENDER) >= 1
    assert anna.refused(Code.WRONG_SHAPE) + anna.refused(Code.UNKNOWN_TYPE) >= 1


async def test_memberships_that_are_on_the_tip_are_not_submitted_again(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    network.admission.transactions = [anna.member.admit.raw, network.consortium.member("zoe").admit.raw]
    await network.admission.publish()
    await wait_until_async(lambda: bert.ledger.submitted)
    assert anna.member.admit.raw not in {raw for _, raw in bert.ledger.submitted}


async def test_a_pulled_membership_that_was_new_is_told_to_the_other_members(network: PeerNetwork) -> None:
    _, bert, _ = await three(network)
    new = network.consortium.member("zoe").admit.raw
    network.broker.loses = lambda message: "/consortium/admission/reply" in message.topic and "/bert/" in message.topic
    network.admission.transactions = [new]
    await until_submitted(bert, "anna", new)


async def test_admission_is_told_where_its_transactions_stand_and_nobody_else(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    body = encode(GetTransactionStatus(ids=["ab" * 32]))
    message = await network.admission.requester.request("anna", "peer", "tx_status", body, 5.0)
    reply = msgspec.json.decode(message.payload, type=Reply)
    assert isinstance(reply.body, msgspec.Raw)
    statuses = msgspec.json.decode(bytes(reply.body), type=TransactionStatuses)
    assert [status.state for status in statuses.statuses] == ["unknown"]
    await bert.peer._requester.send("anna", "peer", "tx_status", body)
    refused = anna.refused(Code.FRAME_FOREIGN_SENDER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await bert.peer._requester.request("anna", "peer", "tx_status", body, 5.0)
    assert anna.refused(Code.FRAME_FOREIGN_SENDER) == refused + 1


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


# presence


def told(node: Node, member: str) -> list[ChainTip]:
    """Tips of a member that a node's ledger was told."""
    return [event.tip for event in node.ledger.peer_tips if event.member == member]


async def test_another_tip_than_ours_is_told_to_the_ledger_once_and_the_same_tip_is_not(network: PeerNetwork) -> None:
    anna, bert, cara = await three(network)
    await wait_until_async(lambda: all(anna.peer.presence.tip_of(name) == tip_at(1) for name in ("bert", "cara")))
    anna.ledger.peer_tips.clear()
    await bert.ledger.move(7)
    await wait_until_async(lambda: tip_at(7) in told(anna, "bert"))
    for _ in range(3):
        await anna.peer.presence.tell_all()
    await anna.ledger.move(7)
    await wait_until_async(lambda: anna.peer.ledger_watch.tip == tip_at(7))
    anna.peer.presence._told.clear()
    await anna.peer.presence.tell_all()
    await cara.ledger.move(8)
    await wait_until_async(lambda: tip_at(8) in told(anna, "cara"))
    assert told(anna, "bert") == [tip_at(7)]


async def test_a_tip_is_told_only_once_the_members_answers_can_be_opened(network: PeerNetwork) -> None:
    anna = await network.add("anna", members=roster([network.consortium.member("anna")]), height=5)
    await wait_until_async(lambda: anna.peer.directory.settled)
    cara = await network.add("cara")
    await wait_until_async(lambda: cara.peer.presence.of("anna") is not None and anna.holds_key_of(cara))
    assert told(cara, "anna") == []
    await anna.ledger.move(6, roster([anna.member, cara.member], height=6))
    await wait_until_async(lambda: told(cara, "anna") == [tip_at(6)])


async def test_malformed_presence_is_counted_and_deleted_presence_forgotten(network: PeerNetwork) -> None:
    anna, bert, _ = await three(network)
    await bert.bus.publish(topic(bert, "presence"), b"nonsense", retain=True)
    await until_refused(anna, Code.NOT_JSON, 1)
    assert anna.peer.presence.of("bert") is not None
    zoe = Principal("zoe", "peer")
    operator = network.broker.connect(ADMISSION.member + ".monitor", Rights(publish=("#",), subscribe=()))
    await operator.start()
    tip = ChainTip(height=1, hash="ab" * 32, work="1")
    await operator.publish(mesh(zoe, "presence"), encode(Presence(state="online", version="1", sent_at_ms=1, tip=tip)))
    await wait_until_async(lambda: anna.peer.presence.of("zoe") is not None)
    await operator.publish(mesh(zoe, "presence"), b"")
    await wait_until_async(lambda: anna.peer.presence.of("zoe") is None)
    assert not [told for told in anna.ledger.peer_tips if told.member == "zoe"]
    await operator.stop()


async def test_a_hello_says_which_admission_the_authority_signed(network: PeerNetwork) -> None:
    hellos = await network.spy("mesh/v1/+/+/hello")
    anna = await network.add("anna")
    await wait_until_async(lambda: hellos)
    hello = msgspec.json.decode(hellos[0].payload, type=Hello)
    assert [bytes(raw) for raw in hello.body.membership] == [anna.member.admit.raw]
