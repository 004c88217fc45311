"""What people do in the pages, one step after the other, in either language."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from minervas_admission.web.texts import Texts, texts_of
from minervas_devnet.processes import console_script
from tests.support.applicant import enrol
from tests.support.wait import HANG_S

PASSWORD = "solar panels on every roof"  # noqa: S105 - of tests


@dataclass(frozen=True)
class PanelFields:
    """A string of panels, as it is typed into the form."""

    site: str
    rated_w: str
    tilt: str
    azimuth: str


@dataclass(frozen=True)
class ApplicantFields:
    """What an applicant types into the form."""

    member: str
    name: str = "목포대학교 햇빛조합"
    contact: str = "061-450-2114"
    registration: str = "410-82-00011"
    address: str = "전남 무안군 청계면 영산로 1666"
    site: str = "library"
    latitude: str = "34.912300"
    longitude: str = "126.437200"
    site_address: str = "중앙도서관 옥상"
    panels: tuple[PanelFields, ...] = (
        PanelFields("library", "4400", "15", "180"),
        PanelFields("library", "2750", "15", "172.5"),
    )


@dataclass
class Join:
    """A running `minervas join`."""

    process: asyncio.subprocess.Process
    node: Path
    said: list[str] = field(default_factory=list)

    async def fingerprint(self) -> str:
        """What the applicant reads out on the phone."""
        async with asyncio.timeout(HANG_S):
            while True:
                line = await self._line()
                if line.startswith("Fingerprint to compare"):
                    return line.rpartition(": ")[2]

    async def finish(self) -> None:
        """Wait until it has installed everything."""
        async with asyncio.timeout(HANG_S):
            while await self._line():
                pass
            assert await self.process.wait() == 0, self.said

    async def _line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        assert line or self.process.stdout.at_eof()
        self.said.append(line)
        return line.strip() or line


class Walk:
    """Somebody with a browser."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self.t: Texts = texts_of(language)

    def button(self, key: str, **values: object) -> Locator:
        """The button with a text."""
        return self.page.get_by_role("button", name=self.t(key, **values), exact=True)

    def link(self, key: str, **values: object) -> Locator:
        """The link with a text."""
        return self.page.get_by_role("link", name=self.t(key, **values), exact=True)

    def box(self, key: str, **values: object) -> Locator:
        """The field with a label."""
        return self.page.get_by_label(self.t(key, **values), exact=True)

    async def sees(self, key: str, **values: object) -> None:
        """Wait for the page with this title."""
        await expect(self.page.get_by_role("heading", level=1, name=self.t(key, **values), exact=True)).to_be_visible()

    # the applicant

    async def fill_in_form(self, fields: ApplicantFields) -> None:
        """Fill the application form in, up to the button that sends it."""
        await self.page.goto("/apply")
        for key in ("name", "member", "contact", "registration", "address"):
            await self.page.get_by_label(self.t(f"apply.{key}"), exact=True).first.fill(getattr(fields, key))
        site = self.page.get_by_role("group", name=self.t("apply.site", number=1))
        for key, value in (
            ("site_name", fields.site),
            ("latitude", fields.latitude),
            ("longitude", fields.longitude),
            ("site_address", fields.site_address),
        ):
            await site.get_by_label(self.t(f"apply.{key}"), exact=True).fill(value)
        for number, panel in enumerate(fields.panels, 1):
            if number > 1:
                await self.button("apply.add_panel").click()
            group = self.page.get_by_role("group", name=self.t("apply.panel", number=number))
            for key, value in (
                ("panel_site", panel.site),
                ("rated_w", panel.rated_w),
                ("tilt", panel.tilt),
                ("azimuth", panel.azimuth),
            ):
                await group.get_by_label(self.t(f"apply.{key}"), exact=True).fill(value)
        await self.box("apply.accept").check()

    async def send_form(self) -> str:
        """Send the form; returns the command that the last page gives."""
        await self.button("apply.send").click()
        await self.sees("apply.done_title")
        return await self.page.locator("code.command").inner_text()

    # the operator

    async def log_in(self, name: str, password: str) -> None:
        """Fill the login form in and send it."""
        await self.box("login.name").fill(name)
        await self.box("login.password").fill(password)
        await self.button("login.submit").click()

    async def choose_password(self, first: str, new: str = PASSWORD) -> None:
        """Change the generated password and go on."""
        await self.sees("password.title")
        await self.box("password.old").fill(first)
        await self.box("password.new").fill(new)
        await self.box("password.repeated").fill(new)
        await self.button("password.submit").click()
        await self.sees("password.changed")
        await self.link("password.go_on").click()
        await self.sees("overview.title")

    async def open_application(self, fields: ApplicantFields) -> None:
        """Find the application in the queue and open it."""
        await self.page.goto("/operator/queue")
        await self.sees("queue.title")
        await self.page.get_by_role("link").filter(has_text=fields.member).click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(fields.name)

    async def approve(self) -> None:
        """Approve the application of this page, and follow the decision to its end."""
        await self.box("queue.compared").check()
        await self.button("queue.approve").click()
        await self.follow_decision("approve")

    async def follow_decision(self, kind: str) -> None:
        """Wait, as the page refreshes itself, until the decision is carried out and confirmed by the chain."""
        heading = self.page.get_by_role("heading", level=1)
        await expect(heading).to_contain_text(self.t(f"decisions.kind.{kind}"))
        await expect(self.page.locator(".lead .state")).to_have_text(self.t("decisions.state.done"))

    async def decide_about(self, member: str, action: str, reason: str = "") -> None:
        """Open a member's page and the question, and fill the reason in; it is not sent."""
        await self.page.goto(f"/operator/members/{member}")
        await self.link(f"members.do.{action}").click()
        await self.sees(f"members.question.{action}", member=member)
        await self.page.locator("#reason").fill(reason)

    async def measured_times(self) -> list[tuple[str, float]]:
        """Name and duration in ms of each step of the decision on this page."""
        found = []
        for step in await self.page.locator("ol.steps > li").all():
            name = await step.locator("> span").nth(1).inner_text()
            took = re.fullmatch(r"([\d,]+\.\d) ms", (await step.locator("> span.nowrap").inner_text()).strip())
            found.append((name, float(took[1].replace(",", "")) if took else -1.0))
        return found


@asynccontextmanager
async def joining(command: str, node: Path, member: str) -> AsyncIterator[Join]:
    """Run the command of the form's last page in a node's directory whose services have handed in their keys."""
    _start_services(node, member)
    program, *arguments = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        console_script(program), *arguments, cwd=node, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield Join(process, node)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _start_services(node: Path, member: str) -> None:
    """Let the services hand in their keys, as they do at their start."""
    node.mkdir()
    enrol(node, member=member, generation=member)
