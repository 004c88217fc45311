"""The link between the services of one node: sealed under the node key, events in order, requests side by side."""

from __future__ import annotations

import asyncio

import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidBlock, TransientFault
from minervas_core.frames import seal_node
from minervas_core.identifiers import Principal
from minervas_core.messages import ChainTip, Failure, GetHeaders, Headers, Reply
from minervas_core.node_messages import GetStatus, GetTemplate, PeerTip, Stored
from minervas_core.topics import inbox
from minervas_runtime.bus import Message
from minervas_runtime.metrics import REFUSALS
from minervas_runtime.node_link import NodeLink, RemoteError, RemoteFault, RemoteTrouble
from minervas_runtime.pending_replies import NoReply
from minervas_runtime.randomness import new_secret
from tests.support.fix_bus import BusWorld, CountingBus
from tests.support.wait import wait_until_async

NETWORK = "ab" * 16
NODE_KEY = b"k" * 32
TIP = ChainTip(height=1, hash="0" * 64, work="1f")


def refusals(service: str, kind: str, code: Code) -> float:
    return float(REFUSALS.labels(service, kind, code)._value.get())


async def link(world: BusWorld, member: str, service: str, key: bytes = NODE_KEY) -> tuple[CountingBus, NodeLink]:
    bus = await world.connect(Principal(member, service))
    made = NodeLink(bus, key, member, service, NETWORK)
    await made.start()
    return bus, made


