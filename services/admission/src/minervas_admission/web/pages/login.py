"""Logging in and out, and changing the own password."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from minervas_admission.web.login import LoginRefused, PasswordRefused
from minervas_admission.web.passwords import MAX_LENGTH, MIN_LENGTH
from minervas_admission.web.site import (
    LOGIN_PAGE,
    OPERATOR_PAGES,
    PASSWORD_PAGE,
    SESSION_COOKIE,
    Site,
    Visit,
    local_path,
    see_other,
    visit_of,
)
from minervas_core.errors import Code, TransientFault


def router(site: Site) -> APIRouter:
    """The pages around a session."""
    pages = APIRouter()
    pages.include_router(_public(site))
    pages.include_router(_operators(site))
    return pages


def _public(site: Site) -> APIRouter:
    pages = site.public_router()

    @pages.get("/")
    async def start() -> Response:
        """Nobody has to know the path of the operator's pages."""
        return see_other(OPERATOR_PAGES)

    @pages.get(LOGIN_PAGE)
    async def login_form(request: Request) -> Response:
        """The form to log in."""
        visit = visit_of(request)
        if visit.session is not None:
            return see_other(OPERATOR_PAGES)
        return _login_page(visit, wanted=request.query_params.get("next", ""), name="")

    @pages.post(LOGIN_PAGE)
    async def log_in(request: Request) -> Response:
        """Begin a session."""
        visit = visit_of(request)
        name, wanted = visit.form.text("name"), visit.form.text("next")
        if visit.session is not None:
            await site.logins.log_out(visit.session)
        try:
            token = await site.logins.log_in(name, visit.form.raw("password"), visit.address)
        except LoginRefused:
            return _login_page(visit, wanted=wanted, name=name, problem="login.refused", status=403)
        except TransientFault as error:
            if error.code != Code.RATE_LIMITED:
                raise
            return _login_page(visit, wanted=wanted, name=name, problem="login.rate_limited", status=429)
        return _with_session(see_other(local_path(wanted, OPERATOR_PAGES)), token)

    return pages


def _operators(site: Site) -> APIRouter:
    pages = site.operator_router()

    @pages.post("/logout")
    async def log_out(request: Request) -> Response:
        """End the session."""
        visit = visit_of(request)
        if visit.session is not None:
            await site.logins.log_out(visit.session)
        answer = see_other(LOGIN_PAGE)
        answer.delete_cookie(SESSION_COOKIE, secure=True, httponly=True, samesite="strict")
        return answer

    @pages.get("/password")
    async def password_form(request: Request) -> Response:
        """The form to change the own password."""
        return _password_page(visit_of(request))

    @pages.post("/password")
    async def change_password(request: Request) -> Response:
        """Change the own password."""
        visit = visit_of(request)
        form = visit.form
        assert visit.session is not None  # noqa: S101 - the router lets nobody else in
        try:
            token = await site.logins.change_password(
                visit.session, form.raw("old"), form.raw("new"), form.raw("repeated")
            )
        except PasswordRefused as refused:
            return _password_page(visit, problem=refused.why, status=422)
        return _with_session(see_other(f"{PASSWORD_PAGE}/changed"), token)

    @pages.get("/password/changed")
    async def password_changed(request: Request) -> Response:
        """Say that it was changed."""
        return visit_of(request).render("password_changed.html")

    return pages


def _login_page(visit: Visit, *, wanted: str, name: str, problem: str = "", status: int = 200) -> Response:
    answer = visit.render("login.html", status=status, wanted=wanted, name=name, problem=problem)
    if status == 429:
        answer.headers["Retry-After"] = "60"
    return answer


def _password_page(visit: Visit, *, problem: str = "", status: int = 200) -> Response:
    return visit.render("password.html", status=status, problem=problem, minimum=MIN_LENGTH, maximum=MAX_LENGTH)


def _with_session(answer: RedirectResponse, token: str) -> Response:
    answer.set_cookie(SESSION_COOKIE, token, secure=True, httponly=True, samesite="strict")
    return answer
