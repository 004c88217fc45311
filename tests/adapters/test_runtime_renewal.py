"""A service renews its certificate in time, changes over whole, loses no message, and waits when it is too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.identifiers import Principal
from minervas_core.rights import rights_for
from minervas_runtime import certificate_keeper
from minervas_runtime.bus import BusRefused, Message
from minervas_runtime.certificate_keeper import DAY_MS, renewal_due_ms
from minervas_runtime.clock import ManualClock, SystemClock
from minervas_runtime.key_files import load_or_create_tls_key
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.renewal_files import (
    RenewalReport,
    check_request,
    read_requests,
    request_file,
    write_report,
)
from minervas_runtime.tls_diagnosis import client_context
from minervas_runtime.tls_identity import adopt_identity, is_for
from tests.support.fix_broker import OPERATOR_MEMBER, Broker
from tests.support.pki import Authority, CertFiles
from tests.support.renewing_service import RenewingService
from tests.support.wait import wait_until_async

MINER = Principal("mokpo-univ", "miner")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_keeper, "POLL_S", 0.02)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def make(tmp_path: Path, authority: Authority, **values: float) -> RenewingService:
    return RenewingService.make(tmp_path / "node", authority, MINER, **values)  # type: ignore[arg-type]  # ages only


# when


async def test_nothing_is_asked_before_twenty_days(tmp_path: Path, authority: Authority) -> None:
    service = make(tmp_path, authority, age_days=19.9)
    keeper = service.keeper()
    keeper._ask_if_due()
    assert service.requested() is None
    assert not (service.paths.data / "tls.next.key").exists()
    assert service.service_status["certificate"]["state"] == "valid"


def test_processes_come_one_after_another_within_a_day(tmp_path: Path, authority: Authority) -> None:
    identity = adopt_identity((s := make(tmp_path, authority)).paths.data, s.file, str(MINER))
    due = {renewal_due_ms(identity, f"member-{number}.peer") for number in range(200)}
    earliest = identity.expires_ms - 10 * DAY_MS
    assert all(earliest <= moment < earliest + DAY_MS for moment in due)
    assert max(due) - min(due) > DAY_MS // 2
    assert renewal_due_ms(identity, "a.peer") == renewal_due_ms(identity, "a.peer")


async def test_when_due_a_new_private_key_is_made_and_its_request_is_handed_in(
    tmp_path: Path, authority: Authority
) -> None:
    service = make(tmp_path, authority, age_days=21.1)
    keeper = service.keeper()
    keeper._ask_if_due()
    next_file = service.paths.data / "tls.next.key"
    assert next_file.stat().st_mode & 0o777 == 0o600
    key = load_or_create_tls_key(next_file)
    assert service.requested() == key.public_key()
    assert key.public_key() != load_or_create_tls_key(service.paths.data / "tls.key").public_key()
    keeper._ask_if_due()
    assert load_or_create_tls_key(next_file).public_key() == key.public_key(), "asked once, with one key"
    keeper._show()
    assert service.service_status["certificate"]["state"] == "renewing"


async def test_a_request_that_was_taken_away_is_made_anew_with_a_new_key(tmp_path: Path, authority: Authority) -> None:
    service = make(tmp_path, authority, age_days=25)
    keeper = service.keeper()
    keeper._ask_if_due()
    before = service.requested()
    request_file(service.paths, "miner").unlink()
    keeper._ask_if_due()
    assert service.requested() not in (None, before)


async def test_what_somebody_wants_replaced_is_renewed_at_once_and_once(tmp_path: Path, authority: Authority) -> None:
    service = make(tmp_path, authority)
    keeper = service.keeper()
    identity = adopt_identity(service.paths.data, service.file, str(MINER))
    write_report(service.paths.issued, RenewalReport(replace=(identity.hash,)))
    keeper._ask_if_due()
    service.certify(service.requested())
    keeper._take_up()
    keeper._ask_if_due()
    assert service.requested() is None


# whose request


def requested_by(service: RenewingService) -> Callable[[Principal], None]:
    service.keeper()._ask_if_due()
    request = read_requests(service.paths.enrol)[service.who.service]
    installed = x509.load_pem_x509_certificate(service.file.read_bytes())
    return lambda who: check_request(request, who, installed, service.authority.ca_pem)


async def test_a_service_proves_its_request_with_the_key_that_it_has(tmp_path: Path, authority: Authority) -> None:
    check = requested_by(make(tmp_path, authority, age_days=60))
    check(MINER)
    with pytest.raises(PeerFault) as refused:
        check(Principal("mokpo-univ", "peer"))
    assert refused.value.code is Code.BAD_ENROLMENT


async def test_a_request_with_another_key_than_was_signed_is_refused(tmp_path: Path, authority: Authority) -> None:
    service, other = (
        make(tmp_path, authority, age_days=25),
        RenewingService.make(tmp_path / "other", authority, MINER, age_days=25),
    )
    for each in (service, other):
        each.keeper()._ask_if_due()
    [mine], [theirs] = (read_requests(each.paths.enrol).values() for each in (service, other))
    forged = type(mine)(certificate=mine.certificate, csr=theirs.csr, proof=mine.proof)
    installed = x509.load_pem_x509_certificate(service.file.read_bytes())
    with pytest.raises(PeerFault) as refused:
        check_request(forged, MINER, installed, authority.ca_pem)
    assert refused.value.code is Code.BAD_SIGNATURE
    strangers = Authority(tmp_path / "strangers")
    stranger = RenewingService.make(tmp_path / "stranger", strangers, MINER, age_days=25)
    stranger.keeper()._ask_if_due()
    with pytest.raises(PeerFault) as refused:
        check_request(read_requests(stranger.paths.enrol)["miner"], MINER, installed, authority.ca_pem)
    assert refused.value.code is Code.BAD_ENROLMENT


# changing over


def loads(service: RenewingService) -> None:
    """The broker's client can be made of what is on disk: key and certificate belong together."""
    client_context(service.paths.issued / "ca.crt", service.identity_file, service.identity_file)
    assert service.identity_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("crash", ["installed", "identity written", "key renamed", "request left"])
