"""Operator accounts: who can log in here."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.store.operators import all_operators
from minervas_admission.web.accounts import AccountFault
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, Visit, see_other, visit_of

PATH = f"{OPERATOR_PAGES}/accounts"
MENU = (MenuEntry(90, PATH, "accounts.menu"),)


def router(site: Site) -> APIRouter:
    """The pages of accounts."""
    pages = site.operator_router()

    @pages.get("/accounts")
    async def accounts(request: Request) -> Response:
        """Who can log in."""
        return await _list(visit_of(request))

    @pages.post("/accounts")
    async def add(request: Request) -> Response:
        """Add an account, and show its first password once."""
        visit = visit_of(request)
        name = visit.form.text("name")
        try:
            password = await site.accounts.add(name, who=visit.operator.name)
        except AccountFault as fault:
            return await _list(visit, problem=fault.why, name=name)
        return visit.render("accounts_added.html", name=name, password=password)

    @pages.get("/accounts/{name}/disable")
    async def ask_to_disable(request: Request, name: str) -> Response:
        """Ask before an account is closed."""
        return visit_of(request).render("accounts_disable.html", name=name)

    @pages.post("/accounts/{name}/disable")
    async def disable(request: Request, name: str) -> Response:
        """Close an account; the own one stays, so that nobody locks themselves out by mistake."""
        visit = visit_of(request)
        if name == visit.operator.name:
            return await _list(visit, problem="own")
        try:
            await site.accounts.disable(name, who=visit.operator.name)
        except AccountFault as fault:
            return await _list(visit, problem=fault.why)
        return see_other(PATH)

    return pages


async def _list(visit: Visit, *, problem: str = "", name: str = "") -> Response:
    async with visit.site.database.transaction() as connection:
        rows = await all_operators(connection)
    return visit.render("accounts.html", status=422 if problem else 200, rows=rows, problem=problem, wanted_name=name)
