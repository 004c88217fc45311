"""What commands print. Texts of applicants are made harmless first: a terminal obeys control characters."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_json(value: object) -> None:
    """Print a value for programs."""
    say(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True))


def harmless(text: str) -> str:
    """A text that can be printed: whatever could steer a terminal becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns."""
    lines = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def when(time_ms: int | None) -> str:
    """A time for people, in UTC."""
    if not time_ms:
        return "-"
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def milliseconds(took_us: int) -> str:
    """A duration for people."""
    return f"{took_us / 1000:,.1f} ms"


def degrees(micro: int) -> str:
    """Millionths of a degree as degrees."""
    return f"{'-' if micro < 0 else ''}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06}"


def tenths(value: int) -> str:
    """Tenths of a degree as degrees."""
    return f"{value // 10}.{value % 10}"
