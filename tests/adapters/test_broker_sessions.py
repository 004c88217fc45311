"""Sessions on the real broker: what is queued, and what survives a hijacker, a slow reader, a restart, a crash.

Our own bus keeps no session (clean start, no expiry) and fetches what it missed from the others; these tests are of
what the broker promises to whoever does keep one, and of what it may lose.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from minervas_core.identifiers import Principal
from minervas_core.rights import Rights
from minervas_core.topics import inbox_filter, mesh
from minervas_runtime.bus import Message
from tests.support.fix_broker import Broker
from tests.support.raw_mqtt import RawClient
from tests.support.wait import wait_until, wait_until_async

KEPT_S = 600
"""Expiry of the sessions in these tests."""


def inbox_of(recipient: Principal, sender: Principal) -> str:
    return f"inbox/v1/{recipient}/{sender}/tx".replace(".", "/")


def numbered(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


class Pair:
    """A reader with a session that outlives its connection, and somebody who writes to it."""

    def __init__(self, broker: Broker, member: str) -> None:
        self.broker = broker
        self.reader, self.writer = Principal(member, "peer"), Principal(f"{member}-writer", "peer")
        self.reader_files, self.writer_files = broker.admit(self.reader), broker.admit(self.writer)

    def reading(self, *, clean_start: bool = False) -> RawClient:
        return RawClient(
            self.broker, self.reader_files, str(self.reader), clean_start=clean_start, session_expiry_s=KEPT_S
        )

    def leave_subscribed(self) -> None:
        """Subscribe and go; without clean start, or 2.0 would not save the session at its end."""
        with self.reading() as client:
            assert client.subscribe(inbox_filter(self.reader)) == 1

    def write(self, payloads: list[bytes]) -> None:
        with RawClient(self.broker, self.writer_files) as client:
            for payload in payloads:
                assert client.publish(inbox_of(self.reader, self.writer), payload) == 0

    def assert_reads(self, payloads: list[bytes]) -> None:
        with self.reading() as client:
            wait_until(lambda: len(client.received) >= len(payloads), describe="what was queued")
            assert client.payloads() == payloads


def test_who_pretends_to_be_somebody_else_destroys_nothing_of_what_is_queued(broker: Broker, member: str) -> None:
    pair = Pair(broker, member)
    pair.leave_subscribed()
    pair.write(numbered(5))
    hijacker = Principal(f"{member}-hijacker", "peer")
    with RawClient(broker, broker.issue(hijacker), str(pair.reader), clean_start=True) as client:
        assert client.connect_code == 0
        assert client.subscribe(inbox_filter(pair.reader)) >= 0x80
    pair.assert_reads(numbered(5))


def test_sessions_with_what_is_queued_and_rights_survive_a_restart_and_rights_a_crash(own_broker: Broker) -> None:
    """What a crash may cost: sessions and messages since the last save of 2.0 (a minute); 2.1 writes them at once."""
    pair = Pair(own_broker, "acme")
    pair.leave_subscribed()
    pair.write(numbered(20))
    own_broker.server.restart()
    pair.assert_reads(numbered(20))

    pair.write(numbered(20))
    before = own_broker.server.rights_file.read_bytes()
    is_newer = "mosquitto version 2.1" in own_broker.server.output()
    own_broker.server.kill()
    own_broker.server.start()
    assert own_broker.server.rights_file.read_bytes() == before
    if is_newer:
        pair.assert_reads(numbered(20))
    pair.leave_subscribed()
    pair.write(numbered(3))
    pair.assert_reads(numbered(3))


def test_a_broker_that_lost_its_rights_lets_nobody_in_but_admission(own_broker: Broker) -> None:
    """Mosquitto 2.1 would fill a missing file with accounts of its own, one of which may read and write everything."""
    own_broker.admit(Principal("acme", "peer"))
    own_broker.server.stop()
    own_broker.server.rights_file.unlink()
    own_broker.server.start()
    clients, roles = own_broker.control({"command": "listClients"}, {"command": "listRoles"})
    assert clients["data"]["clients"] == ["consortium.admission"]
    assert roles["data"]["roles"] == ["p-consortium.admission"]
    for name in ("admin", "democlient", "acme.peer"):
        with RawClient(own_broker, own_broker.issue(name)) as client:
            assert client.subscribe("#") >= 0x80
            assert client.publish("anything", b"x") >= 0x80


async def test_a_slow_reader_loses_nothing_within_the_limits(broker: Broker, member: str) -> None:
    """The broker's own default, 1,000 messages, would drop the rest and still confirm them to the writer."""
    pair = Pair(broker, member)
    wanted = numbered(2_000)
    with pair.reading(clean_start=True) as slow:
        slow.subscribe(inbox_filter(pair.reader))
        slow.hold.clear()
        bus = broker.bus(pair.writer, pair.writer_files, publish_timeout_s=120.0)
        await bus.start()
        topic = inbox_of(pair.reader, pair.writer)
        await asyncio.gather(*(bus.publish(topic, payload) for payload in wanted))
        await bus.stop()
        assert slow.received == []
        slow.hold.set()
        await wait_until_async(lambda: len(slow.received) >= len(wanted), describe="all messages")
        assert sorted(slow.payloads(), key=int) == wanted


