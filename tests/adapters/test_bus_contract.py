"""What every bus does, in memory and over Mosquitto alike (design section 3)."""

from __future__ import annotations

import asyncio

import pytest

from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import Principal
from minervas_core.topics import inbox, inbox_filter, mesh
from minervas_runtime.bus import BusDenied, BusOffline, BusRevoked, Message, PayloadTooLarge, Will
from tests.support.fix_bus import BusWorld
from tests.support.wait import HANG_S, wait_until_async

TX = "mesh/v1/+/+/tx"


def peer(world: BusWorld) -> Principal:
    return Principal(world.member(), "peer")


class Inbox:
    """A handler that keeps what it gets and can be awaited."""

    def __init__(self, *, only_from: Principal | None = None) -> None:
        self.messages: list[Message] = []
        self._only = f"/{only_from.member}/" if only_from else ""
        self._arrived = asyncio.Event()

    def __call__(self, message: Message) -> None:
        if self._only in message.topic:
            self.messages.append(message)
            self._arrived.set()

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    async def wait(self, count: int = 1, timeout_s: float = HANG_S) -> list[Message]:
        async with asyncio.timeout(timeout_s):
            while len(self.messages) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.messages


async def test_a_published_message_arrives_as_it_was_sent(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    sender, receiver = await bus_world.connect(alice), await bus_world.connect(bob)
    inbox_of_bob = Inbox()
    await receiver.subscribe(inbox_filter(bob), inbox_of_bob)
    topic = inbox(bob, alice, "get_headers")
    await sender.publish(topic, b"\x00\xff", response_topic=inbox(alice, bob, "reply"), correlation=b"0123456789abcdef")
    (message,) = await inbox_of_bob.wait()
    assert message == Message(
        topic, b"\x00\xff", response_topic=inbox(alice, bob, "reply"), correlation=b"0123456789abcdef"
    )


async def test_messages_of_one_sender_keep_their_order(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    got = Inbox(only_from=alice)
    await bus.subscribe(TX, got)
    await asyncio.gather(*(bus.publish(mesh(alice, "tx"), str(number).encode()) for number in range(300)))
    await got.wait(300)
    assert got.payloads == [str(number).encode() for number in range(300)]


async def test_a_filter_gets_what_it_covers_and_nothing_else(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    got = Inbox(only_from=alice)
    await bus.subscribe(TX, got)
    await bus.publish(mesh(alice, "block"), b"not asked for")
    await bus.publish(mesh(alice, "tx"), b"asked for")
    await got.wait()
    assert got.payloads == [b"asked for"]


async def test_a_multi_level_filter_covers_deeper_topics(bus_world: BusWorld) -> None:
    member = bus_world.member()
    gateway, ledger = Principal(member, "meter-gateway"), Principal(member, "ledger")
    sender, reader = await bus_world.connect(gateway), await bus_world.connect(ledger)
    got = Inbox()
    await reader.subscribe(f"mesh/v1/{member}/+/reading/#", got)
    await sender.publish(mesh(gateway, "reading", "roof", "ch2"), b"230 V")
    assert (await got.wait())[0].topic == mesh(gateway, "reading", "roof", "ch2")


async def test_every_handler_of_a_filter_gets_every_message_once(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    first, second = Inbox(only_from=alice), Inbox(only_from=alice)
    await bus.subscribe(TX, first)
    await bus.subscribe(TX, second)
    for payload in (b"1", b"2"):
        await bus.publish(mesh(alice, "tx"), payload)
    await first.wait(2)
    await second.wait(2)
    assert first.payloads == second.payloads == [b"1", b"2"]


async def test_a_retained_message_waits_for_later_subscribers_and_is_marked(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    sender, reader = await bus_world.connect(alice), await bus_world.connect(bob)
    await sender.publish(mesh(alice, "presence"), b"online", retain=True)
    got = Inbox(only_from=alice)
    await reader.subscribe("mesh/v1/+/+/presence", got)
    (message,) = await got.wait()
    assert (message.payload, message.retain) == (b"online", True)
    await sender.publish(mesh(alice, "presence"), b"still online", retain=True)
    await got.wait(2)
    assert (got.messages[1].payload, got.messages[1].retain) == (b"still online", False)


async def test_an_empty_retained_message_takes_the_retained_one_away(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    await bus.publish(mesh(alice, "presence"), b"online", retain=True)
    await bus.publish(mesh(alice, "presence"), b"", retain=True)
    got = Inbox(only_from=alice)
    await bus.subscribe("mesh/v1/+/+/presence", got)
    await bus.publish(mesh(alice, "presence"), b"live")
    await got.wait()
    assert [(message.payload, message.retain) for message in got.messages] == [(b"live", False)]


@pytest.mark.parametrize("end", ["stop", "cut"])
async def test_the_will_is_published_however_the_connection_ends(bus_world: BusWorld, end: str) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    leaving = await bus_world.connect(alice, will=Will(mesh(alice, "presence"), b"offline"))
    if end == "stop":
        await leaving.stop()
    else:
        bus_world.cut()
        await wait_until_async(lambda: not leaving.connected, describe="the loss of the connection")
        await leaving.stop()
        bus_world.restore()
    got = Inbox(only_from=alice)
    await (await bus_world.connect(bob)).subscribe("mesh/v1/+/+/presence", got)
    assert (await got.wait())[0].payload == b"offline"


FORGED = [
    pytest.param("mesh/v1/{bob}/peer/tx", id="other member's outbox"),
    pytest.param("mesh/v1/{alice}/ledger/presence", id="own other service"),
    pytest.param("inbox/v1/{alice}/peer/{bob}/peer/reply", id="inbox in another member's name"),
    pytest.param("inbox/v1/{bob}/ledger/{alice}/peer/submit", id="other node's ledger"),
    pytest.param("mesh/v1/{alice}/peer/reading", id="kind of another service"),
    pytest.param("$CONTROL/dynamic-security/v1", id="broker control"),
    pytest.param("somewhere/else", id="outside the topic tree"),
]


@pytest.mark.parametrize("topic", FORGED)
@pytest.mark.parametrize("retain", [False, True])
async def test_a_publish_beyond_our_rights_is_denied_and_reaches_nobody(
    bus_world: BusWorld, topic: str, retain: bool
) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    forger, victim = await bus_world.connect(alice), await bus_world.connect(bob)
    got = Inbox()
    await victim.subscribe(inbox_filter(bob), got)
    with pytest.raises(BusDenied) as denied:
        await forger.publish(topic.format(alice=alice.member, bob=bob.member), b"forged", retain=retain)
    assert denied.value.code == Code.BUS_DENIED
    await forger.publish(inbox(bob, alice, "sender_key"), b"honest")
    await got.wait()
    assert got.payloads == [b"honest"]


@pytest.mark.parametrize(
    "topic_filter",
    ["#", "+/#", "mesh/#", "mesh/v1/+/+/#", "inbox/v1/{other}/peer/+/+/+", "inbox/#", "$SYS/#", "$CONTROL/#"],
)
async def test_a_subscription_beyond_our_rights_is_denied(bus_world: BusWorld, topic_filter: str) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    bus = await bus_world.connect(alice)
    with pytest.raises(BusDenied):
        await bus.subscribe(topic_filter.format(other=bob.member), Inbox())
    await bus.subscribe(inbox_filter(alice), Inbox())


async def test_a_narrower_subscription_than_our_right_is_granted(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    bus, other = await bus_world.connect(alice), await bus_world.connect(bob)
    got = Inbox()
    await bus.subscribe(f"mesh/v1/{bob.member}/+/tx", got)
    await bus.publish(mesh(alice, "tx"), b"not hers")
    await other.publish(mesh(bob, "tx"), b"hers")
    await got.wait()
    assert got.payloads == [b"hers"]


async def test_a_payload_over_the_limit_is_refused_before_it_is_sent(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    changes: list[bool] = []
    bus.on_connection_change(changes.append)
    with pytest.raises(PayloadTooLarge) as refused:
        await bus.publish(mesh(alice, "tx"), bytes(bus.max_payload_bytes + 1))
    assert refused.value.values["max_bytes"] == bus.max_payload_bytes
    await bus.publish(mesh(alice, "tx"), b"small")
    assert changes == []


async def test_a_payload_of_the_largest_size_arrives(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    sender, receiver = await bus_world.connect(alice), await bus_world.connect(bob)
    got = Inbox()
    await receiver.subscribe(inbox_filter(bob), got)
    await sender.publish(inbox(bob, alice, "x" * 100), bytes(sender.max_payload_bytes), correlation=bytes(64))
    assert len((await got.wait())[0].payload) == sender.max_payload_bytes


async def test_one_message_that_fails_in_the_handler_does_not_stop_the_next(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    got = Inbox(only_from=alice)

    async def handle(message: Message) -> None:
        if message.payload == b"peer's fault":
            raise InvalidFrame(Code.BAD_FRAME, "bad")
        if message.payload == b"our fault":
            raise ZeroDivisionError
        got(message)

    await bus.subscribe(TX, handle)
    for payload in (b"peer's fault", b"our fault", b"good"):
        await bus.publish(mesh(alice, "tx"), payload)
    await got.wait()
    assert got.payloads == [b"good"]


async def test_a_slow_handler_costs_a_bounded_amount_of_memory(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    sender, receiver = await bus_world.connect(alice), await bus_world.connect(bob)
    go_on = asyncio.Event()
    got = Inbox()

    async def slow(message: Message) -> None:
        await go_on.wait()
        got(message)

    quick = Inbox()
    await receiver.subscribe(inbox_filter(bob), slow)
    await receiver.subscribe(TX, quick)
    for number in range(40):
        await sender.publish(inbox(bob, alice, "bulk"), number.to_bytes(1, "big") * 1_000_000)
    await sender.publish(mesh(alice, "tx"), b"meanwhile")
    await quick.wait()
    await wait_until_async(lambda: receiver.dropped >= 5, describe=lambda: f"dropped {receiver.dropped}")
    go_on.set()
    await got.wait(40 - receiver.dropped)
    assert got.payloads[-1][0] == 39, "the newest message stays"
    assert receiver.dropped == 6, "33 of a million bytes fit into 32 MiB, and one is in the handler's hands"


async def test_publishing_while_offline_raises_after_the_timeout(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    bus_world.cut()
    with pytest.raises(BusOffline) as offline:
        await bus.publish(mesh(alice, "tx"), b"lost")
    assert offline.value.code == Code.BUS_OFFLINE


async def test_publishing_waits_for_a_connection_that_comes_back_in_time(bus_world: BusWorld) -> None:
    alice, bob = peer(bus_world), peer(bus_world)
    bus = await bus_world.connect(alice)
    bus_world.cut()
    await wait_until_async(lambda: not bus.connected, describe="the loss of the connection")
    waiting = asyncio.create_task(bus.publish(mesh(alice, "presence"), b"late", retain=True))
    bus_world.restore()
    await waiting
    got = Inbox(only_from=alice)
    await (await bus_world.connect(bob)).subscribe("mesh/v1/+/+/presence", got)
    assert (await got.wait())[0].payload == b"late"


async def test_subscriptions_are_in_place_again_when_the_reconnect_is_announced(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    got = Inbox(only_from=alice)
    await bus.subscribe(TX, got)
    changes: list[bool] = []
    back = asyncio.Event()

    def on_change(connected: bool) -> None:
        changes.append(connected)
        if connected:
            back.set()

    bus.on_connection_change(on_change)
    bus_world.cut()
    await wait_until_async(lambda: changes == [False], describe="the loss of the connection")
    assert not bus.connected
    bus_world.restore()
    async with asyncio.timeout(HANG_S):
        await back.wait()
    await bus.publish(mesh(alice, "tx"), b"after")
    await got.wait()
    assert changes == [False, True]


async def test_a_failing_connection_callback_does_not_keep_others_from_knowing(bus_world: BusWorld) -> None:
    bus = await bus_world.connect(peer(bus_world))
    changes: list[bool] = []

    def fail(connected: bool) -> None:
        raise ZeroDivisionError

    bus.on_connection_change(fail)
    bus.on_connection_change(changes.append)
    bus_world.cut()
    await wait_until_async(lambda: changes == [False], describe="the loss of the connection")


async def test_a_session_that_the_operator_ends_is_reported_as_revoked(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    bus_world.kick(alice)
    await wait_until_async(lambda: bus.refusal is not None, describe="the end of the session")
    assert isinstance(bus.refusal, BusRevoked)
    assert not bus.connected
    with pytest.raises(BusRevoked):
        await bus.publish(mesh(alice, "tx"), b"too late")


async def test_a_stopped_bus_publishes_nothing(bus_world: BusWorld) -> None:
    alice = peer(bus_world)
    bus = await bus_world.connect(alice)
    await bus.stop()
    assert not bus.connected
    with pytest.raises(BusOffline):
        await bus.publish(mesh(alice, "tx"), b"never")


async def test_start_waits_for_a_broker_that_is_away(bus_world: BusWorld) -> None:
    bus_world.cut()
    bus = bus_world.bus(peer(bus_world))
    starting = asyncio.create_task(bus.start())
    done, _ = await asyncio.wait({starting}, timeout=0.3)
    assert not done
    bus_world.restore()
    async with asyncio.timeout(HANG_S):
        await starting
    assert bus.connected
