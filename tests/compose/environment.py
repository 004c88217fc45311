"""The `.env` files of the test: the examples that IT gets, filled in as their comments say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.compose.project import ROOT


def filled_in(example: str, values: Mapping[str, str], target: Path) -> Path:
    """Write an example with values set; lines that are commented out are taken into use.

    Args:
        example: name of the example file.
        values: what is set; a name that the example does not have is added at the end.
        target: the file to write.
    """
    text = (ROOT / example).read_text("utf-8")
    added = []
    for name, value in values.items():
        text, found = re.subn(rf"(?m)^(# )?{name}=.*$", f"{name}={value}".replace("\\", r"\\"), text, count=1)
        if not found:
            added.append(f"{name}={value}")
    target.write_text("\n".join([text.rstrip("\n"), *added, ""]), "utf-8")
    return target
