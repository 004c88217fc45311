"""Who gets through the broker's TLS handshake, and what somebody who does not is told.

One row for each kind of certificate (facts measured on Mosquitto 2.0 and 2.1). In TLS 1.3 connecting seems to succeed
in every row; only CONNACK, or the probe, tells.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_runtime.bus import BusDenied, BusRefused
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.tls_diagnosis import Diagnosis, diagnose
from tests.support.fix_broker import QUIET_S, Broker
from tests.support.pki import CODE_SIGNING, DAY, HOUR, SERVER_AUTH, Authority, CertFiles, write_key
from tests.support.wait import HANG_S

Make = Callable[[Broker, Path], CertFiles]


def stranger(broker: Broker, directory: Path) -> CertFiles:
    """A certificate of another CA that has the same name as ours."""
    return Authority(directory / "other-ca").issue("acme.peer", trusting=broker.authority.ca_file)


def self_signed(broker: Broker, directory: Path) -> CertFiles:
    """A CA's own certificate with its key, shown as a client's."""
    other = Authority(directory / "self", name="acme.peer")
    key_file = directory / "self.key"
    write_key(key_file, other._key)
    return CertFiles(broker.authority.ca_file, other.ca_file, key_file, other.certificate)


REFUSED = [
    pytest.param(self_signed, "UNKNOWN_CA", "not issued by", id="self-signed"),
    pytest.param(stranger, "UNKNOWN_CA", "not issued by", id="other CA with the same name"),
    pytest.param(
        lambda broker, _: broker.authority.issue("acme.peer", valid_from=-2 * DAY, valid_to=-HOUR),
        "CERTIFICATE_EXPIRED",
        "has expired",
        id="expired",
    ),
    pytest.param(
        lambda broker, _: broker.authority.issue("acme.peer", valid_from=HOUR, valid_to=DAY),
        "BAD_CERTIFICATE",
        "not valid yet",
        id="not yet valid",
    ),
    pytest.param(
        lambda broker, _: broker.authority.issue("acme.peer", usages=SERVER_AUTH),
        "UNSUPPORTED_CERTIFICATE",
        "not meant for clients",
        id="server certificate",
    ),
    pytest.param(
        lambda broker, _: broker.authority.issue("acme.peer", usages=CODE_SIGNING),
        "UNSUPPORTED_CERTIFICATE",
        "not meant for clients",
        id="code signing certificate",
    ),
]


@pytest.mark.parametrize(("make", "alert", "cause"), REFUSED)
async def test_a_wrong_certificate_is_refused_with_the_exact_alert_and_a_plain_cause(
    broker: Broker, tmp_path: Path, make: Make, alert: str, cause: str
) -> None:
    files = make(broker, tmp_path)
    diagnosis = broker.probe(files)
    assert diagnosis.verdict == "refused"
    assert alert in diagnosis.alert
    assert cause in diagnosis.cause
    bus = broker.bus("acme.peer", files)
    fault = await refusal(bus)
    assert cause in fault.message
    assert alert in str(fault.values["alert"])
    assert fault.values["principal"] == "acme.peer"


async def test_a_revoked_certificate_is_refused_as_revoked(own_broker: Broker) -> None:
    files = own_broker.issue("acme.peer")
    assert own_broker.accepts(files)
    own_broker.revoke(files)
    own_broker.server.wait_for_log("Reloading config")
    diagnosis = own_broker.probe(files)
    assert diagnosis.verdict == "refused"
    assert "CERTIFICATE_REVOKED" in diagnosis.alert
    assert "revoked" in diagnosis.cause
    assert "revoked" in (await refusal(own_broker.bus("acme.peer", files))).message


def test_no_certificate_is_refused(broker: Broker) -> None:
    diagnosis = diagnose(broker.server.host, broker.server.port, broker.authority.ca_file, None, None)
    assert (diagnosis.verdict, "CERTIFICATE_REQUIRED" in diagnosis.alert) == ("refused", True)


def test_a_good_certificate_is_accepted(broker: Broker) -> None:
    assert broker.probe(broker.issue("acme.peer"), quiet_s=QUIET_S) == Diagnosis(
        "accepted", "", "the broker accepts our certificate"
    )


def test_a_certificate_without_usage_passes_which_is_why_admission_always_sets_one(broker: Broker) -> None:
    assert broker.accepts(broker.authority.issue("acme.peer", usages=None))


async def test_a_certificate_without_a_name_is_refused_at_connect(broker: Broker) -> None:
    fault = await refusal(broker.bus("acme.peer", broker.authority.issue()))
    assert "Bad user name or password" in fault.message


async def test_of_two_names_only_the_first_counts(broker: Broker) -> None:
    honest, victim = Principal("two-names", "peer"), Principal("two-names-victim", "peer")
    broker.admit(victim)
    bus = broker.bus(honest, broker.authority.issue(str(honest), str(victim)))
    await bus.start()
    with pytest.raises(BusDenied):
        await bus.publish(f"mesh/v1/{victim.member}/peer/tx", b"forged")
    await bus.stop()


async def test_a_broker_of_another_ca_is_not_trusted(broker: Broker, tmp_path: Path) -> None:
    elsewhere = Authority(tmp_path / "elsewhere")
    files = broker.authority.issue("acme.peer", trusting=elsewhere.ca_file)
    assert broker.probe(files).verdict == "refused"
    assert "we do not trust the broker's certificate" in (await refusal(broker.bus("acme.peer", files))).message


async def test_a_broker_under_another_name_is_not_trusted(own_broker: Broker) -> None:
    csr = own_broker.server.csr_file.read_bytes()
    elsewhere = own_broker.authority.sign_server(csr, host="elsewhere.example", address="192.0.2.1")
    own_broker.server.install(own_broker.authority.ca_pem, elsewhere)
    own_broker.server.restart()
    fault = await refusal(own_broker.bus("acme.peer", own_broker.issue("acme.peer")))
    assert "we do not trust the broker's certificate" in fault.message
    assert "127.0.0.1" in fault.message


def test_tls_1_2_is_refused(broker: Broker) -> None:
    files = broker.issue("acme.peer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(files.ca_file)
    context.load_cert_chain(files.cert_file, files.key_file)
    with (
        socket.create_connection((broker.server.host, broker.server.port), timeout=HANG_S) as plain,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plain_tcp_is_refused(broker: Broker) -> None:
    connect_v5 = bytes.fromhex("101100044d5154540502001e00000461636d65")
    with socket.create_connection((broker.server.host, broker.server.port), timeout=HANG_S) as plain:
        plain.sendall(connect_v5)
        try:
            answer = plain.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b""


def test_no_tls_session_can_be_resumed(broker: Broker) -> None:
    """A resumed session is not checked again: an expired or revoked certificate would pass."""
    files = broker.issue("acme.peer")
    context = ssl.create_default_context(cafile=files.ca_file)
    context.load_cert_chain(files.cert_file, files.key_file)
    connect_v5 = bytes.fromhex("100d00044d5154540502001e000000")
    session = None
    for _ in range(2):
        with (
            socket.create_connection((broker.server.host, broker.server.port), timeout=HANG_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
        ):
            secured.sendall(connect_v5)
            assert secured.recv(1) == b"\x20", "a CONNACK: everything the server sends first has been read"
            session = secured.session
            assert not secured.session_reused
            assert session is None or not session.has_ticket


async def test_a_port_that_speaks_no_tls_is_named_so(broker: Broker, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        files = broker.issue("acme.peer")
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        diagnosis = diagnose("127.0.0.1", port, files.ca_file, files.cert_file, files.key_file)
        thread.join()
    assert diagnosis.verdict == "refused"
    assert "does not speak TLS" in diagnosis.cause


def test_a_broker_that_is_away_is_no_refusal(broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    files = broker.issue("acme.peer")
    diagnosis = diagnose("127.0.0.1", port, files.ca_file, files.cert_file, files.key_file)
    assert diagnosis.verdict == "unreachable"
    assert f"127.0.0.1:{port}" in diagnosis.cause


@pytest.mark.parametrize("missing", ["ca_file", "cert_file", "key_file"])
async def test_a_missing_tls_file_is_named(broker: Broker, missing: str) -> None:
    files = broker.issue("acme.peer")
    getattr(files, missing).rename(files.key_file.with_name("moved"))
    with pytest.raises(LocalFault, match="TLS file is missing") as fault:
        await broker.bus("acme.peer", files).start()
    moved_back = files.key_file.with_name("moved").rename(getattr(files, missing))
    assert fault.value.code == Code.BAD_KEY_FILE
    assert fault.value.values["file"] == str(moved_back)


async def test_key_and_certificate_that_do_not_belong_together_are_named(broker: Broker) -> None:
    files, other = broker.issue("acme.peer"), broker.issue("acme.peer")
    mixed = CertFiles(files.ca_file, files.cert_file, other.key_file, files.certificate)
    with pytest.raises(LocalFault, match="do not belong together"):
        await broker.bus("acme.peer", mixed).start()


def test_a_broker_with_another_clock_is_suspected_when_our_certificate_is_valid(
    own_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = own_broker.authority.issue("acme.peer", valid_from=-2 * DAY, valid_to=-HOUR)
    earlier = dt.datetime.now(dt.UTC) - DAY

    class EarlierClock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> EarlierClock:
            return cls.fromtimestamp(earlier.timestamp(), tz)

    monkeypatch.setattr("minervas_runtime.tls_diagnosis.dt.datetime", EarlierClock)
    diagnosis = own_broker.probe(files)
    assert "clocks" in diagnosis.cause


async def refusal(bus: MqttBus) -> BusRefused:
    """The refusal with which a bus fails to start."""
    async with asyncio.timeout(HANG_S):
        with pytest.raises(BusRefused) as refused:
            await bus.start()
    return refused.value
