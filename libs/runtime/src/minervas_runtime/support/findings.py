"""What a doctor finds: one line for each look, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Level = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True):
    """What one look showed."""

    check: str
    """What was looked at, e.g. ``broker``."""
    level: Level
    detail: str
    advice: str = ""
    """What to do; empty if nothing."""


def good(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """It works, but somebody should look after it."""
    return Finding(check, "warning", detail, advice)


def failure(check: str, detail: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, "failure", detail, advice)


def exit_status(findings: Sequence[Finding]) -> int:
    """0 if nothing failed, else 1."""
    return int(any(finding.level == "failure" for finding in findings))


def as_rows(findings: Sequence[Finding]) -> list[tuple[str, str, str, str]]:
    """For a table: what is worst first."""
    order = {"failure": 0, "warning": 1, "ok": 2}
    ranked = sorted(findings, key=lambda finding: order[finding.level])
    return [(each.level, each.check, each.detail, each.advice) for each in ranked]


HEADINGS = ("state", "what", "found", "what to do")
