"""A browser without a window: keeps cookies, sends forms as browsers do, and finds texts in pages."""

from __future__ import annotations

import html
import re
from typing import Any, Self

import httpx

from minervas_admission.store.database import Database
from minervas_admission.web.accounts import Accounts
from minervas_admission.web.passwords import Passwords
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome

PASSWORD = "a horse in the evening"  # noqa: S105 - of tests
LOGIN = "/operator/login"

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


async def add_operator(home: AdmissionHome, name: str = "kim") -> str:
    """Make an account as the commands do; returns its generated password."""
    database = Database(home.settings.database, application="test accounts")
    try:
        return await Accounts(database, SystemClock(), Passwords()).add(name, who="root")
    finally:
        await database.close()


class Browser:
    """One browser of an operator."""

    def __init__(self, home: AdmissionHome, *, language: str = "en", **changes: Any) -> None:
        self.origin = f"https://localhost:{home.http_port}"
        self.client: httpx.AsyncClient = home.http(
            headers={"Accept": "text/html", "Accept-Language": language}, **changes
        )

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()

    async def get(self, path: str, **changes: Any) -> httpx.Response:
        """Open a page; redirects are shown, not followed."""
        return await self.client.get(path, **changes)

    async def send(
        self, path: str, fields: dict[str, str], *, csrf: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a form, with the token of the page at this path unless one is given; redirects are not followed."""
        token = await self.csrf() if csrf is None else csrf
        sent = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        return await self.client.post(path, data={"csrf": token, **fields}, headers=sent)

    async def csrf(self) -> str:
        """The token of this session's forms; empty if nobody is logged in."""
        found = _CSRF.search((await self.get("/operator/password")).text)
        return found[1] if found else ""

    async def log_in(self, name: str = "kim", password: str = PASSWORD, **fields: str) -> httpx.Response:
        """Send the login form."""
        return await self.send(LOGIN, {"name": name, "password": password, **fields}, csrf="")

    async def enter(self, home: AdmissionHome, name: str = "kim") -> None:
        """Make an account, log in, and choose a password, so that every page is open."""
        generated = await add_operator(home, name)
        assert (await self.log_in(name, generated)).status_code == 303
        answer = await self.send("/operator/password", {"old": generated, "new": PASSWORD, "repeated": PASSWORD})
        assert answer.headers.get("location") == "/operator/password/changed", answer.text


def words_of(page: httpx.Response) -> str:
    """What somebody reads in a page: without markup, spaces run together."""
    body = re.sub(r"<head>.*?</head>", "", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())
