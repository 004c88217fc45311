"""Verifying step by step: what was checked, and where it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from minervas_core.encoding import Record
from minervas_core.errors import MinervasError, Value

Status = Literal["ok", "failed", "not_checked"]


class Step(Record, frozen=True, kw_only=True):
    """One step of a verification."""

    about: str = ""
    """What it is about: the bill, a line, a statement."""
    name: str
    """What was checked: ``bill``, ``block``, ``finality``, ``trade``, ``lots``, ``statement``, ``readings``, ..."""
    status: Status
    text: str
    """What it showed, or why it failed or was left out."""
    code: str = ""
    """Stable code of a failure."""
    values: dict[str, str | int | bool] = msgspec.field(default_factory=dict)


class NotChecked(Exception):
    """A step for which something is missing that nobody can be blamed for, with the reason."""


Check = Callable[[], str]
"""Does one step; returns what it showed. Raises `MinervasError` for a failure."""


def run_steps(about: str, checks: Iterable[tuple[str, Check]]) -> Iterator[Step]:
    """Run checks in turn until one fails: what rests on it would show nothing."""
    for name, check in checks:
        step = run_step(about, name, check)
        yield step
        if step.status == "failed":
            return


def run_step(about: str, name: str, check: Check) -> Step:
    """Run one check."""
    try:
        return Step(about=about, name=name, status="ok", text=check())
    except NotChecked as reason:
        return Step(about=about, name=name, status="not_checked", text=str(reason))
    except MinervasError as error:
        values: dict[str, Value] = dict(error.values)
        return Step(about=about, name=name, status="failed", text=error.message, code=error.code.value, values=values)


def all_hold(steps: Iterable[Step]) -> bool:
    """Whether nothing failed."""
    return all(step.status != "failed" for step in steps)
