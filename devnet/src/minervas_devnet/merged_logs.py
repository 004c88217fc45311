"""One log out of many: the JSON lines of all services of a devnet in the order of their times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHOWN_FIRST = ("time", "level", "service", "member", "event", "logger")


def merged_lines(log_dir: Path) -> Iterator[str]:
    """Yield every event of the log files in a directory, oldest first, one line for a person each.

    Lines that are not JSON (a program's last words) stand behind the event that came before them in their file.
    """
    entries: list[tuple[str, str, int, str]] = []
    for file in sorted(log_dir.glob("*.log")):
        time = ""
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines()):
            record = _record(line)
            time = str(record.get("time", time)) if record else time
            entries.append((time, file.stem, number, _shown(record) if record else line))
    for time, name, _, text in sorted(entries):
        yield f"{time} {name}: {text}"


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _shown(record: dict[str, Any]) -> str:
    """Level and event, then the fields."""
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in SHOWN_FIRST)
    return f"{record.get('level', '')} {record.get('event', '')} {rest}".rstrip()
