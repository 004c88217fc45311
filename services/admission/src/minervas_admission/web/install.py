"""Puts the pages into the HTTPS application: every module of web/pages, headers, style sheet and error pages."""

from __future__ import annotations

import importlib
import logging
import pkgutil

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from minervas_admission.http_errors import RETRY_AFTER_S, on_bug, on_fault, on_http_error, status_of
from minervas_admission.web import pages
from minervas_admission.web.faults import Detour, PageFault
from minervas_admission.web.forms import EMPTY
from minervas_admission.web.headers import HEADERS, SecurityHeaders
from minervas_admission.web.site import (
    HERE,
    LANGUAGE_COOKIE,
    LANGUAGE_COOKIE_S,
    SAFE_METHODS,
    STYLE,
    Site,
    Visit,
    local_path,
)
from minervas_admission.web.texts import LANGUAGES
from minervas_core.errors import Code, MinervasError, TransientFault

log = logging.getLogger(__name__)

STATIC_CACHE = "public, max-age=31536000, immutable"
ICON = HERE / "static" / "icon.svg"


def install_web(app: FastAPI, site: Site) -> None:
    """Add the pages. A module of web/pages has ``router(site)``, and ``MENU`` if it stands in the operator's menu."""
    for found in sorted(pkgutil.iter_modules(pages.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"{pages.__name__}.{found.name}")
        app.include_router(module.router(site))
        site.menu.extend(getattr(module, "MENU", ()))
    site.menu.sort(key=lambda entry: entry.order)
    _add_static(app)
    _add_language(app)
    _add_error_pages(app, site)
    app.add_middleware(SecurityHeaders, strict_transport_days=site.settings.http.strict_transport_days)


def _add_static(app: FastAPI) -> None:
    style, icon = STYLE.read_bytes(), ICON.read_bytes()

    @app.get("/static/site.css", include_in_schema=False)
    async def style_sheet() -> Response:
        """The style sheet."""
        return Response(style, media_type="text/css", headers={"Cache-Control": STATIC_CACHE})

    @app.get("/static/icon.svg", include_in_schema=False)
    async def page_icon() -> Response:
        """The icon of the browser's tab."""
        return Response(icon, media_type="image/svg+xml", headers={"Cache-Control": STATIC_CACHE})


def _add_language(app: FastAPI) -> None:
    @app.get("/language/{language}", include_in_schema=False)
    async def choose_language(language: str, back: str = "/") -> Response:
        """Keep the chosen language in a cookie and go back."""
        if language not in LANGUAGES:
            raise PageFault(404, "not_found")
        answer = RedirectResponse(local_path(back, "/"), 303)
        answer.set_cookie(
            LANGUAGE_COOKIE, language, max_age=LANGUAGE_COOKIE_S, secure=True, httponly=True, samesite="lax"
        )
        return answer


def _add_error_pages(app: FastAPI, site: Site) -> None:
    """Answer errors with pages where people look, and as before where programs do."""

    async def detour(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the handler's form
        assert isinstance(error, Detour)  # noqa: S101 - it is registered for that
        return RedirectResponse(error.location, 303)

    async def page_fault(request: Request, error: Exception) -> Response:
        assert isinstance(error, PageFault)  # noqa: S101 - it is registered for that
        return error_page(site, request, error.status, error.why)

    async def fault(request: Request, error: Exception) -> Response:
        answer = await on_fault(request, error)
        assert isinstance(error, MinervasError)  # noqa: S101 - it is registered for that
        return error_page(site, request, status_of(error), _why(error)) if is_for_people(request) else answer

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if is_for_people(request):
            return error_page(site, request, status, "not_found" if status == 404 else "not_here")
        return await on_http_error(request, error)

    async def bug(request: Request, error: Exception) -> Response:
        for_people = is_for_people(request)
        answer = error_page(site, request, 500, "internal") if for_people else await on_bug(request, error)
        answer.headers.update(HEADERS)  # this handler works outside of `SecurityHeaders`
        return answer

    app.add_exception_handler(Detour, detour)
    app.add_exception_handler(PageFault, page_fault)
    app.add_exception_handler(MinervasError, fault)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, bug)


def is_for_people(request: Request) -> bool:
    """Whether a browser shows the answer to somebody."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def _why(error: MinervasError) -> str:
    if error.code in (Code.RATE_LIMITED, Code.DATABASE_AWAY, Code.NOT_FOUND):
        return str(error.code)
    return "unavailable" if isinstance(error, TransientFault) else "internal"


def error_page(site: Site, request: Request, status: int, why: str) -> Response:
    """A page that says what happened and what to do."""
    visit = getattr(request.state, "visit", None)
    if not isinstance(visit, Visit):  # it ended before anybody knew who comes, and the database may be away
        visit = Visit(site, request, None, EMPTY)
    again = request.url.path if request.method in SAFE_METHODS and status in (429, 500, 503) else ""
    answer = visit.render("error.html", status=status, code=status, why=why, again=again)
    if status in (429, 503):
        answer.headers["Retry-After"] = RETRY_AFTER_S
    if status in (408, 413):
        answer.headers["Connection"] = "close"  # or the server would go on reading what it will never look at
    return answer
