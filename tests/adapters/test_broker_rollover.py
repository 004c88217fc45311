"""Two CAs side by side, and a server certificate that is renewed, while clients stay connected.

A CA whose revocation list is missing has all its clients refused, and a server certificate that does not fit its key
ends Mosquitto, so neither may ever reach it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from minervas_core.identifiers import Principal
from minervas_core.topics import mesh
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.tls_diagnosis import client_context
from tests.support.fix_broker import Broker
from tests.support.pki import DAY, HOUR, Authority, CertFiles, publish, publish_crl
from tests.support.wait import wait_until_async

STAYING = Principal("staying", "peer")


def is_accepted(broker: Broker, files: CertFiles) -> bool:
    return broker.probe(files).verdict == "accepted"


@pytest.fixture
def second(own_broker: Broker) -> Authority:
    """The new CA, which the broker does not know yet."""
    return Authority(own_broker.authority.directory.parent / "second-ca", name="Second CA")


def publish_both(broker: Broker, second: Authority) -> None:
    """What admission publishes at the beginning of a rollover."""
    publish_crl(broker.export_dir, broker.authority.crl_pem() + second.crl_pem())
    publish(broker.export_dir, "ca.crt", broker.authority.ca_pem + second.ca_pem)


def of_second(broker: Broker, second: Authority, name: str) -> CertFiles:
    """A client's certificate by the new CA; the client still trusts the broker's old one."""
    return second.issue(name, trusting=broker.authority.ca_file)


async def staying_bus(broker: Broker) -> tuple[MqttBus, list[bool]]:
    """A connected client, and a list of what it hears of its connection."""
    bus = broker.bus(STAYING, broker.admit(STAYING))
    await bus.start()
    changes: list[bool] = []
    bus.on_connection_change(changes.append)
    return bus, changes


def served_certificate(broker: Broker, files: CertFiles) -> x509.Certificate:
    """The certificate that the broker shows."""
    context = client_context(files.ca_file, files.cert_file, files.key_file)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((broker.server.host, broker.server.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


async def test_two_cas_with_two_lists_are_in_use_side_by_side_and_nobody_notices(
    own_broker: Broker, second: Authority
) -> None:
    bus, changes = await staying_bus(own_broker)
    old, new = own_broker.issue("old.peer"), of_second(own_broker, second, "new.peer")
    assert not is_accepted(own_broker, new)
    publish_both(own_broker, second)
    own_broker.server.wait_for_log("CA certificates reloaded")
    own_broker.server.wait_for_log("Reloading config")
    assert (is_accepted(own_broker, old), is_accepted(own_broker, new)) == (True, True)
    own_broker.authority.revoke(old.certificate)
    second.revoke(new.certificate)
    reloads = own_broker.server.output().count("revocation list reloaded")
    publish_crl(own_broker.export_dir, second.crl_pem() + own_broker.authority.crl_pem())
    own_broker.wait_for_count("revocation list reloaded", reloads + 1)
    own_broker.wait_until_refused(old)
    own_broker.wait_until_refused(new)
    assert is_accepted(own_broker, own_broker.issue("other.peer"))
    assert is_accepted(own_broker, of_second(own_broker, second, "other.peer"))
    await bus.publish(mesh(STAYING, "tx"), b"still here")
    assert changes == []
    await bus.stop()


def test_at_the_end_of_a_rollover_the_old_ca_opens_nothing_any_more(own_broker: Broker, second: Authority) -> None:
    publish_both(own_broker, second)
    own_broker.server.wait_for_log("CA certificates reloaded")
    publish_crl(own_broker.export_dir, second.crl_pem())
    own_broker.server.wait_for_log("revocation list ignored: no list of a CA in ca.crt")
    publish(own_broker.export_dir, "ca.crt", second.ca_pem)
    old = own_broker.issue("old.peer")
    own_broker.wait_until_refused(old)
    assert is_accepted(own_broker, of_second(own_broker, second, "new.peer"))
    assert "revocation list reloaded" in own_broker.server.output()


def test_a_ca_comes_into_use_only_with_its_list(own_broker: Broker, second: Authority) -> None:
    old, new = own_broker.issue("old.peer"), of_second(own_broker, second, "new.peer")
    publish(own_broker.export_dir, "ca.crt", own_broker.authority.ca_pem + second.ca_pem)
    own_broker.server.wait_for_log("CA certificates ignored: no revocation list of one of them yet")
    assert (is_accepted(own_broker, old), is_accepted(own_broker, new)) == (True, False)
    publish_crl(own_broker.export_dir, own_broker.authority.crl_pem() + second.crl_pem())
    own_broker.server.wait_for_log("CA certificates reloaded")
    own_broker.wait_until_accepted(new)
    assert is_accepted(own_broker, old)


def test_after_a_restart_what_admission_published_counts_and_not_what_the_broker_began_with(
    own_broker: Broker, second: Authority
) -> None:
    publish_crl(own_broker.export_dir, second.crl_pem())
    publish(own_broker.export_dir, "ca.crt", second.ca_pem)
    publish(own_broker.export_dir, "server.crt", second.sign_server(own_broker.server.csr_file.read_bytes()))
    own_broker.server.restart()
    new = second.issue("new.peer")
    assert is_accepted(own_broker, new)
    assert not is_accepted(own_broker, own_broker.authority.issue("old.peer", trusting=second.ca_file))


def damaged(authority: Authority, name: str) -> bytes:
    """Contents of ca.crt that must never reach Mosquitto."""
    other = Authority(authority.directory / name, name="Other CA")
    return {
        "garbage": b"garbage",
        "cut": authority.ca_pem[:200],
        "no CA": other.issue("acme.peer").cert_file.read_bytes(),
        "a list": authority.crl_pem(),
        "frame": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }[name]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("garbage", "not a PEM file of kind CERTIFICATE"),
        ("cut", "not a PEM file of kind CERTIFICATE"),
        ("no CA", "not a CA certificate"),
        ("a list", "not a PEM file of kind CERTIFICATE"),
        ("frame", "malformed"),
    ],
)
def test_broken_ca_certificates_never_reach_mosquitto(own_broker: Broker, name: str, problem: str) -> None:
    publish(own_broker.export_dir, "ca.crt", damaged(own_broker.authority, name))
    own_broker.server.wait_for_log(f"CA certificates ignored: {problem}")
    assert "Reloading config" not in own_broker.server.output()
    assert is_accepted(own_broker, own_broker.issue("good.peer"))


async def test_a_renewed_server_certificate_is_shown_to_new_connections_and_old_ones_stay(own_broker: Broker) -> None:
    bus, changes = await staying_bus(own_broker)
    files = own_broker.issue("acme.peer")
    before = served_certificate(own_broker, files)
    renewed = own_broker.authority.sign_server(own_broker.server.csr_file.read_bytes())
    publish(own_broker.export_dir, "server.crt", renewed)
    own_broker.server.wait_for_log("server certificate reloaded")
    own_broker.server.wait_for_log("Reloading config")
    shown = served_certificate(own_broker, files)
    assert shown == x509.load_pem_x509_certificate(renewed)
    assert shown != before
    assert shown.public_key() == before.public_key()
    await bus.publish(mesh(STAYING, "tx"), b"still here")
    assert changes == []
    await bus.stop()


Make = Callable[[Broker, Path], bytes]


def csr(broker: Broker) -> bytes:
    return broker.server.csr_file.read_bytes()


UNFIT = [
    pytest.param(lambda _broker, _folder: b"garbage", "not a PEM file of kind CERTIFICATE", id="garbage"),
    pytest.param(lambda broker, _: broker.authority.ca_pem, "a CA certificate", id="the CA's own"),
    pytest.param(
        lambda broker, _: broker.issue("acme.peer").cert_file.read_bytes(), "for another key", id="for another key"
    ),
    pytest.param(
        lambda broker, folder: Authority(folder / "other", name="Other CA").sign_server(csr(broker)),
        "not by a CA in ca.crt",
        id="by another CA",
    ),
    pytest.param(
        lambda broker, _: broker.authority.sign_server(csr(broker), valid_from=-DAY, valid_to=-HOUR),
        "expired at",
        id="expired",
    ),
    pytest.param(
        lambda broker, _: broker.authority.sign_server(csr(broker), valid_from=HOUR), "not valid before", id="too early"
    ),
    pytest.param(
        lambda broker, _: broker.authority.sign_server(csr(broker)) + broker.authority.ca_pem,
        "a CA certificate",
        id="more than one",
    ),
]


@pytest.mark.parametrize(("make", "problem"), UNFIT)
def test_a_server_certificate_that_does_not_fit_never_reaches_mosquitto(
    own_broker: Broker, tmp_path: Path, make: Make, problem: str
) -> None:
    files = own_broker.issue("acme.peer")
    before = served_certificate(own_broker, files)
    publish(own_broker.export_dir, "server.crt", make(own_broker, tmp_path))
    own_broker.server.wait_for_log(f"server certificate ignored: {problem}")
    assert "Reloading config" not in own_broker.server.output()
    assert served_certificate(own_broker, files) == before


async def test_a_running_service_trusts_the_new_ca_from_its_next_connection_on(
    own_broker: Broker, second: Authority
) -> None:
    """It reads its CA file at each connect, so nobody has to restart it; until then its live connection is enough."""
    files = own_broker.admit(STAYING)
    bus = own_broker.bus(STAYING, files, refused_retry_s=0.05)
    await bus.start()
    publish_both(own_broker, second)
    own_broker.server.wait_for_log("CA certificates reloaded")
    publish(own_broker.export_dir, "server.crt", second.sign_server(csr(own_broker)))
    own_broker.server.wait_for_log("server certificate reloaded")
    await bus.publish(mesh(STAYING, "tx"), b"on the connection from before")
    own_broker.server.restart()
    await wait_until_async(lambda: bus.refusal is not None, describe="the distrust of the new server certificate")
    assert "we do not trust the broker's certificate" in str(bus.refusal)
    files.ca_file.write_bytes(own_broker.authority.ca_pem + second.ca_pem)
    await wait_until_async(lambda: bus.connected, describe="the next connection")
    await bus.publish(mesh(STAYING, "tx"), b"on the next one")
    await bus.stop()