def test_a_shared_group_splits_the_work_and_the_death_of_a_worker_loses_none(broker: Broker, member: str) -> None:
    """No row of the rights table has a group today; this is what one would rest on."""
    topics = "mesh/v1/+/+/tx"
    writer = Principal(f"{member}-writer", "peer")
    files = broker.admit(writer)
    workers = []
    for number in (1, 2):
        name = f"{member}.ledger-{number}"
        broker.grant(name, Rights((), (f"$share/{member}/{topics}", topics)))
        worker = RawClient(broker, broker.issue(name), name).connect()
        assert worker.subscribe(f"$share/{member}/{topics}") == 1
        workers.append(worker)
    first, second = workers

    def done() -> list[bytes]:
        ours = [payload for worker in workers for topic, payload in worker.received if topic == mesh(writer, "tx")]
        return sorted(ours, key=int)

    with RawClient(broker, files) as client:
        for payload in numbered(20):
            client.publish(mesh(writer, "tx"), payload)
        wait_until(lambda: done() == numbered(20), describe="the work to be done")
        assert first.received
        assert second.received
        first.cut()
        for payload in numbered(40)[20:]:
            client.publish(mesh(writer, "tx"), payload)
        wait_until(lambda: done() == numbered(40), describe="the rest by the other worker")
    second.stop()


def test_an_old_protocol_is_refused_where_the_broker_can_and_gives_no_rights(broker: Broker, member: str) -> None:
    """Only 2.1 can refuse it; on 2.0 it has the same rights, but its denials are silent."""
    peer = Principal(member, "peer")
    files = broker.admit(peer)
    client = RawClient(broker, files, str(peer), version=MQTTProtocolVersion.MQTTv311).connect()
    if "mosquitto version 2.1" in broker.server.output():
        assert client.connect_code != 0
        client.stop()
        return
    assert client.connect_code == 0
    observer = Principal(f"{member}-observer", "peer")
    with RawClient(broker, broker.admit(observer)) as watching:
        watching.subscribe("mesh/v1/+/+/tx")
        client.publish(f"mesh/v1/{observer.member}/peer/tx", b"forged")
        client.publish(mesh(peer, "tx"), b"own")
        wait_until(lambda: (mesh(peer, "tx"), b"own") in watching.received, describe="the own message")
        assert b"forged" not in watching.payloads()
    client.stop()


def test_after_a_takeover_the_newer_connection_has_the_last_word(broker: Broker, member: str) -> None:
    """The will of the older one is published before the newer one is let in, so `online` comes after `offline`."""
    peer = Principal(member, "peer")
    files = broker.admit(peer)
    topic = mesh(peer, "presence")
    observer = Principal(f"{member}-observer", "peer")
    with RawClient(broker, broker.admit(observer)) as watching:
        watching.subscribe("mesh/v1/+/+/presence")
        older = RawClient(broker, files, str(peer), will=(topic, b"offline")).connect()
        older.publish(topic, b"online 1", retain=True)
        newer = RawClient(broker, files, str(peer), will=(topic, b"offline")).connect()
        newer.publish(topic, b"online 2", retain=True)

        def seen() -> list[bytes]:
            return [payload for where, payload in watching.received if where == topic]

        wait_until(lambda: b"online 2" in seen(), describe="the newer connection's presence")
        assert seen() == [b"online 1", b"offline", b"online 2"]
    for client in (older, newer):
        client.stop()


async def test_a_renewed_certificate_takes_over_under_load_and_others_lose_nothing(broker: Broker, member: str) -> None:
    renewing, busy, listening = (Principal(f"{member}-{name}", "peer") for name in ("renewing", "busy", "listening"))
    listener = broker.bus(listening, broker.admit(listening))
    other = broker.bus(busy, broker.admit(busy))
    old = broker.bus(renewing, broker.admit(renewing))
    for bus in (listener, other, old):
        await bus.start()
    heard: dict[str, list[int]] = {}

    def hear(message: Message) -> None:
        heard.setdefault(message.topic, []).append(int(message.payload))

    await listener.subscribe("mesh/v1/+/+/hello", hear)
    changes: list[bool] = []
    listener.on_connection_change(changes.append)
    other.on_connection_change(changes.append)
    sent = itertools.count()

    async def talk() -> None:
        while True:
            await other.publish(mesh(busy, "hello"), str(next(sent)).encode())

    talking = asyncio.create_task(talk())
    topic = mesh(busy, "hello")
    await wait_until_async(lambda: len(heard.get(topic, [])) > 50, describe="the load")
    await old.publish(mesh(renewing, "hello"), b"1")
    await old.stop()
    new = broker.bus(renewing, broker.issue(renewing))
    await new.start()
    await new.publish(mesh(renewing, "hello"), b"2")
    await wait_until_async(lambda: heard.get(mesh(renewing, "hello")) == [1, 2], describe="the renewed member")
    reached = len(heard[topic])
    await wait_until_async(lambda: len(heard[topic]) > reached + 50, describe="more load")
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)
    assert heard[topic] == list(range(len(heard[topic])))
    assert changes == []
    for bus in (new, other, listener):
        await bus.stop()


@pytest.mark.parametrize("qos", [0, 1])
def test_nothing_is_delivered_to_a_client_that_was_deleted_while_its_session_slept(
    broker: Broker, member: str, qos: int
) -> None:
    pair = Pair(broker, member)
    pair.leave_subscribed()
    broker.kick(pair.reader)
    with RawClient(broker, pair.writer_files) as client:
        client.publish(inbox_of(pair.reader, pair.writer), b"secret", qos=qos)
    with pair.reading() as late:
        assert late.subscribe(inbox_filter(pair.reader)) >= 0x80
        assert late.received == []
