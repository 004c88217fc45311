"""Whole peers on an in-memory broker with the real rights: membership and presence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.messages import (
    ChainTip,
    GetTransactionStatus,
    Hello,
    Presence,
    Reply,
    TransactionStatuses,
)
from minervas_core.rights import ADMISSION, Rights
from minervas_core.topics import mesh
from tests.support.peer import replace_authority, roster
from tests.support.peer_network import Node, PeerNetwork, tip_at
from tests.support.peer_nodes import three, topic, until_refused, until_submitted
from tests.support.wait import wait_until_async


@pytest.fixture
async def network() -> AsyncIterator[PeerNetwork]:
    async with PeerNetwork() as made:
        yield made


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


async def test_what_a_new_authority_signed_is_passed_on_once_admission_has_named_it(network: PeerNetwork) -> None:
    new, stranger = (network.consortium.member(name).wallet for name in ("new", "stranger"))
    change = replace_authority(network.consortium.genesis, network.consortium.authority, new)
    by_new = network.consortium.member("zoe", authority=new).admit.raw
    by_stranger = network.consortium.member("eve", authority=stranger).admit.raw
    network.admission.transactions = [change, by_stranger, by_new]
    anna = await network.add("anna")
    await until_submitted(anna, "consortium", by_new)
    assert {raw for _, raw in anna.ledger.submitted} == {change, by_new}


async def test_a_change_of_the_authority_that_is_on_the_tip_is_not_submitted_again(network: PeerNetwork) -> None:
    anna, *_ = await three(network)
    new = network.consortium.member("new").wallet
    anna.ledger.authority = new.public
    await anna.ledger.move(3)
    await wait_until_async(lambda: anna.peer.exchange.authorities.on_tip == new.public)
    by_old, by_new = (network.consortium.member("zoe", authority=key).admit.raw for key in (None, new))
    change = replace_authority(network.consortium.genesis, network.consortium.authority, new)
    network.admission.transactions = [change, by_old, by_new]
    await network.admission.publish()
    await until_submitted(anna, "consortium", by_new)
    assert not {change, by_old} & {raw for _, raw in anna.ledger.submitted}


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
