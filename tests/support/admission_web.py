"""A browser without a window: keeps cookies, sends forms as browsers do, and finds texts in pages."""

from __future__ import annotations

import functools
import hashlib
import html
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import httpx
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from minervas_admission.authority import load_consortium
from minervas_admission.store.database import Database
from minervas_admission.web.accounts import Accounts
from minervas_admission.web.login import Logins
from minervas_admission.web.passwords import Passwords
from minervas_admission.web.site import SESSION_COOKIE, ServiceHealth, Site
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome

T = TypeVar("T")

PASSWORD = "a horse in the evening"  # noqa: S105 - of tests
LOGIN = "/operator/login"

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


async def accounts_of(home: AdmissionHome, change: Callable[[Accounts], Awaitable[T]]) -> T:
    """Change accounts as the commands on the host do."""
    database = Database(home.settings.database, application="test accounts")
    try:
        return await change(Accounts(database, SystemClock(), Passwords()))
    finally:
        await database.close()


async def add_operator(home: AdmissionHome, name: str = "kim") -> str:
    """Make an account; returns its generated password."""
    return await accounts_of(home, lambda accounts: accounts.add(name, who="root"))


class Browser:
    """One browser of an operator."""

    def __init__(self, home: AdmissionHome, *, language: str = "en", **changes: Any) -> None:
        self.origin = f"https://localhost:{home.http_port}"
        self.client: httpx.AsyncClient = home.http(
            headers={"Accept": "text/html", "Accept-Language": language}, timeout=60, **changes
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
        """Be somebody who made an account with `PASSWORD` and is logged in, so that every page is open."""
        now_ms, token = SystemClock().now_ms(), secrets.token_hex(32)
        home.as_owner(
            "INSERT INTO operators VALUES (%s, %s, false, %s, %s) ON CONFLICT DO NOTHING", name, _hash(), now_ms, now_ms
        )
        digest = hashlib.sha256(token.encode()).hexdigest()
        home.as_owner("INSERT INTO operator_sessions VALUES (%s, %s, %s, %s)", digest, name, now_ms, now_ms)
        self.client.cookies.set(SESSION_COOKIE, token, domain="localhost.local", path="/")


@functools.cache
def _hash() -> str:
    """The hash of `PASSWORD`, computed once: it is made to take long."""
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY).hash(PASSWORD)


def words_of(page: httpx.Response) -> str:
    """What somebody reads in a page: without markup, spaces run together."""
    body = re.sub(r"<head>.*?</head>", "", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def unconnected_site(home: AdmissionHome) -> Site:
    """A site whose pages can be listed, but whose database nobody has asked yet."""
    database, clock, passwords = Database(home.settings.database, application="test site"), SystemClock(), Passwords()
    return Site(
        settings=home.settings,
        consortium=load_consortium(home.settings),
        database=database,
        clock=clock,
        accounts=Accounts(database, clock, passwords),
        logins=Logins(database, clock, passwords, home.settings.web, lambda: 0),
        health=lambda: ServiceHealth(broker="away", revocation_list_issued_ms=0, decisions_under_way=0),
        steps={},
    )
