"""What was decided, and what became of it, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.store.decisions import (
    ENDING,
    OVER,
    Decision,
    StepRow,
    decisions_before,
    find_decision,
    steps_of,
)
from minervas_admission.store.transactions import transactions_of_decision
from minervas_admission.web.faults import PageFault
from minervas_admission.web.site import OPERATOR_PAGES, REFRESHED, MenuEntry, Site, visit_of

PATH = f"{OPERATOR_PAGES}/decisions"
MENU = (MenuEntry(20, PATH, "decisions.menu"),)

PER_PAGE = 50
STILL = "still"
"""Parameter of a page that does not refresh itself, for whoever reads slowly."""

REFRESH_S = {"queued": 1, "carried_out": 5}
"""How often the page of a decision refreshes itself, by its state; the chain takes its time."""


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of a decision, begun or not."""

    name: str
    state: str
    """waiting, failing, done, or dropped when the decision ended without it."""
    row: StepRow | None


@dataclass(frozen=True, slots=True)
class Effect:
    """How long after a revocation something was so; 0 if it is not so yet."""

    name: str
    after_ms: int


def router(site: Site) -> APIRouter:
    """The pages of decisions."""
    pages = site.operator_router()

    @pages.get("/decisions")
    async def decisions(request: Request) -> Response:
        """All decisions, newest first."""
        before = _number(request.query_params.get("before", ""))
        async with site.database.transaction() as connection:
            rows = await decisions_before(connection, before, PER_PAGE + 1)
        older = rows[PER_PAGE - 1].id if len(rows) > PER_PAGE else 0
        return visit_of(request).render("decisions.html", rows=rows[:PER_PAGE], older=older, before=before)

    @pages.get("/decisions/{decision_id}")
    async def decision(request: Request, decision_id: str) -> Response:
        """One decision with its steps."""
        async with site.database.transaction() as connection:
            found = await find_decision(connection, _number(decision_id) or 0)
            if found is None:
                raise PageFault(404, "not_found")
            rows = await steps_of(connection, found.id)
            transactions = await transactions_of_decision(connection, found.id)
        still = STILL in request.query_params
        return visit_of(request).render(
            "decisions_one.html",
            decision=found,
            steps=step_views(found, rows, site.steps.get(found.kind, ())),
            effects=effects_of(found, rows),
            transactions=transactions,
            refresh_s=0 if still else REFRESH_S.get(found.state, 0),
            refresh_path=f"{PATH}/{found.id}?{REFRESHED}=1",
            still_path="" if still or found.state in OVER else f"{PATH}/{found.id}?{STILL}=1",
        )

    return pages


def step_views(decision: Decision, rows: list[StepRow], planned: tuple[str, ...]) -> list[StepView]:
    """What was begun, in its order, then what is still to come."""
    begun = {row.step for row in rows}
    rest = "dropped" if decision.state in OVER else "waiting"
    return [
        *(StepView(row.step, row.state, row) for row in rows),
        *(StepView(name, rest, None) for name in planned if name not in begun),
    ]


def effects_of(decision: Decision, rows: list[StepRow]) -> list[Effect]:
    """What the end of a membership is about: since when the member's sessions are cut, and new ones refused."""
    if decision.kind not in ENDING:
        return []
    done = {row.step: max(1, row.finished_ms - decision.made_ms) for row in rows if row.state == "done"}
    return [Effect(step, done.get(step, 0)) for step in ("broker", "revocation_list")]


def _number(text: str) -> int | None:
    """A decision's id, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
