"""Passwords for Grafana: the operator makes a one-time link, the member sets the password with it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.grafana.links import LINK_PATH, Links, link_address, make_link
from minervas_admission.rate_limit import RateLimit
from minervas_admission.web.faults import PageFault
from minervas_admission.web.passwords import MAX_LENGTH, MIN_LENGTH, length_is_good
from minervas_admission.web.site import Site, Visit, visit_of
from minervas_core.errors import Code, InvalidEnrolment, LocalFault, TransientFault
from minervas_runtime.clock import monotonic_ms


def router(site: Site) -> APIRouter:
    """The pages about Grafana."""
    pages = APIRouter()
    pages.include_router(_operators(site))
    pages.include_router(_members(site))
    return pages


def _operators(site: Site) -> APIRouter:
    pages = site.operator_router()

    @pages.post("/members/{member}/grafana-link")
    async def make(request: Request, member: str) -> Response:
        """Make a link and show it once."""
        visit = visit_of(request)
        settings = site.settings.grafana
        if settings is None:
            raise PageFault(404, "not_found")
        now_ms = site.clock.now_ms()
        try:
            async with site.database.transaction() as connection:
                token = await make_link(
                    connection, member, valid_hours=settings.link_hours, who=visit.operator.name, now_ms=now_ms
                )
        except LocalFault as fault:
            raise PageFault(409, "not_here") from fault
        return visit.render(
            "grafana_link.html",
            member=member,
            link=link_address(site.settings.http, token),
            hours=settings.link_hours,
        )

    return pages


def _members(site: Site) -> APIRouter:
    pages = site.public_router()
    settings = site.settings.grafana
    limit = RateLimit(settings.passwords_per_minute if settings else 1, monotonic_ms)

    @pages.get(f"{LINK_PATH}/{{token}}")
    async def form(request: Request, token: str) -> Response:
        """The form, if the link can be used; looking at it does not use it."""
        visit = visit_of(request)
        links = _allowed(site, visit, limit)
        try:
            member = await links.member_of(token)
        except InvalidEnrolment as error:
            return _over(visit, error)
        return _form_page(visit, member)

    @pages.post(f"{LINK_PATH}/{{token}}")
    async def send(request: Request, token: str) -> Response:
        """Set the password in Grafana; it is not kept here."""
        visit = visit_of(request)
        links = _allowed(site, visit, limit)
        password = visit.form.raw("new")
        try:
            member = await links.member_of(token)
            if problem := _problem(password, visit.form.raw("repeated")):
                return _form_page(visit, member, problem=problem, status=422)
            await links.set_password(token, password, visit.texts.language)
        except InvalidEnrolment as error:
            return _over(visit, error)
        except TransientFault as error:
            if error.code != Code.GRAFANA_AWAY:
                raise
            return _form_page(visit, member, problem="away", status=503)
        return visit.render("grafana_done.html", member=member, address=_address(site))

    return pages


def _allowed(site: Site, visit: Visit, limit: RateLimit) -> Links:
    """Raises ``rate_limited``, or 404 where there is no Grafana."""
    if not limit.allow(visit.address):
        raise TransientFault(Code.RATE_LIMITED, "Too many passwords from this address; wait a minute")
    if site.links is None:
        raise PageFault(404, "not_found")
    return site.links


def _problem(password: str, repeated: str) -> str:
    """What is wrong with a password; empty if nothing is."""
    if not length_is_good(password) or not password.isprintable():
        return "length"
    return "" if password == repeated else "differ"


def _form_page(visit: Visit, member: str, *, problem: str = "", status: int = 200) -> Response:
    return visit.render(
        "grafana_password.html", status=status, member=member, problem=problem, minimum=MIN_LENGTH, maximum=MAX_LENGTH
    )


def _over(visit: Visit, error: InvalidEnrolment) -> Response:
    """The link leads nowhere."""
    return visit.render("grafana_over.html", status=404 if error.code == Code.TOKEN_UNKNOWN else 410, code=error.code)


def _address(site: Site) -> str:
    """Where members log in."""
    grafana = site.settings.grafana
    return (grafana.public_url or grafana.url) if grafana else ""
