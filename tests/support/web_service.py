"""A real admission with broker and operator's peer for real browsers, and windows that show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.admission import AdmissionHome
from tests.support.operator_peer import OperatorPeer, operator_peer
from tests.support.wait import HANG_S

HANG_MS = HANG_S * 1000

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
LOCALES = {"en": "en-GB", "ko": "ko-KR"}

GENEROUS = {"logins_per_minute": 1_000}


@dataclass
class WebService:
    """A running admission, its broker, and who answers for the chain."""

    home: AdmissionHome
    broker: BrokerServer
    operator: OperatorPeer

    @property
    def url(self) -> str:
        """Where browsers find it."""
        return f"https://localhost:{self.home.http_port}"


@asynccontextmanager
async def serving_pages(root: Path, database: NodeDatabase, **operator: Any) -> AsyncIterator[WebService]:
    """Run admission as a process, with a broker, for the length of the block; the chain confirms everything.

    Args:
        root: an empty directory that the broker's system user can pass through.
        database: one with the tables and no rows.
        operator: fields of the operator member's application.
    """
    port = free_port()
    home = AdmissionHome(
        root, database, broker_port=port, migrate=False, web=GENEROUS, forms={"forms_per_minute": 1_000}
    )
    broker = BrokerServer(root / "broker", home.export_dir, port=port)
    home.sign_broker(broker)
    with broker:
        async with home.running_process(), operator_peer(home, broker, **operator) as peer:
            peer.state = "final"
            yield WebService(home, broker, peer)


@asynccontextmanager
async def open_page(
    browser: Browser, service: WebService, language: str, size: dict[str, Any], **changes: Any
) -> AsyncIterator[Page]:
    """A window of its own, with no cookies, in which only our service can be reached."""
    # Chromium has no certificate store of its own here; `minervas join` checks the CA by its fingerprint.
    context: BrowserContext = await browser.new_context(
        base_url=service.url, locale=LOCALES[language], ignore_https_errors=True, **size, **changes
    )
    context.set_default_timeout(HANG_MS)
    expect.set_options(timeout=HANG_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()
