"""Write settings files. The standard library reads TOML and does not write it; ours need very little of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = str | int | bool | Path | Sequence["Value"] | Mapping[str, "Value"]
"""What a setting may be. A path is written as it is; the program takes a relative one from its file's directory. A
mapping in a list or in a table becomes an inline table."""

Settings = Mapping[str, Value]
"""Keys of the top level, and tables with their keys."""


def as_toml(settings: Settings) -> str:
    """Return the file's text: first the keys of the top level, then each table."""
    top = [_line(name, value) for name, value in settings.items() if not isinstance(value, Mapping)]
    tables = [
        "\n".join([f"[{name}]", *(_line(key, each) for key, each in table.items())])
        for name, table in settings.items()
        if isinstance(table, Mapping)
    ]
    return "\n\n".join(part for part in ("\n".join(top), *tables) if part) + "\n"


def _line(name: str, value: Value) -> str:
    return f"{name} = {_literal(value)}"


def _literal(value: Value) -> str:
    """A JSON string is a TOML basic string, as long as nothing is left out of ASCII escapes."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(_line(key, each) for key, each in value.items()) + "}"
        case _:
            return "[" + ", ".join(_literal(each) for each in value) + "]"
