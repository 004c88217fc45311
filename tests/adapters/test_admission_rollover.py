"""Replacing the CA and renewing the broker's certificate, with a real broker: nobody is cut off who should not be."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from minervas_admission.authority import load_consortium
from minervas_admission.bootstrap import initialise
from minervas_admission.ca import issuer_id
from minervas_admission.ca_rollover import FINISH, KINDS, START, SWITCH
from minervas_admission.ca_set import load_ca_certificate, read_ca_state
from minervas_admission.commands.show_ca import show_cas
from minervas_admission.crl import publish
from minervas_admission.server_renewal import BROKER, renew_broker
from minervas_core.ca_bundle import SignedCaBundle, check_ca_bundle
from minervas_core.encoding import decode
from minervas_core.enrolment import Grant
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import load_genesis
from minervas_peer.join.ca_bundle import install_ca_bundle
from minervas_runtime.clock import SystemClock
from minervas_runtime.tls_diagnosis import diagnose
from tests.support.admission import AdmissionHome, Applicant
from tests.support.admission_crashes import crash_in, finish
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

DAY_MS = 86_400_000
STEPS = ("authorities", "broker", "servers")


async def change(home: AdmissionHome, *kinds: str) -> None:
    """Do steps of a rollover by force."""
    for kind in kinds:
        await home.decisions().change_ca(kind, force=True, confirmed=True)


async def fetch_bundle(home: AdmissionHome) -> bytes:
    async with home.http() as client:
        answer = await client.get("/v1/ca-bundle")
    assert answer.status_code == 200
    return answer.content


async def refusal(home: AdmissionHome, kind: str, *, force: bool = False) -> LocalFault:
    with pytest.raises(LocalFault) as refused:
        await home.decisions().change_ca(kind, force=force, confirmed=True)
    assert refused.value.code is Code.NOT_READY
    return refused.value


def issuer(pem: str) -> str:
    return issuer_id(x509.load_pem_x509_certificate(pem.encode()))


async def shown_by(port: int) -> x509.Certificate:
    """The certificate that a server shows, which may run on this event loop."""
    return await asyncio.to_thread(_shown_by, port)


def _shown_by(port: int) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def verdict(setting: AdmissionWithBroker, member: str) -> str:
    folder = setting.home.root / "members" / member
    files = (folder / "ca.crt", folder / "peer.crt", folder / "peer.key")
    return diagnose(setting.broker.host, setting.broker.port, *files, quiet_s=0.2).verdict


async def admitted(home: AdmissionHome, member: str) -> Grant:
    applicant = Applicant(member)
    grant = await home.admit(applicant)
    home.install(applicant, grant)
    return grant


async def test_a_whole_rollover_cuts_nobody_off_before_its_end(admission_and_broker: AdmissionWithBroker) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    genesis = load_genesis(home.data.genesis.read_bytes())
    trusted = frozenset([genesis.body.authority])
    async with home.running():
        await admitted(home, "alpha")
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        changes: list[bool] = []
        bus.on_connection_change(changes.append)
        old = load_ca_certificate(home.data, "ca")

        await change(home, START)
        broker.wait_for_log("CA certificates reloaded")
        bundle = decode(await fetch_bundle(home), SignedCaBundle, max_bytes=100_000)
        assert check_ca_bundle(bundle, network=genesis.network, trusted=trusted, installed=1).number == 2
        assert len(bundle.bundle.certificates) == 2
        assert (await shown_by(broker.port)).issuer == old.subject
        assert (await shown_by(home.http_port)).issuer == old.subject
        folder = home.root / "members" / "alpha"
        before = (folder / "ca.crt").read_text()

        await change(home, SWITCH)
        broker.wait_for_log("server certificate reloaded")
        new = load_ca_certificate(home.data, "ca-2")
        await wait_until_async(lambda: _shown_by(broker.port).issuer == new.subject)
        assert (await shown_by(home.http_port)).issuer == new.subject
        assert issuer((await admitted(home, "beta")).certificates["peer"]) == issuer_id(new)
        assert verdict(admission_and_broker, "beta") == "accepted"
        assert changes == [], "a live connection noticed"

        # alpha was off all the time: it trusts the old CA only, until it asks
        assert (verdict(admission_and_broker, "alpha"), (folder / "ca.crt").read_text()) == ("refused", before)
        assert install_ca_bundle(await fetch_bundle(home), folder, genesis, trusted)
        assert verdict(admission_and_broker, "alpha") == "accepted"
        assert "valid" in (await refusal(home, FINISH)).message

        await change(home, FINISH)
        await wait_until_async(lambda: verdict(admission_and_broker, "alpha") == "refused")
        assert verdict(admission_and_broker, "beta") == "accepted"
        assert install_ca_bundle(await fetch_bundle(home), folder, genesis, trusted)
        assert x509.load_pem_x509_certificates((folder / "ca.crt").read_bytes()) == [new]
        await bus.stop()
    assert (home.data.ca_key.exists(), home.data.ca("ca-2").key.exists()) == (False, True)
    assert initialise(home.settings, SystemClock()) == []
    async with home.running():
        await admitted(home, "gamma")
        assert verdict(admission_and_broker, "gamma") == "accepted"
    assert [
        action
        for (action,) in home.as_owner("SELECT action FROM audit_log WHERE starts_with(action, 'ca_') ORDER BY 1")
    ] == [*("ca_finish", "ca_finish done", "ca_start", "ca_start done", "ca_switch", "ca_switch done")]


async def test_steps_out_of_order_or_too_early_are_refused_and_change_nothing(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running():
        for kind in (SWITCH, FINISH):
            await refusal(home, kind, force=True)
        await change(home, START)
        assert "already" in (await refusal(home, START, force=True)).message
        await refusal(home, FINISH, force=True)
        assert (await refusal(home, SWITCH)).values["hours_left"] == 48
        state = json.loads(home.data.ca_state.read_text())
        home.data.ca_state.write_text(json.dumps({**state, "changed_ms": 0}, sort_keys=True, separators=(",", ":")))
        await home.apply(Applicant("alpha").application())
        assert (await refusal(home, SWITCH)).values["applications"] == 1
        assert read_ca_state(home.data).signing == "ca"
        await change(home, SWITCH)
        await refusal(home, SWITCH, force=True)
        assert read_ca_state(home.data).trusted == ["ca", "ca-2"]


async def test_a_rollover_without_members_needs_no_force_at_its_end_and_can_be_done_again(
    admission_home: AdmissionHome,
) -> None:
    home = admission_home
    async with home.running():
        await change(home, START, SWITCH)
        await home.decisions().change_ca(FINISH, force=False, confirmed=True)
        await change(home, *KINDS)
        state = read_ca_state(home.data)
        assert (state.number, state.signing, state.trusted) == (7, "ca-3", ["ca-3"])
    assert sorted(file.name for file in home.data.ca_key.parent.glob("*.key")) == ["ca-3.key"]


@pytest.mark.parametrize(("step", "after_effect"), [("authorities", True), ("broker", False)])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_of_a_rollover_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, kind: str, step: str, after_effect: bool
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await change(home, *KINDS[: KINDS.index(kind)])
    with pytest.raises(Exception, match="not run"):
        await change(home, kind)
    await crash_in(admission_and_broker, kind, step, after_effect=after_effect)
    await finish(home)

    state = read_ca_state(home.data)
    assert state.number == KINDS.index(kind) + 2
    assert home.as_owner("SELECT step, state FROM saga_steps ORDER BY entry DESC LIMIT 3") == [
        (name, "done") for name in reversed(STEPS)
    ]
    exported = x509.load_pem_x509_certificates((home.export_dir / "ca.crt").read_bytes())
    assert exported == [each.certificate for each in load_consortium(home.settings).cas.trusted.values()]
    signing = load_ca_certificate(home.data, state.signing)
    server = x509.load_pem_x509_certificate((home.export_dir / "server.crt").read_bytes())
    server.verify_directly_issued_by(signing)
    assert len(home.as_owner("SELECT 1 FROM claimed_keys WHERE purpose = 'ca'")) == min(2, state.number)


async def test_a_lost_key_of_the_new_ca_is_not_replaced(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running():
        await change(home, START, SWITCH)
    home.data.ca("ca-2").key.unlink()
    with pytest.raises(LocalFault) as refused:
        initialise(home.settings, SystemClock())
    assert refused.value.code is Code.BAD_KEY_FILE


async def test_the_new_cas_key_is_encrypted_and_private(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running():
        await change(home, START)
    key = home.data.ca("ca-2").key
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(key.read_bytes(), None)


async def test_during_a_rollover_each_ca_lists_what_it_has_signed(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        await change(home, START)
        await admitted(home, "alpha")
        await change(home, SWITCH)
        await admitted(home, "beta")
        for member in ("alpha", "beta"):
            await home.decisions().revoke(member, "test", confirmed=True)
        for member in ("alpha", "beta"):
            await wait_until_async(lambda name=member: verdict(admission_and_broker, name) == "refused")  # type: ignore[misc]
    blocks = (home.export_dir / "ca.crl").read_text().split("-----END X509 CRL-----\n")[:-1]
    lists = {crl.issuer: crl for crl in (
        x509.load_pem_x509_crl(f"{block}-----END X509 CRL-----\n".encode()) for block in blocks
    )}  # fmt: skip
    for name, member in (("ca", "alpha"), ("ca-2", "beta")):
        crl = lists[load_ca_certificate(home.data, name).subject]
        serials = home.as_owner("SELECT serial FROM certificates WHERE member = %s", member)
        assert {entry.serial_number for entry in crl} == {int(serial, 16) for (serial,) in serials}


async def test_a_second_rollover_step_that_waited_is_refused_when_its_turn_comes(
    admission_home: AdmissionHome,
) -> None:
    """Two operators decide the same at once: one is carried out, the other is told why not."""
    home = admission_home
    for _ in range(2):
        with pytest.raises(Exception, match="not run"):
            await change(home, START)
    await finish(home)
    rows = home.as_owner("SELECT state, outcome FROM decisions ORDER BY id")
    assert sorted(state for state, _ in rows) == ["done", "refused"]
    assert read_ca_state(home.data).trusted == ["ca", "ca-2"]


async def test_the_operator_sees_the_cas_in_use(
    admission_home: AdmissionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home = admission_home
    async with home.running():
        await change(home, START)
    capsys.readouterr()
    await show_cas(home.settings, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["use"], row["certificates"]) for row in shown["cas"]] == [
        ("ca", "signs", 0),
        ("ca-2", "trusted", 0),
    ]
    await show_cas(home.settings, as_json=False)
    text = capsys.readouterr().out
    assert all(row["fingerprint"] in text for row in shown["cas"])


def end_soon(home: AdmissionHome) -> x509.Certificate:
    """Publish a certificate for the broker's key that ends in five days."""
    key = x509.load_pem_x509_certificate((home.export_dir / "server.crt").read_bytes()).public_key()
    authority = load_consortium(home.settings).authority
    names = ["localhost", "127.0.0.1"]
    signed = authority.issue_server(BROKER, key, names, SystemClock().now_ms(), days=5)
    publish(home.export_dir, "server.crt", signed.pem.encode())
    return x509.load_pem_x509_certificate(signed.pem.encode())


