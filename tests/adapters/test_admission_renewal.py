"""Renewal: new certificates for whoever holds the member's wallet, also long after the old ones have expired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from minervas_admission import certificate_sweep, housekeeping
from minervas_admission.authority import load_consortium
from minervas_admission.membership_signing import sign_change
from minervas_admission.store.database import Database
from minervas_admission.store.members import member_overviews
from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.keys import SigningKey
from minervas_core.renewal import Renewal, ServiceRequest
from minervas_core.transactions import NewKeys, Rotate, WalletConsent, sign_consent
from minervas_runtime.clock import ManualClock, SystemClock
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.tls_diagnosis import diagnose
from tests.support.admission import SERVICES, AdmissionHome, Applicant, grant_of
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.pki import write_key
from tests.support.renewal import DAY_MS, certificates_of, new_key, refused, renewal_of, renewed
from tests.support.wait import wait_until_async


@dataclass
class Setting:
    """A running admission with its broker, a member whose grant is installed, and the service's clock."""

    both: AdmissionWithBroker
    alpha: Applicant
    clock: ManualClock

    @property
    def home(self) -> AdmissionHome:
        return self.both.home

    def renewal(self, *services: str, **changes: Any) -> Renewal:
        keys = {service: new_key() for service in services or SERVICES}
        return renewal_of(self.home, self.alpha, keys, now_ms=self.clock.now_ms(), **changes)

    def revoked(self) -> set[str]:
        rows = self.home.as_owner("SELECT serial FROM certificates WHERE revoked_ms IS NOT NULL")
        return {str(serial) for (serial,) in rows}

    def bus(self, service: str = "peer", **changes: Any) -> MqttBus:
        return self.home.bus(self.both.broker, "alpha", service, **changes)


