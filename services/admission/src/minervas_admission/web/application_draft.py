"""What somebody has typed into the application form so far, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from minervas_admission.web.forms import Form
from minervas_core.applicant import MAX_SITES, About, ApplicationForm
from minervas_core.errors import PeerFault
from minervas_core.identifiers import check_member_id, is_member_id

MAX_FORM_PANELS = 64
"""Rows of panels: with more fields a form is not read. `minervas join` takes more."""

MAX_TEXT_LENGTH = 200
MAX_RATED_W = 100_000_000

TEXTS = ("member", "name", "contact", "registration", "address")
SITE_FIELDS = ("name", "latitude", "longitude", "address")
PANEL_FIELDS = ("site", "rated_w", "tilt", "azimuth")

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """The form as it was sent."""

    texts: Mapping[str, str]
    sites: Sequence[Row]
    panels: Sequence[Row]
    accepts_visibility: bool
    problems: Mapping[str, str]
    """By the id of a field: which text (``apply.problem.<text>``) says what is wrong with it."""

    def with_problem(self, field: str, problem: str) -> Draft:
        """The same with one thing more that is wrong."""
        return Draft(self.texts, self.sites, self.panels, self.accepts_visibility, {**self.problems, field: problem})

    def form(self) -> ApplicationForm:
        """What was filled in, when there are no problems."""
        about: dict[str, Any] = {key: self.texts[key] for key in ("registration", "address") if self.texts[key]}
        about["sites"] = [_site(row) for row in self.sites if any(row.values())]
        about["panels"] = [_panel(row) for row in self.panels if any(row.values())]
        return ApplicationForm(
            member=self.texts["member"],
            name=self.texts["name"],
            contact=self.texts["contact"],
            accepts_visibility=self.accepts_visibility,
            about=msgspec.convert(about, About),
        )


EMPTY_SITE: Row = dict.fromkeys(SITE_FIELDS, "")
EMPTY_PANEL: Row = dict.fromkeys(PANEL_FIELDS, "")


def empty_draft() -> Draft:
    """The form as it is first seen."""
    return Draft(dict.fromkeys(TEXTS, ""), [EMPTY_SITE], [EMPTY_PANEL], accepts_visibility=False, problems={})


def read_draft(form: Form) -> Draft:
    """The form as it was sent, with an empty row more where one was asked for; nothing is judged yet."""
    sites = _rows(form, "site", SITE_FIELDS)[:MAX_SITES] or [EMPTY_SITE]
    panels = _rows(form, "panel", PANEL_FIELDS)[:MAX_FORM_PANELS] or [EMPTY_PANEL]
    action = form.text("action")
    if action == "add_site" and len(sites) < MAX_SITES:
        sites.append(EMPTY_SITE)
    if action == "add_panel" and len(panels) < MAX_FORM_PANELS:
        panels.append(EMPTY_PANEL)
    return Draft({key: form.text(key) for key in TEXTS}, sites, panels, form.checked("accepts_visibility"), {})


def judged(draft: Draft) -> Draft:
    """The same with everything that is wrong with it."""
    problems = _text_problems(draft)
    names = [row["name"] for row in draft.sites]
    for number, row in enumerate(draft.sites):
        if any(row.values()):
            problems |= {f"site-{number}-{key}": why for key, why in _site_problems(row, names).items()}
    for number, row in enumerate(draft.panels):
        if any(row.values()):
            problems |= {f"panel-{number}-{key}": why for key, why in _panel_problems(row, names).items()}
    return Draft(draft.texts, draft.sites, draft.panels, draft.accepts_visibility, problems)


def scaled(text: str, factor: int, low: int, high: int) -> int | None:
    """A decimal number as a whole one of smaller units from `low` to `high`; None if it is none."""
    try:
        exact = Decimal(text) * factor if len(text) <= 20 else Decimal("nan")
    except ArithmeticError:  # no number, or one beyond what Decimal can hold
        return None
    if not exact.is_finite() or exact != exact.to_integral_value() or not low <= exact <= high:
        return None
    return int(exact)


def _rows(form: Form, prefix: str, fields: Sequence[str]) -> list[Row]:
    columns = [form.texts(f"{prefix}_{field}") for field in fields]
    return [dict(zip(fields, values, strict=True)) for values in zip(*columns, strict=False)]


def _text_problems(draft: Draft) -> dict[str, str]:
    problems: dict[str, str] = {}
    for key in TEXTS:
        text = draft.texts[key]
        if not text and key in ("member", "name", "contact"):
            problems[key] = "missing"
        elif (why := _bad_text(text)) is not None:
            problems[key] = why
    try:
        check_member_id(draft.texts["member"])
    except PeerFault:
        problems["member"] = "member"
    if not draft.accepts_visibility:
        problems["accepts_visibility"] = "visibility"
    return problems


def _bad_text(text: str) -> str | None:
    if len(text) > MAX_TEXT_LENGTH:
        return "too_long"
    return "unprintable" if _UNPRINTABLE.search(text) else None


def _site_problems(row: Row, names: Sequence[str]) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not is_member_id(row["name"]):
        problems["name"] = "site_name"
    elif names.count(row["name"]) > 1:
        problems["name"] = "site_twice"
    if _latitude(row) is None:
        problems["latitude"] = "latitude"
    if _longitude(row) is None:
        problems["longitude"] = "longitude"
    if (why := _bad_text(row["address"])) is not None:
        problems["address"] = why
    return problems


def _panel_problems(row: Row, names: Sequence[str]) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not row["site"] or row["site"] not in names:
        problems["site"] = "panel_site"
    if scaled(row["rated_w"], 1, 1, MAX_RATED_W) is None:
        problems["rated_w"] = "rated_w"
    if _tilt(row) is None:
        problems["tilt"] = "tilt"
    if _azimuth(row) is None:
        problems["azimuth"] = "azimuth"
    return problems


def _latitude(row: Row) -> int | None:
    return scaled(row["latitude"], 1_000_000, -90_000_000, 90_000_000)


def _longitude(row: Row) -> int | None:
    return scaled(row["longitude"], 1_000_000, -180_000_000, 180_000_000)


def _tilt(row: Row) -> int | None:
    return scaled(row["tilt"], 10, 0, 900)


def _azimuth(row: Row) -> int | None:
    return scaled(row["azimuth"], 10, 0, 3_599)


def _site(row: Row) -> dict[str, Any]:
    address = {"address": row["address"]} if row["address"] else {}
    return {"name": row["name"], "latitude_e6": _latitude(row), "longitude_e6": _longitude(row), **address}


def _panel(row: Row) -> dict[str, Any]:
    return {
        "site": row["site"],
        "rated_w": scaled(row["rated_w"], 1, 1, MAX_RATED_W),
        "tilt_tenths": _tilt(row),
        "azimuth_tenths": _azimuth(row),
    }
