"""How commands show things: tables for people, JSON for programs. Nothing that others wrote can steer the terminal."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 240
"""Columns of a table that does not go to a terminal: nothing is cut."""

SHORT_HASH = 12
"""Digits of a hash in a table."""


class Output:
    """Where a command writes."""

    def __init__(self, console: Console | None = None, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._has_tables = False
        self._console = console or Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self._console.out(harmless(line), highlight=False)

    def json(self, value: Any) -> None:
        """Print a value for programs."""
        self._console.out(json.dumps(value, indent=2, ensure_ascii=True, sort_keys=True), highlight=False)

    def facts(self, title: str, facts: Iterable[tuple[str, object]]) -> None:
        """Print named values below each other."""
        table = Table(title=Text(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in facts:
            table.add_row(Text(name), Text(harmless(str(value))))
        self._print(table)

    def table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; columns whose values are numbers stand to the right."""
        cells = [list(row) for row in rows]
        table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for number, heading in enumerate(headings):
            is_number = bool(cells) and all(isinstance(row[number], int) for row in cells)
            table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
        for row in cells:
            table.add_row(*(Text(harmless(_shown(cell))) for cell in row))
        self._print(table)

    def _print(self, table: Table) -> None:
        """Print a table, with a blank line after the one before."""
        if self._has_tables:
            self._console.print()
        self._console.print(table)
        self._has_tables = True


def harmless(text: str) -> str:
    """The text without what could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def short(digest: str) -> str:
    """The first digits of a hash."""
    return digest[:SHORT_HASH]


def when(time_ms: int) -> str:
    """A time for people, in UTC; a dash for 0."""
    if not time_ms:
        return "-"
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
