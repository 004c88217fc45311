"""Take the pictures of admission's pages in docs/screens, from the real service (`make screenshots`).

A consortium is started as the browser tests start one. Its made-up members apply, are approved and come on line; one is
suspended, one revoked in the browser, one waits. Everything is thrown away afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from minervas_admission import __version__
from minervas_core.applicant import About, Panel, Site
from minervas_core.encoding import encode
from minervas_core.enrolment import Application
from minervas_core.identifiers import Principal
from minervas_core.messages import ChainTip, Presence
from minervas_core.topics import mesh
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.workdir import WorkDir
from minervas_runtime.clock import SystemClock
from minervas_runtime.mqtt_bus import MqttBus
from tests.support.admission import OPERATOR_MEMBER, SERVICES, AdmissionHome, Applicant, declared_meter, grant_of
from tests.support.admission_web import add_operator
from tests.support.chromium import chromium
from tests.support.wait import wait_until_async
from tests.support.web_service import DESKTOP, PHONE, WebService, open_page, serving_pages
from tests.support.web_walk import PASSWORD, ApplicantFields, Walk

SCREENS = Path(__file__).parents[1] / "docs" / "screens"
OPERATOR = "minji.kim"
GATEWAY = "meter-gateway"
HEIGHT = 48_211
MAX_BYTES = 200_000
MAX_HEIGHT = 1_500
"""Of a picture, in pixels of the page: longer pages are cut."""


@dataclass(frozen=True)
class Made:
    """A made-up member."""

    member: str
    name: str
    contact: str
    sites: tuple[Site, ...] = ()
    rated_w: tuple[int, ...] = ()
    """Of each string of panels, each with a meter."""


def _site(name: str, latitude_e6: int, longitude_e6: int, address: str) -> Site:
    return Site(name=name, latitude_e6=latitude_e6, longitude_e6=longitude_e6, address=address)


MEMBERS = (
    Made("jindo-coop", "진도 햇빛발전협동조합", "061-544-0141",
         (_site("warehouse", 34_486_800, 126_263_500, "진도읍 물류창고"),), (9_900, 9_900, 6_600)),
    Made("haenam-farm", "해남 솔라팜", "061-532-0117",
         (_site("barn", 34_573_500, 126_599_300, "해남읍 축사 지붕"),), (14_850, 14_850)),
    Made("yeongam-school", "영암초등학교", "061-473-2040",
         (_site("gym", 34_800_200, 126_696_800, "체육관 옥상"),), (5_500,)),
    Made("muan-bakery", "무안 아침빵집", "061-453-0902"),
    Made("sinan-salt", "신안 천일염 영농조합", "061-275-0315",
         (_site("store", 34_833_900, 126_107_400, "증도 소금창고"),), (11_000, 4_400)),
)  # fmt: skip
SUSPENDED, REVOKED = "sinan-salt", "haenam-farm"
WAITING = (
    Made("mokpo-fishers", "목포 수협 냉동창고", "061-240-7300",
         (_site("icehouse", 34_789_100, 126_388_600, "북항 제빙공장 옥상"),
          _site("market", 34_784_500, 126_390_200, "위판장 지붕")), (13_200, 8_800, 4_950)),
    Made("wando-library", "완도군립도서관", "061-550-6950",
         (_site("library", 34_311_000, 126_755_100, "도서관 옥상"),), (6_600,)),
)  # fmt: skip


async def main() -> None:
    """Take all pictures; says what it wrote."""
    SCREENS.mkdir(exist_ok=True)
    with WorkDir("screens") as work, PostgresServer(work.path / "postgres", durable=False) as server:
        database = server.create_database("screens")
        root = work.path / "admission"
        root.mkdir(mode=0o711)
        with contextlib.redirect_stdout(io.StringIO()):
            AdmissionHome(_template(work.path), database)  # makes the tables
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.redirect_stdout(io.StringIO()):  # what the operator's commands say
                service = await stack.enter_async_context(
                    serving_pages(root, database, name="국립목포대학교", contact="061-450-2114")
                )
                service.operator.height = HEIGHT
                await _populate(service)
            await _take_all(service, await stack.enter_async_context(chromium()))


def _template(path: Path) -> Path:
    template = path / "template"
    template.mkdir(mode=0o711)
    return template


async def _populate(service: WebService) -> None:
    home = service.home
    for made in MEMBERS:
        applicant = Applicant(made.member)
        receipt = await home.apply(_application(applicant, made))
        await home.decisions(on_chain=True).approve(made.member, confirmed=True)
        home.install(applicant, grant_of(await home.state(receipt)))
        await _come_on_line(service, made)
    await _say_hello(service, OPERATOR_MEMBER, SERVICES)
    await home.decisions(on_chain=True).suspend(SUSPENDED, "its ledger is away for repair", confirmed=True)
    for made in WAITING:
        await home.apply(_application(Applicant(made.member), made))
    expected = sum(len(SERVICES) + bool(made.rated_w) for made in MEMBERS) + len(SERVICES) - 1  # one is away
    await wait_until_async(
        lambda: len(home.as_owner("SELECT 1 FROM presence WHERE state = 'online'")) >= expected, describe="presences"
    )


def _application(applicant: Applicant, made: Made) -> Application:
    services = [applicant.enrolment(service) for service in SERVICES]
    names = [f"string-{number}" for number in range(1, len(made.rated_w) + 1)]
    if made.rated_w:
        applicant.gateway(GATEWAY)  # makes its keys
        meters = [declared_meter(name, rated_w=power) for name, power in zip(names, made.rated_w, strict=True)]
        services.append(applicant.enrolment(GATEWAY, meters=meters))
    sites = list(made.sites)
    panels = [
        Panel(
            site=sites[number % len(sites)].name,
            rated_w=power,
            tilt_tenths=150,
            azimuth_tenths=1_800,
            meter=names[number],
            channel="ch1",
        )
        for number, power in enumerate(made.rated_w)
    ]
    about = About(registration="410-82-00011", sites=sites, panels=panels)
    return applicant.application(name=made.name, contact=made.contact, services=services, about=about)


async def _come_on_line(service: WebService, made: Made) -> None:
    names = (*SERVICES, *((GATEWAY,) if made.rated_w else ()))
    await _say_hello(service, made.member, names[1:] if made.member == SUSPENDED else names)


async def _say_hello(service: WebService, member: str, names: tuple[str, ...]) -> None:
    """Publish what the member's services say of themselves."""
    for name in names:
        async with _bus(service, member, name) as bus:
            presence = Presence(
                state="online",
                version=__version__,
                sent_at_ms=SystemClock().now_ms(),
                tip=ChainTip(height=HEIGHT + 1, hash="3f" * 32, work="123456"),
                disk_use_per_mille=310,
            )
            await bus.publish(mesh(Principal(member, name), "presence"), encode(presence), retain=True)


