"""Parameters of the consortium: what is in force, what waits, and changing them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.parameter_changes import ParameterView, WantedChange, last_carrying_height, wanted_change
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, Visit, visit_of
from minervas_core.errors import LocalFault
from minervas_core.governance.parameters import CHANGEABLE, NOTICE_INTERVALS

PATH = f"{OPERATOR_PAGES}/parameters"
MENU = (MenuEntry(50, PATH, "parameters.menu"),)


def router(site: Site) -> APIRouter:
    """The pages of parameters."""
    pages = site.operator_router()

    @pages.get("/parameters")
    async def parameters(request: Request) -> Response:
        """What is in force and what waits, and a form to change it."""
        return await _show(visit_of(request))

    @pages.post("/parameters/check")
    async def check(request: Request) -> Response:
        """Show what a change would do, or why it can not be made."""
        visit = visit_of(request)
        view = await _view(visit)
        try:
            wanted = _wanted(visit)
            view.check(wanted)
        except LocalFault as fault:
            return await _show(visit, fault=fault)
        return visit.render(
            "parameters_ask.html",
            wanted=wanted,
            differences=view.differences(wanted),
            waiting=view.waiting_at(wanted.activation_height),
            tip_height=view.tip_height,
            latest=last_carrying_height(wanted.activation_height, view.genesis),
        )

    @pages.post("/parameters")
    async def change(request: Request) -> Response:
        """Decide the change that was shown."""
        visit = visit_of(request)
        try:
            async with visit.deciding() as decider:
                decision_id = await decider.parameters(_wanted(visit), site.consortium.genesis)
        except LocalFault as fault:
            return await _show(visit, fault=fault)
        return visit.to_decision(decision_id)

    return pages


async def _view(visit: Visit) -> ParameterView:
    async with visit.site.database.transaction() as connection:
        return await ParameterView.read(connection, visit.site.consortium.genesis)


def _wanted(visit: Visit) -> WantedChange:
    """What the form says: an empty field changes nothing.

    Raises:
        LocalFault: ``parameter_value``.
    """
    height = visit.form.text("height")
    given = {name: visit.form.text(f"new_{name}") for name in sorted(CHANGEABLE)}
    assignments = [f"{name}={value}" for name, value in given.items() if value]
    return wanted_change(int(height) if height.isascii() and height.isdigit() and len(height) < 16 else -1, assignments)


async def _show(visit: Visit, *, fault: LocalFault | None = None) -> Response:
    view = await _view(visit)
    current = view.current()
    notice = NOTICE_INTERVALS * view.genesis.parameters.vote_interval
    return visit.render(
        "parameters.html",
        status=422 if fault else 200,
        rows=[(name, current[name], visit.form.text(f"new_{name}")) for name in sorted(CHANGEABLE)],
        fixed=sorted((name, value) for name, value in current.items() if name not in CHANGEABLE),
        waiting=view.waiting(),
        tip_height=view.tip_height,
        height=visit.form.text("height") or str(view.tip_height + 1 + 2 * notice),
        earliest=view.tip_height + 1 + notice,
        fault=fault,
    )
