"""Every page can be used by everybody: WCAG 2 A and AA as far as axe can tell, in light and dark, and on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from fastapi import FastAPI
from fastapi.routing import APIRoute
from playwright.async_api import Browser, Page

from minervas_admission.web.install import install_web
from tests.support.admission import OPERATOR_MEMBER, AdmissionHome, Applicant
from tests.support.admission_web import add_operator, unconnected_site
from tests.support.web_service import DESKTOP, PHONE, WebService, open_page
from tests.support.web_walk import ApplicantFields, Walk

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES: dict[Literal["light", "dark"], list[str]] = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "dark": ["color-contrast"],
}
"""For axe, by colour scheme: nothing but the colours is another in the dark."""

NO_PAGES = {"/language/{language}", "/static/site.css", "/static/icon.svg", "/operator/audit/export",
            "/operator/maintenance/{name}", "/"}  # fmt: skip
"""What answers with a file, or leads elsewhere."""


class Judge:
    """Looks at pages and collects what is wrong."""

    def __init__(self, page: Page, home: AdmissionHome) -> None:
        self.page = page
        self.seen: set[str] = set()
        self.wrong: list[str] = []
        self._templates = {path for path, method in _paths(home) if method == "GET"} - NO_PAGES

    @property
    def unseen(self) -> set[str]:
        """Pages that nobody has looked at."""
        return self._templates - self.seen

    async def visit(self, template: str, **values: str) -> None:
        """Open the page of a route and judge it."""
        self.seen.add(template)
        await self.page.goto(template.format(**values))
        await self.judge(template.format(**values))

    async def judge(self, name: str) -> None:
        """Judge the page as it is now."""
        await self.page.evaluate(Axe().axe_script)
        for scheme, rules in RULES.items():
            await self.page.emulate_media(color_scheme=scheme)
            options = {"runOnly": rules, "resultTypes": ["violations"]}
            found = await self.page.evaluate("options => axe.run(options)", options)
            self.wrong += [
                f"{name}, {scheme}: {each['id']}: {node['html']}"
                for each in found["violations"]
                for node in each["nodes"]
            ]
        await self.page.set_viewport_size(PHONE["viewport"])
        wide, there = await self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        if wide > there:
            self.wrong.append(f"{name}: {wide} pixels wide on a phone")
        await self.page.set_viewport_size(DESKTOP["viewport"])


def _paths(home: AdmissionHome) -> Iterator[tuple[str, str]]:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_web(app, unconnected_site(home))
    yield from _flat(app.routes)


def _flat(routes: Iterable[object]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((route.path, method) for method in route.methods or ())
        else:
            yield from _flat(getattr(getattr(route, "original_router", None), "routes", ()))


async def test_every_page_is_accessible(pages: WebService, window: Browser) -> None:
    home = pages.home
    first = await add_operator(home, "kim")
    await home.apply(Applicant("jindo-coop").application())
    for member, decision in (("gone", "revoke"), ("away", "suspend")):
        await home.admit(Applicant(member))
        await getattr(home.decisions(), decision)(member, "was not there for a year", confirmed=True)
    await home.apply(Applicant("nobody").application())
    await home.decisions().reject("nobody", "no panels")
    [[application]] = home.as_owner("SELECT id FROM applications WHERE member = 'jindo-coop'")
    [[decision_id]] = home.as_owner("SELECT id FROM decisions WHERE kind = 'revoke'")
    async with open_page(window, pages, "en", DESKTOP) as page:
        walk, judge = Walk(page, "en"), Judge(page, home)
        await see_public_pages(walk, judge)
        await log_in(walk, judge, first)
        for template in sorted(judge.unseen):
            member = "away" if template.endswith("{action}") else OPERATOR_MEMBER
            values = {
                "application_id": application,
                "decision_id": str(decision_id),
                "name": "lee",
                "member": member,
                "token": "x",
            }
            await judge.visit(template, **values, wanted="gone", action="revoke")
        await judge.visit("/operator/members/{member}/{action}", member="gone", action="revoke")
        await judge.visit("/operator/members/{member}", member="gone")
        await judge.visit("/operator/audit?head=1")
        await see_answers_to_forms(walk, judge)
        assert not judge.unseen
        assert not judge.wrong, "\n".join(judge.wrong)


async def see_public_pages(walk: Walk, judge: Judge) -> None:
    """What applicants see, with mistakes and without."""
    await judge.visit("/apply")
    await walk.fill_in_form(ApplicantFields("mokpo-univ"))
    await walk.box("apply.latitude").fill("far north")
    await walk.button("apply.send").click()
    await judge.judge("form with a mistake")
    await walk.box("apply.latitude").fill("34")
    await walk.send_form()
    await judge.judge("command to join")
    await judge.visit("/nothing/here")


async def log_in(walk: Walk, judge: Judge, first: str) -> None:
    """Log in, with mistakes."""
    await judge.visit("/operator/login")
    await walk.log_in("kim", "wrong")
    await judge.judge("refused login")
    await walk.log_in("kim", first)
    await judge.judge("forced change of the password")
    await walk.choose_password(first)


async def see_answers_to_forms(walk: Walk, judge: Judge) -> None:
    """Pages that only a form leads to."""
    page = walk.page
    await page.goto("/operator/accounts")
    await page.locator("#name").fill("lee")
    await walk.button("accounts.add").click()
    await judge.judge("new account")
    await page.goto("/operator/parameters")
    await page.locator("#height").fill("5000")
    await page.locator("#new_max_open_orders").fill("100")
    await walk.button("parameters.check").click()
    await judge.judge("question about parameters")
