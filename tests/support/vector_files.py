"""The committed vector files, and how a check reads a case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minervas_core.errors import MinervasError

SPEC = Path(__file__).parents[2] / "spec"

Case = dict[str, Any]
FILES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("ascii")) for path in sorted((SPEC / "vectors").glob("*.json"))
}
"""Content by name."""


def bytes_of(case: Case) -> bytes:
    """Bytes of a refused case; blanks at the end may only be counted."""
    blanks: int = case.get("then_blanks", 0)
    return bytes.fromhex(case["bytes_hex"]) + b" " * blanks


def code_of(action: Callable[[], object]) -> str | None:
    """The code with which an action refuses."""
    try:
        action()
    except MinervasError as error:
        return str(error.code)
    return None
