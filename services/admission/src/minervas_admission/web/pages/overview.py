"""The first page: what waits for the operator, and whether the service is well."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.crl import REISSUE_MS
from minervas_admission.housekeeping import WARN_MS
from minervas_admission.store.applications import count_pending
from minervas_admission.store.overview import read_overview
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, visit_of

MENU = (MenuEntry(0, OPERATOR_PAGES, "overview.menu"),)


def router(site: Site) -> APIRouter:
    """The overview."""
    pages = site.operator_router()

    @pages.get("")
    async def overview(request: Request) -> Response:
        """What waits, and how the service is."""
        visit = visit_of(request)
        async with site.database.transaction() as connection:
            waiting = await count_pending(connection)
            state = await read_overview(connection)
        return visit.render(
            "overview.html",
            waiting=waiting,
            state=state,
            health=site.health(),
            now_ms=site.clock.now_ms(),
            late_ms=2 * REISSUE_MS,
            warn_ms=WARN_MS,
        )

    return pages
