"""What a certificate alone opens (nothing), what deleting a client does, and what a fresh broker lets in."""

from __future__ import annotations

import asyncio
import json
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from minervas_core.identifiers import Principal
from minervas_core.rights import ADMISSION, rights_for
from minervas_core.topics import inbox_filter, mesh
from minervas_devnet.broker import INFRASTRUCTURE
from minervas_runtime.bus import BusDenied, BusRefused, BusRevoked, Message
from minervas_runtime.tls_diagnosis import client_context
from tests.support.fix_broker import OPERATOR_MEMBER, Broker, dynsec_acls
from tests.support.pki import CertFiles
from tests.support.promises import kept_within
from tests.support.wait import wait_until, wait_until_async


def test_the_bootstrap_file_is_the_rights_table_of_admission_and_nothing_else() -> None:
    bootstrap = json.loads((INFRASTRUCTURE / "dynsec-bootstrap.json").read_text())
    rights = rights_for(ADMISSION, operator_member=OPERATOR_MEMBER)
    assert bootstrap == {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [{"username": "consortium.admission", "roles": [{"rolename": "p-consortium.admission"}]}],
        "groups": [],
        "roles": [{"rolename": "p-consortium.admission", "acls": dynsec_acls(rights)}],
    }


def test_a_fresh_broker_knows_only_admission_and_denies_by_default(own_broker: Broker) -> None:
    clients, access = own_broker.control({"command": "listClients"}, {"command": "getDefaultACLAccess"})
    assert clients["data"]["clients"] == ["consortium.admission"]
    assert {rule["acltype"]: rule["allow"] for rule in access["data"]["acls"]} == {
        "publishClientSend": False,
        "publishClientReceive": False,
        "subscribe": False,
        "unsubscribe": True,
    }


def ignore(message: Message) -> None:
    """Handle a message that must never come."""


@pytest.mark.parametrize("name", ["admin", "democlient", "acme.peer"])
async def test_a_good_certificate_that_nobody_approved_may_do_nothing(broker: Broker, name: str) -> None:
    bus = broker.bus(name, broker.issue(name))
    await bus.start()
    for topic in (f"mesh/v1/{name.partition('.')[0]}/peer/tx", "$CONTROL/dynamic-security/v1", "anything"):
        with pytest.raises(BusDenied):
            await bus.publish(topic, b"x")
    for topic_filter in ("#", "$SYS/#", "mesh/v1/+/+/presence", "inbox/v1/acme/peer/+/+/+"):
        with pytest.raises(BusDenied):
            await bus.subscribe(topic_filter, ignore)
    await bus.stop()


async def test_only_admission_may_command_the_broker(broker: Broker, member: str) -> None:
    peer = Principal(member, "peer")
    bus = broker.bus(peer, broker.admit(peer))
    await bus.start()
    command = {"commands": [{"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe", "allow": True}]}]}
    with pytest.raises(BusDenied):
        await bus.publish("$CONTROL/dynamic-security/v1", json.dumps(command).encode())
    with pytest.raises(BusDenied):
        await bus.subscribe("#", ignore)
    await bus.stop()


async def test_a_deleted_client_is_cut_off_within_a_second_under_load_and_comes_back_to_nothing(
    broker: Broker, member: str
) -> None:
    watcher = Principal(f"{member}-watcher", "peer")
    watching = broker.bus(watcher, broker.admit(watcher))
    await watching.start()
    last_seen: dict[str, float] = {}

    def note(message: Message) -> None:
        last_seen[message.topic] = time.monotonic()

    await watching.subscribe("mesh/v1/+/+/tx", note)

    async def cut_off(number: int) -> float:
        victim = Principal(f"{member}-{number}", "peer")
        topic = mesh(victim, "tx")
        bus = broker.bus(victim, broker.admit(victim), refused_retry_s=0.05)
        await bus.start()
        await bus.subscribe(inbox_filter(victim), note)

        async def flood() -> None:
            while True:
                await bus.publish(topic, b"x")

        flooding = asyncio.create_task(flood())
        await wait_until_async(lambda: topic in last_seen, describe="the flood")
        begin = time.monotonic()
        await asyncio.to_thread(broker.kick, victim)
        with pytest.raises((BusRevoked, BusDenied)):  # 2.1 answers the last publication before it ends the session
            await flooding
        end = time.monotonic()
        # Without a revocation list the connection itself succeeds, but the inbox is denied: it never counts as back.
        await wait_until_async(
            lambda: bus.refusal is not None and not isinstance(bus.refusal, BusRevoked), describe="the next attempt"
        )
        assert isinstance(bus.refusal, BusRefused)
        assert "membership may have ended" in bus.refusal.message
        await bus.stop()
        return max(end, last_seen[topic]) - begin

    await kept_within(1.0, cut_off)
    await watching.stop()


async def test_the_retained_presence_of_a_deleted_member_is_not_delivered_any_more(broker: Broker, member: str) -> None:
    gone, reader = Principal(member, "peer"), Principal(f"{member}-reader", "peer")
    bus = broker.bus(gone, broker.admit(gone))
    await bus.start()
    await bus.publish(mesh(gone, "presence"), b"online", retain=True)
    await bus.stop()
    reading = broker.bus(reader, broker.admit(reader))
    await reading.start()
    got: list[bytes] = []
    await reading.subscribe(f"mesh/v1/{member}/+/presence", lambda message: got.append(message.payload))
    await wait_until_async(lambda: got == [b"online"], describe="the retained presence")
    await asyncio.to_thread(broker.kick, gone)
    again: list[str] = []
    await reading.subscribe("mesh/v1/+/+/presence", lambda message: again.append(message.topic))
    await reading.publish(mesh(reader, "presence"), b"mark")
    await wait_until_async(lambda: mesh(reader, "presence") in again, describe="the mark after the retained ones")
    assert mesh(gone, "presence") not in again
    await reading.stop()


def test_a_client_id_of_somebody_else_is_replaced_by_our_own_name(broker: Broker, member: str) -> None:
    """Otherwise any certificate holder could throw others out and destroy what is queued for them."""
    victim, attacker = Principal(member, "peer"), Principal(f"{member}-attacker", "peer")
    broker.admit(attacker)
    files = broker.issue(attacker)
    held = connect(broker, broker.admit(victim), str(victim))
    hijacker = connect(broker, files, str(victim))
    wait_until(
        lambda: f"as {attacker} (p5" in broker.server.output(), describe="the attacker connected under its own name"
    )
    assert held.is_connected()
    info = held.publish(mesh(victim, "tx"), b"still here", qos=1)
    info.wait_for_publish(5)
    assert info.is_published()
    for client in (held, hijacker):
        client.disconnect()
        client.loop_stop()
        client.reinitialise()


def connect(broker: Broker, files: CertFiles, client_id: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.tls_set_context(client_context(files.ca_file, files.cert_file, files.key_file))
    client.connect(broker.server.host, broker.server.port)
    client.loop_start()
    wait_until(client.is_connected, describe="the connection")
    return client
