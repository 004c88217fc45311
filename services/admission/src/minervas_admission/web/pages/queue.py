"""The queue of applications, and one application with what it takes to decide."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.deciding import MAX_REASON_LENGTH
from minervas_admission.store.applications import find_application, pending_applications
from minervas_admission.web.application_view import application_view
from minervas_admission.web.faults import Detour, PageFault
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, Visit, visit_of
from minervas_core.errors import Code, LocalFault

MENU = (MenuEntry(10, f"{OPERATOR_PAGES}/queue", "queue.menu", also=f"{OPERATOR_PAGES}/applications"),)


def router(site: Site) -> APIRouter:
    """The pages of applications."""
    pages = site.operator_router()

    @pages.get("/queue")
    async def queue(request: Request) -> Response:
        """What waits for a decision."""
        async with site.database.transaction() as connection:
            rows = await pending_applications(connection)
        return visit_of(request).render("queue.html", rows=rows)

    @pages.get("/applications/{application_id}")
    async def application(request: Request, application_id: str) -> Response:
        """One application."""
        return await _application_page(visit_of(request), application_id)

    @pages.post("/applications/{application_id}")
    async def decide(request: Request, application_id: str) -> Response:
        """Approve or reject it."""
        visit = visit_of(request)
        form = visit.form
        reason = form.text("reason")
        approves = form.text("decision") == "approve"
        if approves and not form.checked("compared"):
            return await _application_page(visit, application_id, problem="not_compared")
        if not approves and not reason:
            return await _application_page(visit, application_id, problem="no_reason")
        if len(reason) > MAX_REASON_LENGTH:
            return await _application_page(visit, application_id, problem="long_reason", reason=reason)
        try:
            async with visit.deciding() as decider:
                if approves:
                    decision_id = await decider.approve(application_id)
                else:
                    decision_id = await decider.reject(application_id, reason)
        except LocalFault as fault:
            if fault.code != Code.NOT_FOUND:
                raise
            return await _application_page(visit, application_id, problem="decided")
        return visit.to_decision(decision_id)

    return pages


async def _application_page(visit: Visit, application_id: str, *, problem: str = "", reason: str = "") -> Response:
    async with visit.site.database.transaction() as connection:
        row = await find_application(connection, application_id)
    if row is None:
        raise PageFault(404, "not_found")
    if row.forgotten_ms is not None:
        raise Detour(f"{OPERATOR_PAGES}/personal/{row.id}")  # nothing is left to read
    return visit.render(
        "queue_application.html",
        status=422 if problem else 200,
        view=application_view(row),
        problem=problem,
        reason=reason,
        max_reason=MAX_REASON_LENGTH,
    )
