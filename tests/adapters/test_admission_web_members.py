"""Members in the browser: what is shown, what is decided, and that nothing for ever happens by a slip."""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.market.records import Channel, MeterDeclaration
from minervas_core.messages import ChainTip, Presence
from minervas_core.topics import mesh
from minervas_runtime.clock import SystemClock
from tests.support.admission import OPERATOR_MEMBER, SERVICES, AdmissionHome, Applicant
from tests.support.admission_web import Browser, words_of
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.pki import write_key
from tests.support.wait import wait_until_async

GATEWAY = "meter-gateway"
METER = MeterDeclaration(
    meter="roof-1", model="pzem-003", channels=[Channel(name="ch2", rated_w=5_400)], register_step_wh=1
)


def with_meter(member: str) -> Applicant:
    """An applicant with a gateway besides."""
    applicant = Applicant(member)
    applicant.signing[GATEWAY] = SigningKey(os.urandom(32))
    applicant.tls[GATEWAY] = ec.generate_private_key(ec.SECP256R1())
    return applicant


async def admit(home: AdmissionHome, applicant: Applicant, **fields: str) -> None:
    services = [applicant.enrolment(service) for service in SERVICES]
    if GATEWAY in applicant.signing:
        services.append(applicant.enrolment(GATEWAY, meters=[METER]))
    await home.apply(applicant.application(now_ms=None, services=services, **fields))
    await home.decisions().approve(applicant.member, confirmed=True)


def decisions(home: AdmissionHome) -> list[tuple[str, str, str]]:
    return [(kind, member, reason) for kind, member, reason in home.as_owner(
        "SELECT kind, member, reason FROM decisions WHERE kind <> 'approve' ORDER BY id"
    )]  # fmt: skip