async def test_the_brokers_certificate_is_renewed_before_its_end_and_live_clients_stay(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await admitted(home, "alpha")
    ending = end_soon(home)
    await wait_until_async(lambda: _shown_by(broker.port) == ending)
    bus = home.bus(broker, "alpha", "peer")
    await bus.start()
    changes: list[bool] = []
    bus.on_connection_change(changes.append)
    async with home.running():
        await wait_until_async(lambda: _shown_by(broker.port) != ending)
        renewed = await shown_by(broker.port)
        serial = f"{renewed.serial_number:x}"
        await wait_until_async(
            lambda: home.as_owner("SELECT 1 FROM certificates WHERE serial = %s AND principal = %s", serial, BROKER)
        )
    assert renewed.public_key() == ending.public_key()
    assert renewed.not_valid_after_utc > ending.not_valid_after_utc
    await bus.publish("mesh/v1/alpha/peer/hello", b"{}")
    assert changes == []
    await bus.stop()


async def test_a_good_certificate_of_the_broker_is_left_alone(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    authority = load_consortium(home.settings).authority
    before = (home.export_dir / "server.crt").read_bytes()
    now_ms = SystemClock().now_ms()
    assert not await asyncio.to_thread(renew_broker, home.data, authority, home.export_dir, now_ms + 59 * DAY_MS)
    assert (home.export_dir / "server.crt").read_bytes() == before
    assert await asyncio.to_thread(renew_broker, home.data, authority, home.export_dir, now_ms + 61 * DAY_MS)
