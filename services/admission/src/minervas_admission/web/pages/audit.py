"""The audit log: who did what and when, and whether anything was changed or deleted."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission import audit_log
from minervas_admission.personal_data import as_json
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, Visit, visit_of
from minervas_core.errors import Code, LocalFault

PATH = f"{OPERATOR_PAGES}/audit"
MENU = (MenuEntry(40, PATH, "audit.menu"),)

PAGE = 50
"""Entries on one page, newest first."""

FILTERS = ("who", "action", "subject")


def router(site: Site) -> APIRouter:
    """The pages of the audit log."""
    pages = site.operator_router()

    @pages.get("/audit")
    async def audit(request: Request) -> Response:
        """One page of the log; all of it is checked each time."""
        return await _page(visit_of(request))

    @pages.get("/audit/export")
    async def export(request: Request) -> Response:  # noqa: ARG001 - the router has checked who comes
        """The whole log as JSON, after checking it.

        Raises:
            LocalFault: ``audit_mismatch``: a broken log is looked at on the host.
        """
        async with site.database.transaction() as connection:
            entries = await audit_log.read_verified(connection)
        headers = {"Content-Disposition": 'attachment; filename="audit.json"'}
        return Response(as_json(audit_log.as_object(entries)), media_type="application/json", headers=headers)

    return pages


async def _page(visit: Visit) -> Response:
    site, query = visit.site, visit.request.query_params
    wanted = {name: query.get(name, "").strip() for name in FILTERS}
    head = query.get("head", "").strip()
    entries: list[tuple[audit_log.AuditEntry, str]] = []
    fault: LocalFault | None = None
    compared = ""
    async with site.database.transaction() as connection:
        try:
            entries = await audit_log.read_verified(connection)
        except LocalFault as error:
            fault = error
            entries = await audit_log.read_unverified(connection)
    if head and fault is None:
        compared = _compare(entries, head)
    found = [entry for entry, _ in reversed(entries) if _matches(entry, wanted)]
    last_page = max(0, (len(found) - 1) // PAGE)
    number = min(_page_number(query.get("page", "")), last_page)
    return visit.render(
        "audit.html",
        entries=found[number * PAGE : (number + 1) * PAGE],
        found=len(found),
        total=len(entries),
        wanted=wanted,
        page=number,
        last_page=last_page,
        query=urlencode({name: value for name, value in wanted.items() if value}),
        fault=fault,
        newest=audit_log.head_of(entries),
        head=head,
        compared=compared,
    )


def _compare(entries: list[tuple[audit_log.AuditEntry, str]], head: str) -> str:
    """How the log stands to a head that was kept elsewhere: same, other, or unreadable."""
    try:
        audit_log.check_head(entries, head)
    except LocalFault as fault:
        return "unreadable" if fault.code == Code.BAD_SETTINGS else "other"
    return "same"


def _matches(entry: audit_log.AuditEntry, wanted: dict[str, str]) -> bool:
    return all(value.lower() in getattr(entry, name).lower() for name, value in wanted.items())


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
