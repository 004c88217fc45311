"""Deciding in the browser: the queue, an application, approving, rejecting, and what becomes of a decision."""

from __future__ import annotations

import pytest

from minervas_admission.store.applications import KIND_ADDITION, KIND_JOIN, REPLACE, ROTATE
from minervas_admission.web.texts import LANGUAGES, texts_of
from minervas_core.enrolment import GATEWAY, ServiceClaim, sign_claim
from minervas_core.market.records import Channel, MeterDeclaration
from tests.support.admission import AdmissionHome, Applicant, SagaBench
from tests.support.admission_web import Browser, words_of
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

EVIL = "<script>alert('1')</script> & \"Söhne\""


async def test_approval_in_the_browser_is_carried_out_and_shown_step_by_step(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    applicant = Applicant("alpha")
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        receipt = await home.apply(applicant.application(name="목포 협동조합", contact="061-555-0100"))
        queue = words_of(await browser.get("/operator/queue"))
        assert "목포 협동조합" in queue
        assert receipt.fingerprint in queue
        path = f"/operator/applications/{receipt.application_id}"
        details = words_of(await browser.get(path))
        for shown in ("alpha", "061-555-0100", receipt.fingerprint, "127.0.0.1", "peer", "miner", "ledger", "Wallet"):
            assert shown in details
        for service in ("peer", "miner", "ledger"):
            assert applicant.signing[service].public in details

        refused = await browser.send(path, {"decision": "approve"})
        assert refused.status_code == 422
        assert "Tick the box once you have compared the fingerprint" in words_of(refused)
        assert home.as_owner("SELECT * FROM decisions") == []

        answer = await browser.send(path, {"decision": "approve", "compared": "yes"})
        assert answer.headers["location"] == "/operator/decisions/1"
        await wait_until_async(lambda: home.as_owner("SELECT 1 FROM decisions WHERE state = 'carried_out'"))
        page = await browser.get("/operator/decisions/1")
        for step in ("Certificates", "Rights on the broker", "Transaction"):
            assert f"{step} done" in words_of(page)
        assert words_of(page).count(" ms ") >= 3
        assert "By kim" in words_of(page)
        assert "alpha.ledger, alpha.miner, alpha.peer" in words_of(page)
        assert '<meta http-equiv="refresh" content="5; url=/operator/decisions/1?refreshed=1">' in page.text
        assert "http-equiv" not in (await browser.get("/operator/decisions/1?still=1")).text
        assert (await home.state(receipt)).state == "approved"

        again = await browser.send(path, {"decision": "approve", "compared": "yes"})
        assert "Somebody else has decided about this application meanwhile." in words_of(again)
        assert 'name="decision"' not in again.text
        assert "No application waits" in words_of(await browser.get("/operator/queue"))
        overview = words_of(await browser.get("/operator"))
        assert "1 members" in overview
        assert "connected" in overview
    assert home.as_owner("SELECT who, kind, member FROM decisions") == [("kim", "approve", "alpha")]
    entries = home.as_owner("SELECT who, action, subject FROM audit_log WHERE action = 'approve'")
    assert entries == [("kim", "approve", "alpha")]


async def test_rejection_needs_a_reason_and_is_done_at_once(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        receipt = await admission_home.apply(Applicant("alpha").application())
        path = f"/operator/applications/{receipt.application_id}"
        for fields, why in (
            ({"decision": "reject", "reason": "  "}, "Give a reason"),
            ({"decision": "reject", "reason": "x" * 501}, "The reason may have 500 characters."),
            ({"compared": "yes"}, "Give a reason"),
        ):
            page = await browser.send(path, fields)
            assert (page.status_code, why in words_of(page)) == (422, True)
        answer = await browser.send(path, {"decision": "reject", "reason": EVIL})
        page = await browser.get(answer.headers["location"])
        assert "Rejection: alpha" in words_of(page)
        assert EVIL in words_of(page)
        assert "<script" not in page.text
        assert "http-equiv" not in page.text
        state = await admission_home.state(receipt)
        assert (state.state, state.reason) == ("rejected", EVIL)
        await admission_home.apply(Applicant("alpha").application())


async def test_names_of_applicants_are_shown_and_never_obeyed(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        receipt = await admission_home.apply(Applicant("alpha").application(name=EVIL, contact=EVIL))
        for path in ("/operator/queue", f"/operator/applications/{receipt.application_id}"):
            page = await browser.get(path)
            assert EVIL in words_of(page)
            assert "<script" not in page.text
        page = await browser.log_in(EVIL, "not the password", next=EVIL)
        assert "<script" not in page.text
        page = await browser.send("/operator/accounts", {"name": EVIL})
        assert "<script" not in page.text
        page = await browser.get("/operator/%3Cscript%3E")
        assert "<script" not in page.text


async def test_meters_are_shown_with_all_that_they_declare(admission_home: AdmissionHome) -> None:
    applicant = Applicant("alpha")
    applicant.signing[GATEWAY] = type(applicant.signing["peer"])(b"\x07" * 32)
    applicant.tls[GATEWAY] = type(applicant)("other").tls["peer"]
    channels = [Channel(name="roof-south", rated_w=12_345), Channel(name="roof-west", rated_w=8_000)]
    meter = MeterDeclaration(meter="house", model="pzem-017", channels=channels, register_step_wh=10)
    claim = ServiceClaim(
        member="alpha", service="meter-gateway", csr=applicant.csr(GATEWAY),
        signing_key=applicant.signing[GATEWAY].public, meters=[meter],
    )  # fmt: skip
    application = applicant.application()
    services = [*application.services, sign_claim(claim, applicant.signing[GATEWAY])]
    async with admission_home.running(), Browser(admission_home, language="ko") as browser:
        await browser.enter(admission_home)
        receipt = await admission_home.apply(applicant.application(services=services))
        page = words_of(await browser.get(f"/operator/applications/{receipt.application_id}"))
        for shown in (
            "합계 20,345 W", "house", "모델 pzem-017", "레지스터 단위(Wh) 10", "roof-south: 12,345 W", "계량 명세",
        ):  # fmt: skip
            assert shown in page, shown


async def test_page_of_a_revocation_shows_how_soon_the_member_was_out(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        await home.admit(Applicant("alpha"))
        await home.decisions().revoke("alpha", "gone", confirmed=True)
        page = words_of(await browser.get("/operator/decisions/2"))
        [(made, cut)] = home.as_owner(
            "SELECT d.made_ms, s.finished_ms FROM decisions d JOIN saga_steps s ON s.decision = d.id "
            "WHERE d.id = 2 AND s.step = 'broker'"
        )
        assert f"{max(1, cut - made) / 1000:.3f} s until its live sessions were cut" in page
        assert "s until new connections were refused" in page
        assert "Carried out" in page
        listed = words_of(await browser.get("/operator/decisions"))
        assert listed.index("Revocation") < listed.index("Approval")


async def test_decision_that_waits_for_the_broker_says_so(admission_home: AdmissionHome) -> None:
    """Nobody listens where the broker should be: the step fails, is tried again, and the rest has to wait."""
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        receipt = await admission_home.apply(Applicant("alpha").application())
        path = f"/operator/applications/{receipt.application_id}"
        await browser.send(path, {"decision": "approve", "compared": "yes"})
        await wait_until_async(lambda: admission_home.as_owner("SELECT 1 FROM saga_steps WHERE state = 'failing'"))
        page = await browser.get("/operator/decisions/1")
        assert "Rights on the broker failed, is tried again" in words_of(page)
        assert "Transaction waits" in words_of(page)
        assert '<meta http-equiv="refresh" content="1;' in page.text
        overview = words_of(await browser.get("/operator"))
        assert "1 decisions under way" in overview
        assert "Broker away" in overview


async def test_decisions_are_listed_page_by_page(admission_home: AdmissionHome) -> None:
    admission_home.as_owner(
        "INSERT INTO decisions (kind, who, made_ms, state) SELECT 'reconcile', 'root', 1, 'done' "
        "FROM generate_series(1, 120)"
    )
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        seen: list[int] = []
        path = "/operator/decisions"
        while path:
            text = (await browser.get(path)).text
            seen += [number for number in range(1, 121) if f'/operator/decisions/{number}"' in text]
            older = text.partition('href="/operator/decisions?before=')[2].partition('"')[0]
            path = f"/operator/decisions?before={older}" if older else ""
        assert sorted(seen) == list(range(1, 121))


@pytest.mark.parametrize(
    ("language", "warning"), [("en", "call the member by a number"), ("ko", "이전부터 알고 있던 번호")]
)
async def test_the_page_of_a_replacement_warns_of_what_it_takes_away(
    admission_and_broker: AdmissionWithBroker, language: str, warning: str
) -> None:
    home = admission_and_broker.home
    async with home.running(), Browser(home, language=language) as browser:
        await browser.enter(home)
        await home.admit(Applicant("alpha"))
        receipt = await home.apply(Applicant("alpha").application(kind="replace"))
        page = words_of(await browser.get(f"/operator/applications/{receipt.application_id}"))
        texts = texts_of(language)
        assert warning in page
        assert texts("queue.effect.replace") in page
        assert texts("queue.effect.join") not in page


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_kind_of_decision_and_every_step_has_a_text(admission_home: AdmissionHome, language: str) -> None:
    bench, texts = SagaBench(admission_home), texts_of(language)
    kinds = {saga.kind for saga in bench.sagas} | {"reject", "reconcile"}
    steps = {step.name for saga in bench.sagas for step in saga.steps} | {"chain"}
    assert {f"decisions.kind.{kind}" for kind in kinds} <= texts.keys()
    assert {f"decisions.step.{step}" for step in steps} <= texts.keys()
    effects = {f"queue.effect.{kind}" for kind in (KIND_JOIN, KIND_ADDITION, REPLACE, ROTATE)}
    assert effects <= texts.keys()