async def test_the_operator_sees_everything_about_a_member_and_revokes_it(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    now_ms = SystemClock().now_ms()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(home.running())
        alpha = with_meter("alpha")
        await admit(home, alpha, name="목포 협동조합", contact="061-123-4567")
        await admit(home, Applicant("beta"))
        browser = await stack.enter_async_context(Browser(home))
        assert (await browser.get("/operator/members")).headers["location"].startswith("/operator/login")
        await browser.enter(home)

        await see_presence(stack, admission_and_broker, alpha, now_ms)
        page = words_of(await browser.get("/operator/members"))
        for text in ("목포 협동조합", "beta", "1 of 4 services", "peer: disk 95 % full", "waits for a block"):
            assert text in page
        attention = words_of(await browser.get("/operator/members?standing=attention"))
        assert ("alpha" in attention, "beta" in attention) == (True, True)
        home.as_owner("UPDATE certificates SET revoked_ms = 1 WHERE member = 'beta'")
        attention = words_of(await browser.get("/operator/members?standing=attention"))
        assert ("alpha" in attention, "beta" in attention) == (True, False)
        found = words_of(await browser.get("/operator/members?text=협동&standing=active"))
        assert ("alpha" in found, "beta" in found) == (True, False)
        assert "No member fits" in words_of(await browser.get("/operator/members?standing=left"))

        page = words_of(await browser.get("/operator/members/alpha"))
        for text in ("061-123-4567", "roof-1", "ch2 5,400 W", "pzem-003", "0.9.1", "12,345", "95.0 %", "valid"):
            assert text in page
        assert (await browser.get("/operator/members/nobody")).status_code == 404

        await nothing_happens_by_a_slip(home, browser)
        answer = await browser.send("/operator/members/alpha/revoke", {"typed": "alpha", "reason": "did not pay"})
        assert answer.status_code == 303
        assert decisions(home) == [("revoke", "alpha", "did not pay")]
        decision = answer.headers["location"]
        await wait_until_async(
            lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"), describe="the revocation"
        )
        page = words_of(await browser.get(decision))
        assert page.count(" ms") >= 4
        page = words_of(await browser.get("/operator/members/alpha"))
        assert "did not pay" in page
        assert "/operator/members/alpha/revoke" not in (await browser.get("/operator/members/alpha")).text
        again = await browser.get("/operator/members/alpha/revoke")
        assert (again.status_code, "ended already" in words_of(again)) == (409, True)


async def see_presence(stack: AsyncExitStack, world: AdmissionWithBroker, alpha: Applicant, now_ms: int) -> None:
    """Let the peer of a member tell of itself."""
    home = world.home
    rows = home.as_owner("SELECT principal, pem FROM certificates WHERE member = 'alpha'")
    folder = home.root / "members" / "alpha"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(home.data.ca_certificate.read_bytes())
    (folder / "peer.crt").write_text(dict(rows)["alpha.peer"])
    write_key(folder / "peer.key", alpha.tls["peer"])
    bus = home.bus(world.broker, "alpha", "peer")
    await bus.start()
    stack.push_async_callback(bus.stop)
    presence = Presence(
        state="online", version="0.9.1", sent_at_ms=now_ms, disk_use_per_mille=950,
        tip=ChainTip(height=12_345, hash="ab" * 32, work="1"),
    )  # fmt: skip
    await bus.publish(mesh(Principal("alpha", "peer"), "presence"), encode(presence), retain=True)
    await wait_until_async(lambda: home.as_owner("SELECT 1 FROM presence"), describe="the presence")


async def nothing_happens_by_a_slip(home: AdmissionHome, browser: Browser) -> None:
    for fields in (
        {"typed": "Alpha", "reason": "x"},
        {"typed": "alpha", "reason": ""},
        {"typed": "alpha", "reason": "x" * 501},
        {},
    ):
        assert (await browser.send("/operator/members/alpha/revoke", fields)).status_code == 422
    assert (await browser.send("/operator/members/alpha/leave", {"reason": "x"})).status_code == 422
    assert (await browser.send("/operator/members/alpha/delete", {"typed": "alpha"})).status_code == 404
    assert (await browser.send("/operator/members/alpha/revoke", {"typed": "alpha"}, csrf="0" * 64)).status_code == 403
    assert decisions(home) == []


async def test_the_operators_own_member_is_only_touched_when_it_is_meant(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, own = admission_and_broker.home, OPERATOR_MEMBER
    async with home.running(), Browser(home) as browser:
        await admit(home, Applicant(own))
        await browser.enter(home)
        commands = home.decisions()
        for refused in (
            commands.revoke(own, "x", confirmed=True),
            commands.leave(own, "x", confirmed=True),
            commands.suspend(own, "x", confirmed=True),
        ):
            with pytest.raises(LocalFault) as refusal:
                await refused
            assert refusal.value.code == Code.OPERATOR_MEMBER
        page = await browser.get(f"/operator/members/{own}/suspend")
        assert "operator's own member" in words_of(page)
        fields = {"typed": own, "reason": "x"}
        for action in ("suspend", "leave", "revoke"):
            answer = await browser.send(f"/operator/members/{own}/{action}", fields)
            assert (answer.status_code, "Tick the box" in words_of(answer)) == (422, True)
        assert decisions(home) == []
        meant = {**fields, "operator_member": "yes"}
        assert (await browser.send(f"/operator/members/{own}/suspend", meant)).status_code == 303
        await wait_until_async(lambda: home.as_owner("SELECT 1 FROM members WHERE suspended_ms IS NOT NULL"))
        assert "Its vote is suspended already" in words_of(await browser.get(f"/operator/members/{own}/suspend"))
        assert (await browser.send(f"/operator/members/{own}/resume", {})).status_code == 303
        await home.decisions().leave(own, "", confirmed=True, operator_member_meant=True)
    assert [kind for kind, _, _ in decisions(home)] == ["suspend", "resume", "leave"]


async def test_personal_data_is_handed_out_and_deleted_in_the_browser(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        receipt = await home.apply(Applicant("gamma").application(name="Kim Minsu", contact="010-1234"))
        path = f"/operator/personal/{receipt.application_id}"
        assert "still waits for a decision" in words_of(await browser.get(path))
        assert (await browser.send(f"{path}/forget", {"typed": receipt.application_id})).status_code == 422
        await home.decisions().reject("gamma", "unknown here")
        assert "Kim Minsu" in words_of(await browser.get("/operator/personal"))

        answer = await browser.send(f"{path}/export", {})
        assert answer.headers["content-disposition"] == 'attachment; filename="gamma.json"'
        document = json.loads(answer.content)
        assert document["applications"][0]["content"]["contact"] == "010-1234"
        assert (document["audit"][-1]["who"], document["audit"][-1]["action"]) == ("kim", "export")

        assert (await browser.send(f"{path}/forget", {"typed": "gamma"})).status_code == 422
        assert (await browser.send(f"{path}/forget", {"typed": receipt.application_id})).status_code == 303
        assert "was deleted" in words_of(await browser.get(path))
        assert (await browser.get(f"/operator/applications/{receipt.application_id}")).headers["location"] == path
        assert "Kim" not in words_of(await browser.get("/operator/personal"))
        assert home.as_owner("SELECT name, contact, reason FROM applications") == [("", "", "its data was deleted")]
        assert (await browser.get("/operator/personal/nobody")).status_code == 404
