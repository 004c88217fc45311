"""Gateways and meters that a member adds: only with its wallet, once, and resumable at any point."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from minervas_admission.application_check import gateway_claims
from minervas_admission.commands.show import show_pending
from minervas_admission.store import applications
from minervas_admission.store.applications import KIND_ADDITION, ApplicationRow, insert_addition
from minervas_admission.store.database import Database
from minervas_core.addition import Addition, addition_fingerprint, sign_addition
from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.keys import SigningKey
from minervas_core.membership import membership_of
from minervas_core.transactions import RegisterMeter, decode_transaction
from tests.support.admission import AdmissionHome, Applicant, declared_meter, grant_of
from tests.support.admission_crashes import crash_in, finish, transactions
from tests.support.admission_web import Browser, words_of
from tests.support.fix_admission import AdmissionWithBroker
from tools.vectors.enrolment_samples import about

SECOND = "meter-gateway-2"


async def member(home: AdmissionHome) -> Applicant:
    """A member with a gateway that has one meter."""
    alpha = Applicant("alpha")
    services = [alpha.enrolment(name) for name in ("peer", "miner", "ledger")]
    receipt = await home.apply(alpha.application(services=[*services, alpha.gateway("meter-gateway", "roof")]))
    await home.decisions().approve("alpha", confirmed=True)
    grant_of(await home.state(receipt))
    return alpha


async def refusal(home: AdmissionHome, addition: Addition) -> tuple[int, str]:
    async with home.http() as client:
        answer = await client.post("/v1/additions", content=encode(addition))
    return answer.status_code, answer.json()["code"]


async def test_a_second_gateway_gets_certificate_rights_and_its_meter_registered(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        alpha = await member(home)
        addition = alpha.addition(home, alpha.gateway(SECOND, "barn"))
        receipt = await home.add(addition)
        assert receipt.fingerprint == addition_fingerprint(addition)
        assert (await home.state(receipt)).state == "pending"
        await home.decisions().approve("alpha", confirmed=True)
        grant = grant_of(await home.state(receipt))
        assert list(grant.certificates) == [SECOND]
        changes = [membership_of(decode_transaction(bytes(raw))).change for raw in grant.membership]
        registered = [(each.gateway, each.meter.meter) for each in changes if isinstance(each, RegisterMeter)]
        assert registered == [
            (alpha.signing["meter-gateway"].public, "roof"), (alpha.signing[SECOND].public, "barn")
        ]  # fmt: skip
        home.install(alpha, grant)
        bus = home.bus(broker, "alpha", SECOND)
        await bus.start()
        await bus.publish(f"mesh/v1/alpha/{SECOND}/reading", b"{}")
        await bus.stop()
    assert transactions(home) == [(0, "admit"), (1, "register_meter"), (2, "register_meter")]


async def test_further_meters_of_a_gateway_are_registered_and_its_certificate_stays(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        [(before,)] = home.as_owner("SELECT pem FROM certificates WHERE principal = 'alpha.meter-gateway'")
        receipt = await home.add(alpha.addition(home, alpha.gateway("meter-gateway", "roof", "barn")))
        await home.decisions().approve("alpha", confirmed=True)
        assert grant_of(await home.state(receipt)).certificates == {"meter-gateway": before}
    assert transactions(home) == [(0, "admit"), (1, "register_meter"), (2, "register_meter")]


async def test_meters_can_be_added_to_a_gateway_whose_key_was_rotated(admission_home: AdmissionHome) -> None:
    """The rotation has claimed the key under a purpose of its own."""
    async with admission_home.running():
        alpha = Applicant("alpha")
        services = [alpha.enrolment(name) for name in ("peer", "miner", "ledger")]
        await admission_home.apply(alpha.application(services=[*services, alpha.gateway("meter-gateway", "roof")]))
        claimed = "UPDATE claimed_keys SET purpose = 'new gateway key' WHERE starts_with(purpose, 'gateway key of')"
        admission_home.as_owner(claimed)
        database = Database(admission_home.settings.database, application="test claims")
        claims = gateway_claims(alpha.addition(admission_home, alpha.gateway("meter-gateway", "roof", "barn")))
        row = ApplicationRow(
            id="0" * 32, member="alpha", name="", contact="", content=b"", fingerprint="", token_hash="",
            remote_address="", received_ms=1, state="pending", reason="", decided_ms=None, kind=KIND_ADDITION,
        )  # fmt: skip
        try:
            async with database.transaction() as connection:
                await insert_addition(connection, row, claims)
        finally:
            await database.close()


async def test_strangers_who_fill_the_queue_do_not_keep_members_from_additions(
    admission_and_broker: AdmissionWithBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        monkeypatch.setattr(applications, "MAX_PENDING", 1)
        await home.apply(Applicant("beta").application())
        async with home.http() as client:
            refused = await client.post("/v1/applications", content=encode(Applicant("gamma").application()))
        assert (refused.status_code, refused.json()["code"]) == (429, Code.RATE_LIMITED)
        await home.add(alpha.addition(home, alpha.gateway(SECOND, "barn")))


async def test_a_consumer_can_add_its_first_gateway(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = Applicant("alpha")
        await home.admit(alpha)
        receipt = await home.add(alpha.addition(home, alpha.gateway("meter-gateway", "roof")))
        await home.decisions().approve("alpha", confirmed=True)
        assert list(grant_of(await home.state(receipt)).certificates) == ["meter-gateway"]


async def test_the_first_application_still_gets_what_it_asked_for(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = Applicant("alpha")
        first = await home.apply(alpha.application())
        await home.decisions().approve("alpha", confirmed=True)
        await home.add(alpha.addition(home, alpha.gateway("meter-gateway", "roof")))
        await home.decisions().approve("alpha", confirmed=True)
        assert set(grant_of(await home.state(first)).certificates) == {"peer", "miner", "ledger"}


Wrong = Callable[[AdmissionHome, Applicant], Addition]


def signed_by_another(home: AdmissionHome, alpha: Applicant) -> Addition:
    good = alpha.addition(home, alpha.gateway(SECOND, "barn"))
    return sign_addition(good.body, SigningKey(b"x" * 32), "0" * 32)


def of_nobody(home: AdmissionHome, _: Applicant) -> Addition:
    nobody = Applicant("nobody")
    return nobody.addition(home, nobody.gateway(SECOND, "barn"))


def nothing_new(home: AdmissionHome, alpha: Applicant) -> Addition:
    return alpha.addition(home, alpha.gateway("meter-gateway", "roof"))


def other_channels(home: AdmissionHome, alpha: Applicant) -> Addition:
    changed = [declared_meter("roof", rated_w=121), declared_meter("barn")]
    return alpha.addition(home, alpha.gateway("meter-gateway", meters=changed))


def taken_from_another_gateway(home: AdmissionHome, alpha: Applicant) -> Addition:
    return alpha.addition(home, alpha.gateway(SECOND, "roof"))


def with_the_miners_key(home: AdmissionHome, alpha: Applicant) -> Addition:
    alpha.signing[SECOND] = alpha.signing["miner"]
    return alpha.addition(home, alpha.gateway(SECOND, "barn"))


def with_another_gateways_key(home: AdmissionHome, alpha: Applicant) -> Addition:
    alpha.signing[SECOND] = alpha.signing["meter-gateway"]
    return alpha.addition(home, alpha.gateway(SECOND, "barn"))


def with_another_gateways_tls_key(home: AdmissionHome, alpha: Applicant) -> Addition:
    alpha.tls[SECOND] = alpha.tls["meter-gateway"]
    return alpha.addition(home, alpha.gateway(SECOND, "barn"))


def with_a_peer(home: AdmissionHome, alpha: Applicant) -> Addition:
    return alpha.addition(home, alpha.enrolment("peer"))


def with_an_old_clock(home: AdmissionHome, alpha: Applicant) -> Addition:
    return alpha.addition(home, alpha.gateway(SECOND, "barn"), now_ms=1)


WRONG: tuple[tuple[Wrong, int, Code], ...] = (
    (signed_by_another, 422, Code.BAD_SIGNATURE),
    (of_nobody, 422, Code.MEMBER_UNKNOWN),
    (nothing_new, 422, Code.BAD_ENROLMENT),
    (other_channels, 409, Code.METER_EXISTS),
    (taken_from_another_gateway, 409, Code.METER_EXISTS),
    (with_the_miners_key, 409, Code.KEY_REUSED),
    (with_another_gateways_key, 409, Code.KEY_REUSED),
    (with_another_gateways_tls_key, 409, Code.KEY_REUSED),
    (with_a_peer, 422, Code.BAD_ENROLMENT),
    (with_an_old_clock, 422, Code.CLOCK_OFFSET),
)


async def test_what_a_member_may_not_add_is_refused(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        for wrong, status, code in WRONG:
            again = Applicant("alpha", signing=dict(alpha.signing), box=alpha.box, tls=dict(alpha.tls))
            assert await refusal(home, wrong(home, again)) == (status, code), wrong
    assert home.as_owner("SELECT 1 FROM applications WHERE kind = 'add'") == []


async def test_one_addition_waits_at_a_time_and_the_same_one_again_is_the_same(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        first = alpha.addition(home, alpha.gateway(SECOND, "barn"))
        assert await home.add(first) == await home.add(first)
        other = alpha.addition(home, alpha.gateway("meter-gateway-3", "shed"))
        assert await refusal(home, other) == (503, Code.NOT_READY)


async def test_a_rejected_addition_leaves_the_member_and_its_keys_alone(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        addition = alpha.addition(home, alpha.gateway("meter-gateway", "roof", "barn"), alpha.gateway(SECOND, "shed"))
        keys = home.as_owner("SELECT key_id FROM claimed_keys ORDER BY key_id")
        receipt = await home.add(addition)
        await home.decisions().reject("alpha", "which barn?")
        state = await home.state(receipt)
        assert (state.state, state.reason) == ("rejected", "which barn?")
        assert home.as_owner("SELECT key_id FROM claimed_keys ORDER BY key_id") == keys
        assert home.as_owner("SELECT state FROM members") == [("active",)]
        again = msgspec.structs.replace(addition.body, salt="00" * 16)
        network = decode_transaction(
            bytes(home.as_owner("SELECT raw FROM membership_transactions ORDER BY number LIMIT 1")[0][0])
        ).body.network
        await home.add(sign_addition(again, alpha.signing["peer"], network))


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("step", ["certificates", "broker", "transaction"])
async def test_an_addition_that_died_anywhere_is_finished_once(
    admission_and_broker: AdmissionWithBroker, step: str, *, after_effect: bool
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        receipt = await home.add(alpha.addition(home, alpha.gateway(SECOND, "barn", "shed")))
    home.as_owner("UPDATE decisions SET state = 'done'")
    home.as_owner("UPDATE applications SET state = 'approving' WHERE kind = 'add'")
    home.as_owner(
        "INSERT INTO decisions (kind, member, application, who, made_ms, state) "
        "VALUES ('add', 'alpha', %s, 'test', 1, 'queued')",
        receipt.application_id,
    )
    await crash_in(admission_and_broker, "add", step, after_effect=after_effect)
    await finish(home)
    assert home.as_owner("SELECT state FROM applications WHERE kind = 'add'") == [("approved",)]
    assert transactions(home) == [(0, "admit"), *((number, "register_meter") for number in (1, 2, 3))]
    [(certificates,)] = home.as_owner("SELECT count(*) FROM certificates WHERE principal = %s", f"alpha.{SECOND}")
    assert certificates == 1


async def test_additions_show_in_the_queue_with_everything_to_decide(
    admission_and_broker: AdmissionWithBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = await member(home)
        receipt = await home.add(alpha.addition(home, alpha.gateway(SECOND, "barn"), about=about()))
        async with Browser(home) as browser:
            await browser.enter(home)
            queue = words_of(await browser.get("/operator/queue"))
            page = words_of(await browser.get(f"/operator/applications/{receipt.application_id}"))
    for text in ("adds gateways or meters", receipt.fingerprint):
        assert text in queue
        assert text in page
    for text in (SECOND, "barn", "34.573500°", "126.599200°", "30.0°", "180.0°"):
        assert text in page
    capsys.readouterr()
    await show_pending(home.settings, as_json=False)
    shown = capsys.readouterr().out
    assert "adds gateways or meters" in shown
    assert receipt.fingerprint in shown
    assert "barn: pzem-003" in shown
    assert "barn: 34.573500, 126.599200" in shown
    assert "120 W, tilt 30.0, azimuth 180.0" in shown
    await show_pending(home.settings, as_json=True)
    [entry] = msgspec.json.decode(capsys.readouterr().out)
    assert (entry["kind"], entry["services"], entry["meters"][0]["meter"]) == ("add", [SECOND], "barn")