async def test_a_crash_between_any_two_steps_of_changing_over_is_continued(
    tmp_path: Path, authority: Authority, crash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make(tmp_path, authority, age_days=25)
    keeper = service.keeper()
    keeper._ask_if_due()
    wanted = service.requested()
    service.certify(wanted)
    data = service.paths.data
    if crash == "identity written":
        monkeypatch.setattr(Path, "replace", _only_into("tls.pem", Path.replace))
        with pytest.raises(OSError, match="crashed here"):
            keeper._take_up()
        monkeypatch.undo()
    elif crash != "installed":
        keeper._take_up()
        assert not (data / "tls.next.key").exists()
        if crash == "key renamed":
            service.identity_file.unlink()
    restarted = service.keeper()
    loads(service)
    identity = adopt_identity(data, service.file, str(MINER))
    assert identity.certificate.public_key() == wanted
    assert is_for(identity.certificate, load_or_create_tls_key(data / "tls.key"))
    assert not (data / "tls.next.key").exists(), "the old key is gone, the new one has its place"
    restarted._ask_if_due()
    assert service.requested() is None, "the request is taken back"


def _only_into(name: str, replace: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    def crash(source: Path, target: Path) -> Path:
        if Path(target).name != name:
            raise OSError("crashed here")
        return replace(source, target)

    return crash


async def test_until_the_new_certificate_is_installed_the_old_pair_stays(tmp_path: Path, authority: Authority) -> None:
    service = make(tmp_path, authority, age_days=25)
    keeper = service.keeper()
    before = service.identity_file.read_bytes()
    keeper._ask_if_due()
    keeper._take_up()
    assert service.identity_file.read_bytes() == before
    loads(service)


async def test_a_certificate_for_none_of_our_keys_does_not_take_the_good_one_away(
    tmp_path: Path, authority: Authority
) -> None:
    service = make(tmp_path, authority, age_days=25)
    service.keeper()
    before = service.identity_file.read_bytes()
    service.certify(authority.issue(str(MINER)).certificate.public_key())
    keeper = service.keeper()
    keeper._ask_if_due()
    assert service.identity_file.read_bytes() == before
    assert service.requested() is not None, "another is asked for"
    service.identity_file.unlink()
    with pytest.raises(LocalFault) as refused:
        service.keeper()
    assert refused.value.code is Code.BAD_ENROLMENT


# on the broker


def bus_of(service: RenewingService, broker: Broker) -> tuple[MqttBus, certificate_keeper.CertificateKeeper]:
    """As every service puts them together."""
    keeper = service.keeper()
    settings = BusSettings(
        host=broker.server.host,
        port=broker.server.port,
        ca_file=service.paths.issued / "ca.crt",
        cert_file=service.identity_file,
        key_file=service.identity_file,
        principal=str(service.who),
        retry_min_s=0.05,
        retry_max_s=0.2,
    )
    bus = MqttBus(settings, before_connect=keeper.wait_current, may_mend=keeper.is_renewing)
    keeper.on_renewed(bus.reconnect)
    return bus, keeper


async def test_every_message_that_is_published_while_the_certificate_changes_arrives(
    tmp_path: Path, broker: Broker, member: str
) -> None:
    who, reader = Principal(member, "meter-gateway"), Principal(member, "ledger")
    broker.grant(who, rights_for(who, operator_member=OPERATOR_MEMBER))
    service = RenewingService.make(tmp_path / "node", broker.authority, who, age_days=25)
    bus, keeper = bus_of(service, broker)
    ledger = broker.bus(reader, broker.admit(reader))
    heard: set[int] = set()

    def hear(message: Message) -> None:
        heard.add(int(message.payload))

    connects: list[bool] = []
    bus.on_connection_change(connects.append)
    async with keeper.running():
        await ledger.start()
        await ledger.subscribe(f"mesh/v1/{member}/+/reading/#", hear)
        await bus.start()
        sent = 0

        async def talk(until: Callable[[], bool]) -> None:
            nonlocal sent
            while not until():
                await bus.publish(f"mesh/v1/{member}/meter-gateway/reading", str(sent).encode())
                sent += 1

        for renewals in range(1, 4):
            await wait_until_async(lambda: service.requested() is not None)
            service.certify(service.requested(), age_days=25)
            begun = sent
            await talk(lambda: connects.count(True) > renewals and sent > begun + 50)  # noqa: B023 - awaited here
        await wait_until_async(lambda: heard == set(range(sent)), describe=lambda: f"{len(heard)} of {sent}")
    await bus.stop()
    await ledger.stop()


async def test_an_expired_service_waits_for_a_new_certificate_and_then_connects(
    tmp_path: Path, broker: Broker, member: str, caplog: pytest.LogCaptureFixture
) -> None:
    who = Principal(member, "miner")
    broker.grant(who, rights_for(who, operator_member=OPERATOR_MEMBER))
    service = RenewingService.make(tmp_path / "node", broker.authority, who, age_days=60)
    bus, keeper = bus_of(service, broker)
    async with keeper.running():
        starting = asyncio.create_task(bus.start())
        await wait_until_async(lambda: "waiting for a new certificate" in caplog.messages)
        await wait_until_async(lambda: service.requested() is not None)
        assert service.service_status["certificate"]["state"] == "waiting for a new certificate"
        assert not starting.done()
        assert bus.refusal is None, "it did not even try"
        service.certify(service.requested())
        await starting
        assert bus.connected
        await wait_until_async(lambda: service.service_status["certificate"]["state"] == "valid")
    await bus.stop()


async def test_a_start_in_the_middle_of_a_renewal_waits_for_its_end(
    tmp_path: Path, own_broker: Broker, member: str
) -> None:
    """The node was off for days after admission had made the new certificate, so the old one was revoked."""
    who = Principal(member, "miner")
    own_broker.grant(who, rights_for(who, operator_member=OPERATOR_MEMBER))
    service = RenewingService.make(tmp_path / "node", own_broker.authority, who, age_days=25)
    service.keeper()._ask_if_due()
    files = CertFiles(
        service.paths.issued / "ca.crt", service.identity_file, service.identity_file, service.certificate()
    )
    own_broker.revoke(files)

    async def is_revoked() -> bool:
        return "CERTIFICATE_REVOKED" in (await asyncio.to_thread(own_broker.probe, files)).alert

    await wait_until_async(is_revoked)
    bus, keeper = bus_of(service, own_broker)
    async with keeper.running():
        starting = asyncio.create_task(bus.start())
        await wait_until_async(lambda: bus.refusal is not None)
        assert not starting.done(), "the refusal may end with the renewal"
        service.certify(service.requested())
        await starting
        assert bus.connected
    await bus.stop()


async def test_a_refusal_at_the_start_is_final_if_no_renewal_is_under_way(
    tmp_path: Path, broker: Broker, member: str
) -> None:
    service = RenewingService.make(tmp_path / "node", Authority(tmp_path / "strangers"), Principal(member, "miner"))
    (service.paths.issued / "ca.crt").write_bytes(broker.authority.ca_pem)
    bus, keeper = bus_of(service, broker)
    async with keeper.running():
        with pytest.raises(BusRefused):
            await bus.start()


async def test_a_certificate_that_ends_while_the_broker_is_away_is_not_tried_again(
    tmp_path: Path, own_broker: Broker, member: str
) -> None:
    who, clock = Principal(member, "miner"), ManualClock(SystemClock().now_ms())
    own_broker.grant(who, rights_for(who, operator_member=OPERATOR_MEMBER))
    service = RenewingService.make(tmp_path / "node", own_broker.authority, who, clock=clock)
    bus, keeper = bus_of(service, own_broker)
    async with keeper.running():
        await bus.start()
        clock.advance(31 * DAY_MS)
        await wait_until_async(lambda: service.requested() is not None)
        await asyncio.to_thread(own_broker.server.stop)
        await wait_until_async(lambda: not bus.connected)
        await asyncio.to_thread(own_broker.server.start)
        assert bus.refusal is None
        clock.set(SystemClock().now_ms())
        await wait_until_async(lambda: bus.connected, describe="the clock that was wrong to be believed again")
    await bus.stop()


async def test_trouble_with_the_renewal_is_told_once_and_shown_as_long_as_it_lasts(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    service = make(tmp_path, authority, age_days=25)
    keeper = service.keeper()
    keeper._ask_if_due()
    message = "The membership has ended; ask the operator"
    write_report(service.paths.issued, RenewalReport(code="member_revoked", message=message))
    for _ in range(3):
        keeper._show()
    assert service.service_status["certificate"]["trouble"] == f"member_revoked: {message}"
    assert caplog.messages.count("certificate_not_renewed") == 1
