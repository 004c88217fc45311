"""A real browser for the pages: the machine's Chromium, without a window."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers, and show nothing but our own pages
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = (1280, 800)
PHONE = (390, 844)
TIMEOUT_MS = 60_000
"""Patience with a machine that does much else."""

_RULES = {
    "resultTypes": ["violations"],
    # Pages without script have no other way to follow something; each has a link that stops it (WCAG 2.2.2).
    "rules": {"meta-refresh": {"enabled": False}},
}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser, for the length of the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=TIMEOUT_MS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: Browser, *, size: tuple[int, int], language: str, scheme: Literal["light", "dark"] = "light", **more: Any
) -> AsyncIterator[Page]:
    """A page of a fresh profile: no cookies, scripts of ours only where `problems_of` brings its own."""
    context: BrowserContext = await browser.new_context(
        ignore_https_errors=True,
        viewport={"width": size[0], "height": size[1]},
        locale=language,
        color_scheme=scheme,
        **more,
    )
    context.set_default_timeout(TIMEOUT_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def problems_of(page: Page) -> list[str]:
    """What is wrong with a page for people with disabilities (axe-core), or because it is wider than its window."""
    results = await Axe().run(page, options=_RULES)
    found = [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*found, *([f"{wider} px wider than its window"] if wider > 0 else [])]
