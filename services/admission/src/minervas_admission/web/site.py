"""What every page works with: who is logged in, language, texts, templates, and how decisions are recorded."""

from __future__ import annotations

import functools
import hashlib
import hmac
import zoneinfo
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from minervas_admission import __version__
from minervas_admission.authority import Consortium
from minervas_admission.deciding import Decider
from minervas_admission.grafana.links import Links
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.database import Database
from minervas_admission.store.operators import OperatorRow
from minervas_admission.web.accounts import Accounts
from minervas_admission.web.faults import Detour, PageFault
from minervas_admission.web.formats import Formats
from minervas_admission.web.forms import EMPTY, Form, check_origin, read_form
from minervas_admission.web.login import Logins, Session
from minervas_admission.web.texts import LANGUAGES, Texts, texts_of, wanted_language
from minervas_runtime.clock import Clock

HERE = Path(__file__).parent
STYLE = HERE / "static" / "site.css"

OPERATOR_PAGES = "/operator"
LOGIN_PAGE = f"{OPERATOR_PAGES}/login"
PASSWORD_PAGE = f"{OPERATOR_PAGES}/password"

SESSION_COOKIE = "__Host-minervas"
LANGUAGE_COOKIE = "__Host-minervas-language"
LANGUAGE_COOKIE_S = 31_536_000

REFRESHED = "refreshed"
"""Parameter of pages that refresh themselves: they do not keep a session alive."""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page in the operator's menu."""

    order: int
    """Place in the menu."""
    path: str
    text: str
    """Key of its text."""
    also: str = ""
    """Path of pages that belong to it besides those below its own."""

    def leads_to(self, path: str) -> bool:
        """Whether a page belongs to this entry."""
        own = path == self.path or (self.path != OPERATOR_PAGES and path.startswith(f"{self.path}/"))
        return own or bool(self.also and path.startswith(f"{self.also}/"))


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How the running service is, besides its database."""

    broker: str
    """connected, away, or why the broker refuses us."""
    revocation_list_issued_ms: int
    """0 before the first of this process."""
    decisions_under_way: int


class Visit:
    """One request for a page: what handler and template know of it."""

    def __init__(self, site: Site, request: Request, session: Session | None, form: Form) -> None:
        self.site = site
        self.request = request
        self.session = session
        self.form = form
        self.texts: Texts = texts_of(language_of(request))
        self.formats = Formats(self.texts.language, site.zone)

    @property
    def operator(self) -> OperatorRow:
        """Who is logged in; only in pages of `Site.operator_router`."""
        assert self.session is not None  # noqa: S101 - the router lets nobody else in
        return self.session.operator

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client else ""

    def render(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Show a page.

        Args:
            template: file in web/templates.
            status: of HTTP.
            values: what the template needs besides what every template has.
        """
        site, texts, formats = self.site, self.texts, self.formats
        page = site.templates.get_template(template).render(
            t=texts,
            choice=texts.choice,
            language=texts.language,
            languages=LANGUAGES,
            when=formats.when,
            machine_time=formats.machine_time,
            number=formats.number,
            milliseconds=formats.milliseconds,
            seconds=formats.seconds,
            consortium=site.consortium.genesis.body.name,
            zone=str(site.zone),
            version=__version__,
            style=site.style_address,
            menu=site.menu if self.session and not self.operator.must_change else [],
            path=self.request.url.path,
            operator=self.session.operator if self.session else None,
            csrf=self.session.csrf if self.session else "",
            **values,
        )
        return HTMLResponse(page, status)

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[Decider]:
        """A transaction in which the operator decides, just as `minervas-admission` on the host does.

        Raises:
            TransientFault: ``database_away``.
        """
        async with self.site.database.transaction() as connection:
            yield Decider(
                connection,
                self.operator.name,
                self.site.clock.now_ms(),
                self.site.settings.consortium.operator_member,
            )

    def to_decision(self, decision_id: int) -> RedirectResponse:
        """Go on to the page of a decision, which shows what becomes of it."""
        return see_other(f"{OPERATOR_PAGES}/decisions/{decision_id}")


