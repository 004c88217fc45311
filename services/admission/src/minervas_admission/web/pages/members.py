"""Members: all of them, everything about one, and what can be decided about it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.commands.checks import GUARDED, check_operator_member, check_sensible
from minervas_admission.deciding import MAX_REASON_LENGTH
from minervas_admission.member_view import MemberView, Presences, read_member, read_members
from minervas_admission.store.grafana import find_access, link_of
from minervas_admission.store.members import ENDED, MemberOverview
from minervas_admission.web.faults import PageFault
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, Visit, visit_of
from minervas_core.errors import Code, LocalFault

PATH = f"{OPERATOR_PAGES}/members"
MENU = (MenuEntry(30, PATH, "members.menu"),)

ACTIONS = ("suspend", "resume", "leave", "revoke")
TYPED = ("leave", "revoke")
"""For ever: the member id must be typed."""
REASONED = ("revoke",)
"""The member is told why."""

STANDINGS = ("active", "suspended", "approving", "revoked", "left")
"""What the list can be narrowed to, besides those that need attention."""
ATTENTION = "attention"
EXPIRES_SOON_MS = 10 * 86_400_000
"""Certificates last 30 days and are renewed after 20: one with less left was not."""


@dataclass(frozen=True, slots=True)
class Line:
    """A member in the list."""

    overview: MemberOverview
    presence: Presences
    standing: str
    """One of `STANDINGS`."""
    expires_soon: bool
    needs_attention: bool


def line_of(overview: MemberOverview, presence: Presences) -> Line:
    """Judge what the list shows of a member."""
    ended = overview.state in ENDED
    expires_soon = not ended and 0 < overview.certificate_expires_ms < presence.now_ms + EXPIRES_SOON_MS
    away = overview.state == "active" and len(presence.in_state("online")) < overview.services
    trouble = not ended and bool(presence.problems)
    standing = "suspended" if overview.suspended_ms and not ended else overview.state
    return Line(overview, presence, standing, expires_soon, expires_soon or away or trouble)


def router(site: Site) -> APIRouter:
    """The pages of members."""
    pages = site.operator_router()

    @pages.get("/members")
    async def members(request: Request) -> Response:
        """All members that ever were, or those that the filter lets through."""
        return await _list(visit_of(request))

    @pages.get("/members/{member}")
    async def one(request: Request, member: str) -> Response:
        """Everything about one member."""
        visit = visit_of(request)
        view = await _read(visit, member)
        async with site.database.transaction() as connection:
            access, link = await find_access(connection, member), await link_of(connection, member)
        return visit.render(
            "members_one.html",
            access=access,
            link=link,
            view=view,
            line=line_of(view.overview, view.presence),
            possible=possible_actions(view.overview),
            ended=view.overview.state in ENDED,
            is_operator=member == site.settings.consortium.operator_member,
            now_ms=site.clock.now_ms(),
        )

    @pages.get("/members/{member}/{action}")
    async def ask(request: Request, member: str, action: str) -> Response:
        """Say what will happen, and ask."""
        return await _ask(visit_of(request), member, action)

    @pages.post("/members/{member}/{action}")
    async def decide(request: Request, member: str, action: str) -> Response:
        """Decide, and go on to the page that shows how it is carried out."""
        return await _decide(visit_of(request), member, action)

    return pages


async def _list(visit: Visit) -> Response:
    site, query = visit.site, visit.request.query_params
    text, standing = (query.get(name, "").strip() for name in ("text", "standing"))
    async with site.database.transaction() as connection:
        found = await read_members(connection, site.clock.now_ms())
    lines = [line_of(overview, presence) for overview, presence in found]
    shown = [line for line in lines if _matches(line, text, standing)]
    return visit.render(
        "members.html", lines=shown, total=len(lines), text=text, standing=standing,
        choices=(*STANDINGS, ATTENTION), path_of=PATH,
    )  # fmt: skip


def possible_actions(row: MemberOverview) -> list[str]:
    """What can be decided about a member as it stands."""
    if row.state in ENDED:
        return []
    voting = [] if row.state != "active" else ["resume"] if row.suspended_ms else ["suspend"]
    return [*voting, "leave", "revoke"]


def _matches(line: Line, text: str, standing: str) -> bool:
    row = line.overview
    if standing and standing != (ATTENTION if standing == ATTENTION and line.needs_attention else line.standing):
        return False
    return text.lower() in f"{row.member} {row.name}".lower()


async def _read(visit: Visit, member: str) -> MemberView:
    """The member.

    Raises:
        PageFault: 404 if there is none.
    """
    async with visit.site.database.transaction() as connection:
        try:
            return await read_member(connection, member, visit.site.clock.now_ms())
        except LocalFault as fault:
            if fault.code != Code.NOT_FOUND:
                raise
            raise PageFault(404, "not_found") from fault


async def _ask(visit: Visit, member: str, action: str, *, problem: str = "") -> Response:
    """Show what a decision does.

    Raises:
        PageFault: 404 for an unknown member or action.
    """
    if action not in ACTIONS:
        raise PageFault(404, "not_found")
    view = await _read(visit, member)
    async with visit.site.database.transaction() as connection:
        try:
            await check_sensible(connection, action, member)
        except LocalFault as fault:
            return visit.render("members_not.html", status=409, member=member, action=action, code=fault.code)
    own = visit.site.settings.consortium.operator_member
    return visit.render(
        "members_ask.html",
        status=422 if problem else 200,
        view=view,
        member=member,
        action=action,
        is_operator=member == own and action in GUARDED,
        typed=action in TYPED,
        reason_needed=action in REASONED,
        reason=visit.form.text("reason"),
        max_reason=MAX_REASON_LENGTH,
        problem=problem,
    )


async def _decide(visit: Visit, member: str, action: str) -> Response:
    if action not in ACTIONS:
        raise PageFault(404, "not_found")
    reason = visit.form.text("reason")
    meant = visit.form.checked("operator_member")
    if problem := _problem(visit, member, action, reason):
        return await _ask(visit, member, action, problem=problem)
    try:
        check_operator_member(action, member, visit.site.settings.consortium.operator_member, meant=meant)
    except LocalFault:
        return await _ask(visit, member, action, problem="operator_member")
    try:
        async with visit.deciding() as decider:
            decision_id = await decider.about_member(action, member, reason, operator_member_meant=meant)
    except LocalFault:  # somebody decided meanwhile; the page says what
        return await _ask(visit, member, action)
    return visit.to_decision(decision_id)


def _problem(visit: Visit, member: str, action: str, reason: str) -> str:
    """What is wrong with the form; empty if nothing is."""
    if action in TYPED and visit.form.text("typed") != member:
        return "typed"
    if action in REASONED and not reason:
        return "reason"
    if len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        return "long"
    return ""
