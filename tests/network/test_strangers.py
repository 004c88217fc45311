"""Who was not approved gets nowhere; who was can neither speak for others nor disturb them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.messages import HelloBody, sign_hello
from minervas_core.topics import inbox, mesh
from minervas_devnet.node import Node
from minervas_devnet.outsiders import Outsider
from minervas_devnet.ports import LOOPBACK
from minervas_runtime.bus import BusDenied
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

OVERSIZE_BYTES = 1_950_000
"""Below what the broker takes, above what a frame may have."""


def peer_of(node: Node) -> Principal:
    return Principal(node.member, "peer")


def publish_as(node: Node, broker_port: int, *messages: tuple[str, bytes]) -> list[str]:
    """Publish with the certificate of a node's peer, past all of its code; returns the topics that were denied."""

    async def work() -> list[str]:
        issued = node.directory / "issued"
        settings = BusSettings(
            host=LOOPBACK,
            port=broker_port,
            ca_file=issued / "ca.crt",
            cert_file=issued / "certs" / "peer.crt",
            key_file=node.directory / "peer" / "tls.key",
            principal=str(peer_of(node)),
        )
        bus = MqttBus(settings)
        await bus.start()
        denied = []
        for topic, payload in messages:
            try:
                await bus.publish(topic, payload)
            except BusDenied:
                denied.append(topic)
        await bus.stop()
        return denied

    return asyncio.run(work())


def hello_of(node: Node, network: str) -> bytes:
    """A well-formed Hello, signed by a key that is not the member's wallet."""
    body = HelloBody(
        network=network,
        member=node.member,
        epoch=7,
        key_id=secrets.token_hex(16),
        sent_at_ms=1_800_000_000_000,
        membership=[],
    )
    return encode(sign_hello(body, SigningKey(secrets.token_bytes(32))))


@contextmanager
def certificate_in_wrong_hands(node: Node) -> Iterator[None]:
    """Stop a node's peer, so that its certificate can be used by somebody else."""
    node.services["peer"].stop()
    yield
    node.services["peer"].start()
    node.wait_ready()


@pytest.mark.parametrize(("attempt", "reason"), [
    ("try_self_made", "not issued by the certificate authority of this consortium"),
    ("try_unapproved", "bus_denied"),
])  # fmt: skip
def test_node_without_approval_is_refused_with_the_reason(network: Network, attempt: str, reason: str) -> None:
    consortium = network.consortium
    node = consortium.make_outsider(f"stranger-{secrets.token_hex(4)}")
    said = getattr(Outsider(node, consortium.admission, consortium.broker.port), attempt)()
    assert reason in said
    assert node.services["miner"].exit_status == 1
    network.goes_on()


def test_member_cannot_publish_on_topics_of_others(network: Network) -> None:
    alpha, beta, gamma = (peer_of(node) for node in (network.alpha, network.beta, network.gamma))
    admission = Principal("consortium", "admission")
    forged = [
        mesh(alpha, "block"),
        mesh(alpha, "presence"),
        mesh(admission, "tx"),
        mesh(Principal("gamma", "ledger"), "presence"),
        inbox(beta, alpha, "get_headers"),
        inbox(Principal("alpha", "ledger"), alpha, "block"),
        "$CONTROL/dynamic-security/v1",
    ]
    own = mesh(gamma, "hello")
    with certificate_in_wrong_hands(network.gamma):
        broker_port = network.consortium.broker.port
        denied = publish_as(network.gamma, broker_port, *((topic, b"x") for topic in [*forged, own]))
    assert denied == forged
    network.goes_on()


def test_bad_frames_of_a_member_are_counted_and_disturb_nobody(network: Network) -> None:
    gamma = peer_of(network.gamma)
    hello = hello_of(network.gamma, network.network_id)
    garbage = [
        ("hello", b"not json at all", "not_json"),
        ("hello", hello.replace(b'"epoch":7', b'"epoch":7.5'), "wrong_shape"),
        ("hello", hello.replace(b'"epoch":7', b'"epoch":7,"epoch":7'), "not_canonical"),
        ("hello", hello.replace(b'"epoch":7', b'"epoch":7,"extra":1'), "wrong_shape"),
        ("hello", b"{" * 100_000, "too_large"),
        ("hello", hello, "bad_signature"),
        ("block", b"\0\1garbage", "bad_frame"),
        ("tx", secrets.token_bytes(3_000), "bad_frame"),
        ("tx", secrets.token_bytes(OVERSIZE_BYTES), "too_large"),
    ]
    watchers = (network.alpha, network.beta)
    before = {node.member: network.refusals(node) for node in watchers}
    pids = [node.services["peer"].pid for node in watchers]
    with certificate_in_wrong_hands(network.gamma):
        messages = ((mesh(gamma, kind), payload) for kind, payload, _ in garbage)
        assert not publish_as(network.gamma, network.consortium.broker.port, *messages)
        network.wait_blocks(1, *watchers)
    wanted = {code: sum(1 for *_, each in garbage if each == code) for *_, code in garbage}

    def counted() -> bool:
        return all(
            network.refusals(node).get(code, 0) - before[node.member].get(code, 0) >= number
            for node in watchers
            for code, number in wanted.items()
        )

    wait_until(counted, SYNC_TIMEOUT_S, lambda: f"{before} {[network.refusals(node) for node in watchers]}")
    network.goes_on()
    assert [node.services["peer"].pid for node in watchers] == pids