async def test_a_request_is_answered_by_the_other_service(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer")
    _, ledger = await link(bus_world, member, "ledger")
    asked: list[tuple[GetHeaders, str]] = []

    async def answer(body: GetHeaders, sender: str) -> Headers:
        asked.append((body, sender))
        return Headers(headers=[])

    ledger.on("get_headers", GetHeaders, answer)
    request = GetHeaders(locator=["0" * 64], limit=5)
    assert await peer.request("ledger", "get_headers", request, Headers, 5) == Headers(headers=[])
    assert asked == [(request, "peer")]


async def test_a_handler_without_an_answer_confirms_with_an_empty_one(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, miner = await link(bus_world, member, "miner")
    _, ledger = await link(bus_world, member, "ledger")

    async def store(body: GetTemplate, sender: str) -> None:
        return None

    ledger.on("abandoned", GetTemplate, store)
    assert await miner.request("ledger", "abandoned", GetTemplate(), Stored, 5) == Stored()


async def test_nothing_readable_of_a_node_message_is_on_the_bus(bus_world: BusWorld) -> None:
    member = bus_world.member()
    ledger_bus, _ = await link(bus_world, member, "ledger")
    _, peer = await link(bus_world, member, "peer")
    seen: list[Message] = []
    await ledger_bus.subscribe(f"inbox/v1/{member}/ledger/+/+/+", seen.append)
    await peer.send("ledger", "peer_tip", PeerTip(member="somebody-special", tip=TIP))
    await wait_until_async(lambda: seen, describe="the message")
    assert b"somebody-special" not in seen[0].payload


async def test_events_of_one_kind_are_handled_in_order_one_at_a_time(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer")
    _, ledger = await link(bus_world, member, "ledger")
    trace: list[tuple[str, int]] = []

    async def note(body: PeerTip, sender: str) -> None:
        trace.append(("begin", body.tip.height))
        await asyncio.sleep(0)
        trace.append(("end", body.tip.height))

    ledger.on("peer_tip", PeerTip, note)
    for height in range(5):
        await peer.send(
            "ledger", "peer_tip", PeerTip(member=member, tip=ChainTip(height=height, hash="0" * 64, work="1"))
        )
    await wait_until_async(lambda: len(trace) == 10, describe="five events")
    assert trace == [(step, height) for height in range(5) for step in ("begin", "end")]


async def test_a_slow_request_does_not_hold_up_another(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer")
    _, ledger = await link(bus_world, member, "ledger")
    release = asyncio.Event()

    async def answer(body: GetHeaders, sender: str) -> Headers:
        if body.limit == 1:
            await release.wait()
        return Headers(headers=[])

    ledger.on("get_headers", GetHeaders, answer)
    slow = asyncio.create_task(peer.request("ledger", "get_headers", GetHeaders(locator=[], limit=1), Headers, 10))
    await peer.request("ledger", "get_headers", GetHeaders(locator=[], limit=2), Headers, 5)
    assert not slow.done()
    release.set()
    await slow


async def test_a_handler_may_ask_the_asker_back(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer")
    _, ledger = await link(bus_world, member, "ledger")

    async def ask_back(body: GetStatus, sender: str) -> Headers:
        return await ledger.request("peer", "fetch_headers", GetHeaders(locator=[], limit=1), Headers, 5)

    async def answer(body: GetHeaders, sender: str) -> Headers:
        return Headers(headers=[])

    ledger.on("status", GetStatus, ask_back)
    peer.on("fetch_headers", GetHeaders, answer)
    assert await peer.request("ledger", "status", GetStatus(), Headers, 5) == Headers(headers=[])


@pytest.mark.parametrize(
    ("raised", "family", "code"),
    [
        (InvalidBlock(Code.BLOCK_WORK, "not enough work"), RemoteFault, Code.BLOCK_WORK),
        (TransientFault(Code.DATABASE_AWAY, "no database"), RemoteTrouble, Code.DATABASE_AWAY),
        (ZeroDivisionError(), RemoteFault, Code.INTERNAL),
    ],
)
async def test_an_error_of_the_handler_reaches_the_requester_with_its_code(
    bus_world: BusWorld, raised: Exception, family: type[RemoteError], code: Code
) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer")
    _, ledger = await link(bus_world, member, "ledger")

    async def fail(body: GetStatus, sender: str) -> None:
        raise raised

    ledger.on("status", GetStatus, fail)
    with pytest.raises(family) as refused:
        await peer.request("ledger", "status", GetStatus(), Stored, 5)
    assert refused.value.code == code
    assert isinstance(refused.value, TransientFault) == (family is RemoteTrouble)


async def test_an_error_code_of_a_newer_version_counts_as_internal(bus_world: BusWorld) -> None:
    member = bus_world.member()
    me, other = Principal(member, "peer"), Principal(member, "ledger")
    _, peer = await link(bus_world, member, "peer")
    ledger_bus = await bus_world.connect(other)

    async def answer(message: Message) -> None:
        topic, correlation = inbox(me, other, "reply"), message.correlation or b""
        reply = Reply(failure=Failure(code="invented_later", message="?"))
        await ledger_bus.publish(
            topic, sealed(encode(reply), topic, member, correlation=correlation), correlation=correlation
        )

    await ledger_bus.subscribe(f"inbox/v1/{member}/ledger/+/+/+", answer)
    with pytest.raises(RemoteFault) as refused:
        await peer.request("ledger", "status", GetStatus(), Stored, 5)
    assert (refused.value.code, refused.value.values["remote_code"]) == (Code.INTERNAL, "invented_later")


async def test_no_answer_raises_a_timeout(bus_world: BusWorld) -> None:
    _, peer = await link(bus_world, bus_world.member(), "peer")
    with pytest.raises(NoReply):
        await peer.request("ledger", "status", GetStatus(), Stored, 0.2)


def sealed(plaintext: bytes, topic: str, member: str, key: bytes = NODE_KEY, correlation: bytes = b"") -> bytes:
    return seal_node(
        plaintext,
        topic=topic,
        correlation=correlation,
        network=NETWORK,
        member=member,
        node_key=key,
        nonce=bytes(24),
        sent_at_ms=0,
    )


BAD_FRAMES = [
    pytest.param(Code.BAD_FRAME, {"raw": b"not a frame"}, id="garbage"),
    pytest.param(Code.FRAME_UNSEALABLE, {"key": new_secret()}, id="another node's key"),
    pytest.param(Code.FRAME_FOREIGN_SENDER, {"member": "somebody-else"}, id="header names another member"),
    pytest.param(Code.FRAME_UNSEALABLE, {"topic": "inbox/v1/m/ledger/m/peer/tip"}, id="sealed for another topic"),
    pytest.param(Code.WRONG_SHAPE, {"plaintext": b'{"height":1}'}, id="unknown field"),
    pytest.param(Code.NOT_CANONICAL, {"plaintext": b"{ }"}, id="not canonical"),
    pytest.param(Code.NOT_JSON, {"plaintext": b"\xff"}, id="not JSON"),
]


@pytest.mark.parametrize(("code", "wrong"), BAD_FRAMES)
async def test_a_bad_frame_is_refused_and_the_next_one_is_handled(
    bus_world: BusWorld, code: Code, wrong: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    member = bus_world.member()
    me, peer_name = Principal(member, "ledger"), Principal(member, "peer")
    _, ledger = await link(bus_world, member, "ledger")
    handled: list[GetStatus] = []

    async def note(body: GetStatus, sender: str) -> None:
        handled.append(body)

    ledger.on("status", GetStatus, note)
    bus = await bus_world.connect(peer_name)
    topic = inbox(me, peer_name, "status")
    good: dict[str, object] = {"plaintext": b"{}", "topic": topic, "member": member, "key": NODE_KEY}
    parts = {**good, **wrong}
    frame = parts.pop("raw", None) or sealed(**parts)  # type: ignore[arg-type]  # the names are those of `sealed`
    assert isinstance(frame, bytes)
    await bus.publish(topic, frame)
    await bus.publish(topic, sealed(b"{}", topic, member))
    await wait_until_async(lambda: handled, describe="the good frame")
    assert handled == [GetStatus()]
    refused = [record.fields["code"] for record in caplog.records if record.message == "message_refused"]  # type: ignore[attr-defined]
    assert refused == [code]


async def test_a_request_that_does_not_open_gets_no_answer_but_is_counted(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, peer = await link(bus_world, member, "peer", key=new_secret())
    _, ledger = await link(bus_world, member, "ledger")

    async def answer(body: GetStatus, sender: str) -> None:
        return None

    ledger.on("status", GetStatus, answer)
    before = refusals("ledger", "status", Code.FRAME_UNSEALABLE)
    with pytest.raises(NoReply):
        await peer.request("ledger", "status", GetStatus(), Stored, 0.2)
    assert refusals("ledger", "status", Code.FRAME_UNSEALABLE) == before + 1


async def test_messages_of_other_members_are_left_to_the_requester(bus_world: BusWorld) -> None:
    member = bus_world.member()
    _, me = await link(bus_world, member, "peer")
    stranger = Principal(bus_world.member(), "peer")
    stranger_bus = await bus_world.connect(stranger)
    _, ledger = await link(bus_world, member, "ledger")
    handled: list[str] = []

    async def note(body: GetTemplate, sender: str) -> None:
        handled.append(sender)

    me.on("tip", GetTemplate, note)
    topic = inbox(Principal(member, "peer"), stranger, "tip")
    await stranger_bus.publish(topic, sealed(b"{}", topic, stranger.member))
    await ledger.send("peer", "tip", GetTemplate())
    await wait_until_async(lambda: handled, describe="the message of our own ledger")
    assert handled == ["ledger"]
