"""From the application form to the end of a membership, in a real browser against the real service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from playwright.async_api import Browser, expect

from minervas_admission.web.site import SESSION_COOKIE
from minervas_runtime.enrolment import load_issued
from tests.support.admission_web import add_operator
from tests.support.applicant import ISSUED, paths
from tests.support.web_service import DESKTOP, PHONE, WebService, open_page
from tests.support.web_walk import PASSWORD, ApplicantFields, Join, Walk, joining

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVOKING = ("database", "broker", "revocation_list", "transaction", "readers", "grafana", "chain")
SIZES = {"desktop": DESKTOP, "phone": PHONE}


@dataclass(frozen=True)
class Visitor:
    """Who walks through the pages."""

    language: str
    size: str
    script: bool = True


@pytest.mark.parametrize(
    "visitor",
    [Visitor("en", "desktop"), Visitor("ko", "phone"), Visitor("ko", "desktop", script=False)],
    ids=lambda visitor: f"{visitor.language}-{visitor.size}-{'' if visitor.script else 'no-'}script",
)
async def test_application_becomes_a_member_that_is_suspended_resumed_and_revoked(
    pages: WebService, window: Browser, tmp_path: Path, visitor: Visitor
) -> None:
    language = visitor.language
    voting = ("suspend", "resume") if visitor.script else ()  # the same page as for the others
    fields = ApplicantFields(f"{language}-{visitor.size}")
    first = await add_operator(pages.home, fields.member)
    async with open_page(window, pages, language, SIZES[visitor.size], java_script_enabled=visitor.script) as page:
        walk = Walk(page, language)
        command = await apply(walk, fields)
        async with joining(command, tmp_path / "node", fields.member) as join:
            fingerprint = await join.fingerprint()
            await enter(walk, fields.member, first)
            await judge(walk, fields, fingerprint)
            shown_end = await certificate_end(walk, fields.member)
            for action in voting:
                await walk.decide_about(fields.member, action, "a month at sea")
                await walk.button(f"members.do.{action}").click()
                await walk.follow_decision(action)
            await join.finish()
        assert shown_end == installed_end(join, fields.member)
        await revoke(walk, fields.member)
        await read_audit_log(walk, fields.member, voting)
        await walk.button("base.log_out").click()
        await walk.sees("login.title")
        await page.goto("/operator/queue")
        await walk.sees("login.title")


async def apply(walk: Walk, fields: ApplicantFields) -> str:
    """The applicant makes a mistake first; the form keeps everything else."""
    await walk.fill_in_form(fields)
    latitude = walk.box("apply.latitude")
    await latitude.fill("134")
    await walk.button("apply.send").click()
    await expect(walk.page.get_by_role("alert")).to_contain_text(walk.t("apply.problem.latitude"))
    await expect(latitude).to_have_attribute("aria-invalid", "true")
    await latitude.fill(fields.latitude)
    await expect(walk.box("apply.accept")).to_be_checked()
    command = await walk.send_form()
    assert command.startswith("minervas join https://localhost:")
    return command


async def enter(walk: Walk, operator: str, first: str) -> None:
    """The operator logs in with the generated password, and can do nothing before it is changed."""
    await walk.page.goto("/operator/queue")
    await walk.sees("login.title")
    await walk.log_in(operator, first)
    await walk.sees("password.title")
    await walk.page.goto("/operator/members")
    await walk.choose_password(first)


async def judge(walk: Walk, fields: ApplicantFields, fingerprint: str) -> None:
    """The operator sees what was filled in, compares the fingerprint, and approves."""
    page = walk.page
    await walk.open_application(fields)
    await expect(page.locator("code.fingerprint")).to_have_text(fingerprint)
    main = page.get_by_role("main")
    for text in (fields.contact, fields.registration, fields.site, fields.site_address, "4400", "2750"):
        await expect(main).to_contain_text(text)
    address = page.url
    await walk.button("queue.approve").click()  # the browser insists on the box
    assert page.url == address
    await walk.approve()
    times = await walk.measured_times()
    assert len(times) == 5
    assert all(took >= 0 for _, took in times), times


async def certificate_end(walk: Walk, member: str) -> str:
    """What the list of members says of the end of its certificates."""
    await walk.page.goto("/operator/members")
    row = walk.page.locator("tr").filter(has_text=member)  # has no role on a phone: there it is a card
    await expect(row).to_contain_text(walk.t("members.standing.active"))
    return await row.locator("time").get_attribute("datetime") or ""


def installed_end(join: Join, member: str) -> str:
    """When the certificates end that the command has installed; all of them can be used."""
    issued = join.node / "issued"
    assert sorted(str(file.relative_to(issued)) for file in issued.rglob("*") if file.is_file()) == ISSUED
    for service in ("peer", "miner", "ledger"):
        load_issued(paths(join.node, service), service, member)
    ends = [x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc for file in issued.glob("certs/*")]
    return min(ends).strftime("%Y-%m-%dT%H:%M:%SZ")


async def revoke(walk: Walk, member: str) -> None:
    """A revocation needs the member's id, typed, and shows how long each step took."""
    await walk.decide_about(member, "revoke", "keys were stolen")
    typed = walk.box("members.type_id", member=member)
    await typed.fill("somebody")
    await walk.button("members.do.revoke").click()
    await expect(walk.page.get_by_role("alert")).to_have_text(walk.t("members.form.typed"))
    await typed.fill(member)
    await walk.button("members.do.revoke").click()
    await walk.follow_decision("revoke")
    times = await walk.measured_times()
    names = [walk.t(f"decisions.step.{step}") for step in REVOKING]
    assert [name.startswith(wanted) for (name, _), wanted in zip(times, names, strict=True)] == [True] * len(names)
    assert all(took >= 0 for _, took in times), times
    for effect in ("broker", "revocation_list"):
        await expect(walk.page.locator(".grid")).to_contain_text(walk.t(f"decisions.effect.{effect}"))