@contextlib.asynccontextmanager
async def _bus(service: WebService, member: str, name: str) -> AsyncIterator[MqttBus]:
    if (member, name) == (OPERATOR_MEMBER, "peer") and service.operator.bus is not None:
        yield service.operator.bus  # it is connected already
        return
    bus = service.home.bus(service.broker, member, name)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def _take_all(service: WebService, browser: Browser) -> None:
    first = await add_operator(service.home, OPERATOR)
    decision = ""
    for language in ("ko", "en"):
        async with open_page(browser, service, language, DESKTOP) as page:
            walk = Walk(page, language)
            await walk.fill_in_form(ApplicantFields("mokpo-solar", name="목포 햇빛두레"))
            await _take(walk, "form")
            await page.goto("/operator")
            await walk.log_in(OPERATOR, PASSWORD if decision else first)
            if not decision:
                await walk.choose_password(first)
            await page.goto("/operator/queue")
            await _take(walk, "queue")
            await walk.page.get_by_role("link").filter(has_text=WAITING[0].member).click()
            await walk.page.locator(".fingerprint").wait_for()
            await _take(walk, "application")
            decision = decision or await _revoke(walk)
            await page.goto(decision)
            await _take(walk, "revoked")
            await page.goto("/operator/members")
            await _take(walk, "members")
    async with open_page(browser, service, "ko", {**PHONE, "device_scale_factor": 1.5}) as page:
        walk = Walk(page, "ko")
        await page.goto("/operator/members")
        await walk.log_in(OPERATOR, PASSWORD)
        await walk.sees("members.title")
        await page.goto(decision)
        await _take(walk, "revoked-phone")


async def _revoke(walk: Walk) -> str:
    """Revoke a member; returns the address of the decision."""
    await walk.decide_about(REVOKED, "revoke", "its keys were stolen")
    await walk.box("members.type_id", member=REVOKED).fill(REVOKED)
    await walk.button("members.do.revoke").click()
    await walk.follow_decision("revoke")
    return walk.page.url.partition("?")[0]


async def _take(walk: Walk, name: str) -> None:
    file = SCREENS / f"admission-{name}-{walk.t.language}.png"
    await walk.page.evaluate("document.activeElement.blur()")
    width, height = await walk.page.evaluate(
        "[document.documentElement.clientWidth, document.documentElement.scrollHeight]"
    )
    clip: Any = {"x": 0, "y": 0, "width": width, "height": min(height, MAX_HEIGHT)}
    content = await walk.page.screenshot(full_page=True, clip=clip, animations="disabled")
    if len(content) > MAX_BYTES:
        sys.exit(f"{file.name} would have {len(content):,} bytes; {MAX_BYTES:,} are allowed")
    file.write_bytes(content)
    print(f"{file.relative_to(SCREENS.parents[1])}: {len(content):,} bytes")  # noqa: T201 - a command


if __name__ == "__main__":
    asyncio.run(main())