@pytest.fixture
async def setting(admission_and_broker: AdmissionWithBroker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    monkeypatch.setattr(housekeeping, "SWEEP_S", 0.05)
    clock, alpha, home = ManualClock(SystemClock().now_ms()), Applicant("alpha"), admission_and_broker.home
    async with home.running(clock):
        home.install(alpha, await home.admit(alpha))
        yield Setting(admission_and_broker, alpha, clock)


def serial(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


async def test_new_keys_of_all_services_get_certificates_that_the_broker_takes(setting: Setting) -> None:
    keys = {service: new_key() for service in SERVICES}
    answer = await renewed(setting.home, renewal_of(setting.home, setting.alpha, keys))
    found = certificates_of(answer)
    assert set(found) == set(SERVICES)
    now_ms = setting.clock.now_ms()
    for service, certificate in found.items():
        assert certificate.subject.rfc4514_string() == f"CN=alpha.{service}"
        assert certificate.public_key() == keys[service].public_key()
        assert abs(certificate.not_valid_after_utc.timestamp() * 1000 - now_ms - 30 * DAY_MS) < 60_000
    assert answer.ca_pem == setting.home.data.ca_certificate.read_text()
    assert [msgspec.json.decode(raw)["body"]["change"]["action"] for raw in answer.membership] == ["admit"]
    folder = setting.home.root / "members" / "alpha"
    (folder / "peer.crt").write_text(next(each.certificate for each in answer.certificates if each.service == "peer"))
    (folder / "peer.key").unlink()
    write_key(folder / "peer.key", keys["peer"])
    bus = setting.bus()
    await bus.start()
    await bus.publish("mesh/v1/alpha/peer/hello", b"with the new certificate")
    await bus.stop()
    [(details,)] = setting.home.as_owner("SELECT details FROM audit_log WHERE who = 'member' AND action = 'renew'")
    assert msgspec.json.decode(details)["services"] == "ledger, miner, peer"


async def test_the_same_bytes_again_get_the_same_certificates(setting: Setting) -> None:
    renewal = setting.renewal()
    first = await renewed(setting.home, renewal)
    setting.clock.advance(DAY_MS)  # long after `sent_at_ms`: an answer may have been lost
    assert await renewed(setting.home, renewal) == first
    assert await asyncio.gather(*(renewed(setting.home, renewal) for _ in range(3))) == [first] * 3
    assert setting.home.as_owner("SELECT count(*) FROM renewals") == [(1,)]


async def test_another_renewal_of_the_same_new_key_gets_its_certificate_again(setting: Setting) -> None:
    key = {"peer": new_key()}
    first = certificates_of(await renewed(setting.home, renewal_of(setting.home, setting.alpha, key)))
    second = certificates_of(await renewed(setting.home, renewal_of(setting.home, setting.alpha, key)))
    assert first == second


async def test_who_may_not_renew_is_told_why(setting: Setting) -> None:
    home, now_ms = setting.home, setting.clock.now_ms()
    stranger, good = Applicant("beta"), setting.renewal("peer")
    cases: list[tuple[Renewal, tuple[int, str]]] = [
        (renewal_of(home, stranger, {"peer": new_key()}), (422, Code.MEMBER_UNKNOWN)),
        (setting.renewal(wallet=SigningKey(b"x" * 32)), (422, Code.BAD_SIGNATURE)),
        (setting.renewal(wallet=setting.alpha.signing["ledger"]), (422, Code.BAD_SIGNATURE)),
        (msgspec.structs.replace(good, signature="00" * 64), (422, Code.BAD_SIGNATURE)),
        (setting.renewal(network="ab" * 16), (422, Code.WRONG_NETWORK)),
        (setting.renewal(sent_at_ms=now_ms - 301_000), (422, Code.CLOCK_OFFSET)),
        (setting.renewal(sent_at_ms=now_ms + 301_000), (422, Code.CLOCK_OFFSET)),
        (setting.renewal("meter-gateway"), (422, Code.BAD_ENROLMENT)),
        (renewal_of(home, setting.alpha, {"peer": rsa.generate_private_key(65537, 2048)}), (422, Code.BAD_KEY)),
        (setting.renewal(requests=[ServiceRequest(service="peer", csr="x")]), (422, Code.BAD_ENROLMENT)),
    ]
    for renewal, expected in cases:
        assert await refused(home, renewal) == expected
    assert home.as_owner("SELECT count(*) FROM renewals") == [(0,)]
    async with home.http() as client:
        assert (await client.post("/v1/renewals", content=b"{}")).status_code == 400
        assert (await client.post("/v1/renewals", content=b" " + encode(good))).status_code == 400
        assert (await client.post("/v1/renewals", content=b"x" * 65_537)).status_code == 413


async def test_a_key_that_was_ever_in_use_renews_nothing(setting: Setting) -> None:
    home = setting.home
    peers = {"peer": setting.alpha.tls["peer"]}
    old = certificates_of(await renewed(home, renewal_of(home, setting.alpha, peers)))["peer"]
    assert old.public_key() == peers["peer"].public_key(), "a fresh certificate is given again"
    setting.clock.advance(21 * DAY_MS)
    asked = renewal_of(home, setting.alpha, peers, now_ms=setting.clock.now_ms())
    assert await refused(home, asked) == (409, Code.KEY_REUSED)
    foreign = renewal_of(home, setting.alpha, {"peer": setting.alpha.tls["miner"]}, now_ms=setting.clock.now_ms())
    assert await refused(home, foreign) == (409, Code.KEY_REUSED)
    twice = new_key()
    both = renewal_of(home, setting.alpha, {"miner": twice, "peer": twice}, now_ms=setting.clock.now_ms())
    assert await refused(home, both) == (409, Code.KEY_REUSED)


async def test_a_member_that_has_ended_is_refused_and_a_suspended_one_is_not(setting: Setting) -> None:
    await setting.home.decisions().suspend("alpha", reason="away", confirmed=True)
    known = setting.renewal()
    await renewed(setting.home, known)
    await setting.home.decisions().revoke("alpha", reason="stolen", confirmed=True)
    assert await refused(setting.home, setting.renewal()) == (422, Code.MEMBER_REVOKED)
    assert await refused(setting.home, known) == (422, Code.MEMBER_REVOKED), "also what was answered before"


async def test_after_a_rotation_the_new_wallet_renews_and_the_old_one_only_until_it_is_settled(
    setting: Setting,
) -> None:
    home, old, new = setting.home, setting.alpha.signing["peer"], SigningKey(b"n" * 32)
    consortium = load_consortium(home.settings)
    consent = WalletConsent(member="alpha", wallet=new.public, expires_height=100)
    signature = sign_consent(consent, consortium.network, old)
    rotation = Rotate(member="alpha", keys=NewKeys(wallet=new.public), meters=[], consent=signature)
    database = Database(home.settings.database, application="test")
    async with database.transaction() as connection:
        await sign_change(connection, consortium, rotation, 1, setting.clock.now_ms())
    await database.close()
    for wallet in (old, new):
        await renewed(home, setting.renewal("miner", wallet=wallet))
    home.as_owner("UPDATE membership_transactions SET state = 'settled'")
    assert await refused(home, setting.renewal(wallet=old)) == (422, Code.BAD_SIGNATURE)
    answer = await renewed(home, setting.renewal(wallet=new))
    actions = [msgspec.json.decode(raw)["body"]["change"]["action"] for raw in answer.membership]
    assert actions == ["admit", "rotate"], "so the member can prove its newest keys"


async def test_members_are_shown_with_the_end_of_their_newest_certificates(setting: Setting) -> None:
    database = Database(setting.home.settings.database, application="test")
    setting.clock.advance(25 * DAY_MS)
    await renewed(setting.home, setting.renewal())
    async with database.transaction() as connection:
        [overview] = await member_overviews(connection)
    await database.close()
    assert overview.certificate_expires_ms > setting.clock.now_ms() + 29 * DAY_MS


async def test_a_member_renews_only_so_often_a_day(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minervas_admission.renewals.MAX_RENEWALS_PER_DAY", 2)
    for _ in range(2):
        await renewed(setting.home, setting.renewal("miner"))
    assert await refused(setting.home, setting.renewal("miner")) == (429, Code.RATE_LIMITED)
    setting.clock.advance(DAY_MS)
    await renewed(setting.home, setting.renewal("miner"))


async def test_the_old_certificate_is_revoked_a_day_after_its_successor_was_made(setting: Setting) -> None:
    home = setting.home
    folder = home.root / "members" / "alpha"
    old = {name: x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()) for name in SERVICES}
    setting.clock.advance(1_000)
    new = certificates_of(await renewed(home, setting.renewal("peer", "miner")))
    setting.clock.advance(certificate_sweep.GRACE_MS - 1_000)
    assert setting.revoked() == set()
    setting.clock.set(SystemClock().now_ms())  # the broker takes no revocation list of tomorrow
    age_ms = certificate_sweep.GRACE_MS + 1_000  # the new ones begin up to a second after the clock, which stands still
    home.as_owner("UPDATE certificates SET not_before_ms = not_before_ms - %s", age_ms)
    await wait_until_async(lambda: setting.revoked() == {serial(old["peer"]), serial(old["miner"])})
    assert not {serial(each) for each in new.values()} & setting.revoked()

    async def is_refused() -> bool:
        files = (folder / "ca.crt", folder / "peer.crt", folder / "peer.key")
        broker = setting.both.broker
        found = await asyncio.to_thread(lambda: diagnose(broker.host, broker.port, *files, quiet_s=0.1))
        return "CERTIFICATE_REVOKED" in found.alert

    await wait_until_async(is_refused, describe="the broker to refuse the old certificate")


async def test_an_expired_certificate_ends_the_live_session_and_nothing_brings_it_back(setting: Setting) -> None:
    bus, other = setting.bus(), setting.bus("miner")
    losses: list[bool] = []
    bus.on_connection_change(losses.append)
    await bus.start()
    await other.start()
    await renewed(setting.home, setting.renewal("miner"))
    setting.home.as_owner(
        "UPDATE certificates SET not_after_ms = %s WHERE principal = 'alpha.peer'", setting.clock.now_ms() + 500
    )
    setting.clock.advance(1_000)
    await wait_until_async(lambda: False in losses, describe="the session to end")
    assert other.connected, "a process with a newer certificate goes on"
    await setting.home.decisions().reconcile()
    [(changes,)] = setting.home.as_owner("SELECT details FROM audit_log WHERE action = 'repair broker'")
    assert "delete client alpha.peer" in changes
    assert "alpha.miner" not in changes
    await bus.stop()
    await other.stop()


async def test_after_sixty_days_off_the_wallet_gets_a_member_back_in(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker, alpha = admission_and_broker.home, admission_and_broker.broker, Applicant("alpha")
    past = ManualClock(SystemClock().now_ms() - 60 * DAY_MS)
    async with home.running(past):
        receipt = await home.apply(alpha.application(now_ms=past.now_ms()))
        await home.decisions().approve("alpha", confirmed=True)
        home.install(alpha, grant_of(await home.state(receipt)))
    folder = home.root / "members" / "alpha"
    files = (folder / "ca.crt", folder / "peer.crt", folder / "peer.key")
    async with home.running():
        found = await asyncio.to_thread(lambda: diagnose(broker.host, broker.port, *files, quiet_s=0.1))
        assert "CERTIFICATE_EXPIRED" in found.alert
        key = new_key()
        answer = await renewed(home, renewal_of(home, alpha, {"peer": key}))
        (folder / "peer.crt").write_text(answer.certificates[0].certificate)
        (folder / "peer.key").unlink()
        write_key(folder / "peer.key", key)
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        await bus.publish("mesh/v1/alpha/peer/hello", b"back again")  # the rights are there as soon as the answer is
        await bus.stop()