async def read_audit_log(walk: Walk, member: str, voting: tuple[str, ...]) -> None:
    """The log is intact and has everything that was done."""
    await walk.page.goto(f"/operator/audit?subject={member}")
    await expect(walk.page.get_by_role("main")).to_contain_text(walk.t("audit.intact"))
    entries = "\n".join(await walk.page.locator("tbody tr").all_inner_texts())
    for action in ("apply", "approve", *voting, "revoke", "log in", "change password"):
        assert action in entries, entries


async def test_wrong_password_and_expired_session_lead_to_the_login_page(pages: WebService, window: Browser) -> None:
    first = await add_operator(pages.home, "lee")
    async with open_page(window, pages, "en", DESKTOP) as page:
        walk = Walk(page, "en")
        await page.goto("/operator")
        for name, password in (("lee", "wrong password"), ("nobody", first)):
            await walk.log_in(name, password)
            await expect(page.get_by_role("alert")).to_have_text(walk.t("login.refused"))
        await walk.log_in("lee", first)
        await walk.choose_password(first)
        pages.home.as_owner("UPDATE operator_sessions SET seen_ms = seen_ms - 31 * 60000 WHERE operator = 'lee'")
        await page.goto("/operator/audit")
        await walk.sees("login.title")
        await walk.log_in("lee", PASSWORD)
        await walk.sees("audit.title")  # where the operator wanted to go
        [cookie] = await page.context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["secure"]) == (SESSION_COOKIE, True, True)


async def test_language_is_chosen_and_kept(pages: WebService, window: Browser) -> None:
    async with open_page(window, pages, "en", PHONE) as page:
        walk = Walk(page, "ko")
        await page.goto("/apply")
        await page.get_by_role("link", name="한국어").click()
        await walk.sees("apply.title")
        await page.goto("/operator/login")
        await walk.sees("login.title")
