"""Personal data: hand out what is held about somebody, and delete it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.personal_data import Subject, as_json, export_data, find_subject, forget
from minervas_admission.store.applications import rejected_applications
from minervas_admission.store.certificates import DAY_MS
from minervas_admission.store.database import Connection
from minervas_admission.web.faults import PageFault
from minervas_admission.web.site import OPERATOR_PAGES, Site, Visit, see_other, visit_of
from minervas_core.errors import Code, LocalFault

PATH = f"{OPERATOR_PAGES}/personal"
MAX_SHOWN = 200
"""Rejected applications on one page, oldest first: they are deleted by themselves."""


def router(site: Site) -> APIRouter:
    """The pages of personal data."""
    pages = site.operator_router()

    @pages.get("/personal")
    async def rejected(request: Request) -> Response:
        """Rejected applications that still have personal data."""
        return await _rejected(visit_of(request))

    @pages.get("/personal/{wanted}")
    async def ask(request: Request, wanted: str) -> Response:
        """Say what is handed out and what is deleted."""
        return await _show(visit_of(request), wanted)

    @pages.post("/personal/{wanted}/export")
    async def export(request: Request, wanted: str) -> Response:
        """Hand out everything that is held."""
        visit = visit_of(request)
        async with site.database.transaction() as connection:
            subject = await _subject(connection, wanted)
            document = await export_data(connection, subject, who=visit.operator.name, now_ms=site.clock.now_ms())
        headers = {"Content-Disposition": f'attachment; filename="{subject.name}.json"'}
        return Response(as_json(document), media_type="application/json", headers=headers)

    @pages.post("/personal/{wanted}/forget")
    async def delete(request: Request, wanted: str) -> Response:
        """Delete the personal data."""
        visit = visit_of(request)
        if visit.form.text("typed") != wanted:
            return await _show(visit, wanted, problem="typed")
        try:
            async with site.database.transaction() as connection:
                subject = await _subject(connection, wanted)
                await forget(connection, subject, who=visit.operator.name, now_ms=site.clock.now_ms())
        except LocalFault as fault:
            return await _show(visit, wanted, problem=fault.code)
        return see_other(f"{PATH}/{wanted}")

    return pages


async def _rejected(visit: Visit) -> Response:
    site, days = visit.site, visit.site.settings.personal_data.rejected_days
    async with site.database.transaction() as connection:
        rows = await rejected_applications(connection, site.clock.now_ms(), MAX_SHOWN)
    return visit.render("personal_data.html", rows=rows, days=days, keep_ms=days * DAY_MS)


async def _show(visit: Visit, wanted: str, *, problem: str = "") -> Response:
    async with visit.site.database.transaction() as connection:
        subject = await _subject(connection, wanted)
    return visit.render(
        "personal_data_one.html", status=422 if problem else 200, subject=subject, wanted=wanted, problem=problem,
        forgotten=all(row.forgotten_ms for row in subject.applications), why_not=_why_not(subject),
    )  # fmt: skip


def _why_not(subject: Subject) -> str:
    """Why the data is still needed; empty if it is not."""
    if subject.member is not None and subject.member.ended_ms is None:
        return Code.MEMBER_ACTIVE
    return Code.NOT_READY if any(row.state in ("pending", "approving") for row in subject.applications) else ""


async def _subject(connection: Connection, wanted: str) -> Subject:
    """Whom it is about.

    Raises:
        PageFault: 404 if there is nobody.
    """
    try:
        return await find_subject(connection, wanted)
    except LocalFault as fault:
        if fault.code != Code.NOT_FOUND:
            raise
        raise PageFault(404, "not_found") from fault