@dataclass(frozen=True)
class Site:
    """The parts that pages share."""

    settings: AdmissionSettings
    consortium: Consortium
    database: Database
    """For pages only: whatever is looked up here never holds up a revocation."""
    clock: Clock
    accounts: Accounts
    logins: Logins
    health: Callable[[], ServiceHealth]
    steps: Mapping[str, tuple[str, ...]]
    """Names of the steps of every kind of decision, in order."""
    links: Links | None = None
    """Links for passwords of Grafana; None where there is none."""
    menu: list[MenuEntry] = field(default_factory=list)

    @functools.cached_property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The consortium's time zone."""
        return zoneinfo.ZoneInfo(self.consortium.genesis.body.time_zone)

    @functools.cached_property
    def templates(self) -> Environment:
        """The templates; everything that goes into them is escaped, and a name that is not given is an error."""
        return Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @functools.cached_property
    def style_address(self) -> str:
        """Path of the style sheet; another content has another path, so browsers may keep it."""
        return f"/static/site.css?v={hashlib.sha256(STYLE.read_bytes()).hexdigest()[:12]}"

    def operator_router(self) -> APIRouter:
        """A router below /operator whose pages only operators see; forms of others are refused before a handler runs.

        A handler gets its `Visit` from `visit_of`.
        """
        return APIRouter(prefix=OPERATOR_PAGES, include_in_schema=False, dependencies=[Depends(self._operator_visit)])

    def public_router(self) -> APIRouter:
        """A router whose pages everybody sees; forms must come from our own pages."""
        return APIRouter(include_in_schema=False, dependencies=[Depends(self._public_visit)])

    async def visit(self, request: Request) -> Visit:
        """A visit whoever comes; the session is known where there is one.

        Raises:
            TransientFault: ``database_away``.
        """
        token = request.cookies.get(SESSION_COOKIE)
        session = await self.logins.session(token, touch=REFRESHED not in request.query_params)
        return Visit(self, request, session, EMPTY)

    async def _public_visit(self, request: Request) -> None:
        visit = await self.visit(request)
        await _take_form(visit)
        request.state.visit = visit

    async def _operator_visit(self, request: Request) -> None:
        visit = await self.visit(request)
        if visit.session is None:
            raise Detour(login_address(request))
        await _take_form(visit)
        if request.method not in SAFE_METHODS and not hmac.compare_digest(
            visit.form.text("csrf").encode(), visit.session.csrf.encode()
        ):
            raise PageFault(403, "stale_form")
        if visit.operator.must_change and request.url.path not in OPEN_BEFORE_CHANGE:
            raise Detour(PASSWORD_PAGE)
        request.state.visit = visit


SAFE_METHODS = ("GET", "HEAD")
OPEN_BEFORE_CHANGE = (PASSWORD_PAGE, f"{OPERATOR_PAGES}/logout")
"""What an operator with a generated password can do."""


async def _take_form(visit: Visit) -> None:
    if visit.request.method not in SAFE_METHODS:
        check_origin(visit.request)
        visit.form = await read_form(visit.request)


def visit_of(request: Request) -> Visit:
    """The visit that the router made."""
    visit = request.state.visit
    assert isinstance(visit, Visit)  # noqa: S101 - both kinds of routers set it
    return visit


def see_other(path: str) -> RedirectResponse:
    """Go on to another page after a form."""
    return RedirectResponse(path, 303)


def login_address(request: Request) -> str:
    """The login page, which leads back to where the operator wanted to go."""
    if request.method not in SAFE_METHODS or request.url.path == OPERATOR_PAGES:
        return LOGIN_PAGE
    return f"{LOGIN_PAGE}?next={quote(request.url.path)}"


def local_path(wanted: str, otherwise: str) -> str:
    """A path of this site to go on to, or the other one: nobody is led elsewhere by a link."""
    is_local = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if is_local and len(wanted) <= 500 else otherwise


def language_of(request: Request) -> str:
    """The language that was chosen in a page, or else the browser's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else wanted_language(request.headers.get("accept-language", ""))
