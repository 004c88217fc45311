"""How a vector file looks: one JSON object with its topic, a line about it, and lists of cases."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from minervas_core.errors import MinervasError

Plain: TypeAlias = "str | int | bool | Sequence[Plain] | Mapping[str, Plain] | None"
"""What JSON can say."""

Case: TypeAlias = dict[str, Plain]
"""One case: a name, inputs and what comes out."""


LISTED_BLANKS = 16
"""More blanks than this at the end of refused bytes are only counted, to keep the files small."""


def render(content: Mapping[str, Plain]) -> str:
    """The file's text: one field a line, ASCII, the same for the same content."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def refused(faults: Mapping[str, bytes], judge: Callable[[bytes], object]) -> list[Case]:
    """Bytes with the code under which `judge` refuses them.

    Raises:
        AssertionError: if it accepts some, for then the case does not show what its name says.
    """
    cases: list[Case] = []
    for name, data in faults.items():
        try:
            judge(data)
        except MinervasError as error:
            cases.append({"name": name, **_bytes(data), "code": str(error.code)})
        else:
            raise AssertionError(f"accepted: {name}")
    return cases


def _bytes(data: bytes) -> Case:
    """Bytes as a case holds them: in hex, many blanks at the end only counted."""
    kept = data.rstrip(b" ")
    blanks = len(data) - len(kept)
    if blanks <= LISTED_BLANKS:
        return {"bytes_hex": data.hex()}
    return {"bytes_hex": kept.hex(), "then_blanks": blanks}
