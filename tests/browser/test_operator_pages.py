"""The operator's pages in a real browser: by keyboard, in both languages, on a desk and on a phone."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from tests.support.admission import Applicant
from tests.support.admission_web import PASSWORD, add_operator
from tests.support.chromium import DESKTOP, PHONE, TIMEOUT_MS, chromium, problems_of, window
from tests.support.fix_admission import AdmissionWithBroker

WORDS = {
    "en": {"title": "Overview", "approve": "Approve", "carried_out": "carried out, the chain will confirm"},
    "ko": {"title": "개요", "approve": "승인", "carried_out": "처리됨, 체인 확인 대기"},
}


async def log_in(page: Page, password: str) -> None:
    """Log in as somebody without a mouse does."""
    await page.focus("#name")
    await page.keyboard.type("kim")
    await page.keyboard.press("Tab")
    await page.keyboard.type(password)
    await page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("language", "size", "scheme"), [("en", DESKTOP, "light"), ("ko", PHONE, "dark")], ids=["desk", "phone"]
)
async def test_operator_logs_in_and_approves(
    admission_and_broker: AdmissionWithBroker, language: str, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    """From the first password to an approval, every page readable for everybody and no wider than the window."""
    home, words = admission_and_broker.home, WORDS[language]
    generated = await add_operator(home)
    address = f"https://localhost:{home.http_port}"
    async with (
        home.running(),
        chromium() as browser,
        window(browser, size=size, language=language, scheme=scheme, java_script_enabled=True, bypass_csp=True) as page,
    ):
        receipt = await home.apply(Applicant("alpha").application(name="진도 태양광 협동조합"))
        await page.goto(f"{address}/operator/applications/{receipt.application_id}")
        assert await problems_of(page) == []
        await log_in(page, generated)
        await page.wait_for_url("**/operator/password")
        for field, value in (("old", generated), ("new", PASSWORD), ("repeated", PASSWORD)):
            await page.fill(f"#{field}", value)
        assert await problems_of(page) == []
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/operator/password/changed")
        for path in ("", "/queue", "/decisions", "/accounts", "/accounts/lee/disable", "/decisions/99"):
            await page.goto(f"{address}/operator{path}")
            assert await problems_of(page) == [], path
        await page.goto(f"{address}/operator")
        await expect(page.locator("h1")).to_have_text(words["title"])

        await page.goto(f"{address}/operator/applications/{receipt.application_id}")
        assert await problems_of(page) == []
        approve = page.get_by_role("button", name=words["approve"], exact=True)
        await approve.click()  # the browser asks for the tick and sends nothing
        assert home.as_owner("SELECT * FROM decisions") == []
        await page.check("#compared")
        await approve.click()
        await page.wait_for_url(re.compile(r"/operator/decisions/1"))
        state = page.locator("main .lead .state")
        await expect(state).to_have_text(words["carried_out"], timeout=TIMEOUT_MS)
        assert await problems_of(page) == []
        await expect(page.locator(".steps .mark.good")).to_have_count(4)


async def test_pages_work_without_any_script(admission_and_broker: AdmissionWithBroker) -> None:
    """As the policy of content demands; the chosen language is kept."""
    home = admission_and_broker.home
    generated = await add_operator(home)
    async with (
        home.running(),
        chromium() as browser,
        window(browser, size=DESKTOP, language="en", java_script_enabled=False) as page,
    ):
        await page.goto(f"https://localhost:{home.http_port}/")
        await page.click("a[hreflang=ko]")
        await expect(page.locator("h1")).to_have_text("로그인")
        await log_in(page, generated)
        await expect(page.locator("h1")).to_have_text("비밀번호 변경")
        await page.click("header button")
        await page.wait_for_url("**/operator/login")
