"""Everything that is wrong with the shape of a TOML file at once, each with its full key and what to do.

`load_settings` stops at the first mistake, as a program must that cannot start. Somebody who is writing the file wants
to see all of them, and in which entry of a table they are.
"""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from minervas_runtime.settings import SettingsError, load_settings

T = TypeVar("T", bound=msgspec.Struct)


class ManyProblems(Exception):
    """A file, or several that belong together, cannot be used.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: list[SettingsError]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def load_or_explain(path: Path, kind: type[T], *, with_environment: bool) -> T:
    """Read a file as `load_settings` does, but look for every mistake.

    Args:
        path: the file.
        kind: the struct to fill.
        with_environment: whether variables of the environment replace keys.

    Raises:
        ManyProblems: with all mistakes of shape.
    """
    try:
        return load_settings(path, kind, environment=None if with_environment else {})
    except SettingsError as error:
        found = _shape_problems(path, kind)
        raise ManyProblems(found or [error]) from error


def _shape_problems(path: Path, kind: type[msgspec.Struct]) -> list[SettingsError]:
    """All mistakes of shape; none if the file cannot be read or parsed at all."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return list(_in_struct(content, kind, "", path))


def _in_struct(content: Any, kind: type[msgspec.Struct], key: str, path: Path) -> Iterator[SettingsError]:
    if not isinstance(content, dict):
        yield SettingsError("Expected a table", file=path, key=key, advice=f"write it as [{key}]")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in sorted(content.keys() - fields.keys()):
        yield SettingsError(
            "there is no such setting", file=path, key=_joined(key, name), advice=_suggestion(name, sorted(fields))
        )
    for name, field in fields.items():
        if name in content:
            yield from _in_value(content[name], field.type, _joined(key, name), path)
        elif field.required:
            yield SettingsError("this setting is missing", file=path, key=_joined(key, name), advice="add it")


def _in_value(value: Any, kind: Any, key: str, path: Path) -> Iterator[SettingsError]:
    plain = _without_none(_without_limits(kind))
    origin, inner = typing.get_origin(plain), typing.get_args(plain)
    if _is_struct(plain):
        yield from _in_struct(value, plain, key, path)
    elif origin is list and isinstance(value, list) and value and _is_struct(inner[0]):
        for number, each in enumerate(value):
            yield from _in_struct(each, inner[0], f"{key}[{number}]", path)
    elif origin is list and isinstance(value, dict) and _is_struct(inner[0]):
        yield SettingsError("Expected a list of tables", file=path, key=key, advice=f"write each as [[{key}]]")
    elif origin is dict and isinstance(value, dict) and value and _is_struct(inner[1]):
        for name, each in value.items():
            yield from _in_struct(each, inner[1], _joined(key, name), path)
    elif plain is not Path or not isinstance(value, str):
        yield from _in_scalar(value, kind, key, path)


def _in_scalar(value: Any, kind: Any, key: str, path: Path) -> Iterator[SettingsError]:
    try:
        msgspec.convert(value, kind, dec_hook=_refuse)
    except msgspec.ValidationError as error:
        problem = str(error).partition(" - at ")[0]
        plain = _without_none(_without_limits(kind))
        choices = typing.get_args(plain) if typing.get_origin(plain) is typing.Literal else ()
        advice = f"write {' or '.join(map(str, choices))}" if choices else "correct it"
        yield SettingsError(problem, file=path, key=key, advice=advice)


def _refuse(kind: type, value: Any) -> Any:
    raise ValueError(f"Expected a {kind.__name__.lower()}, got {value!r}")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _without_limits(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _without_none(kind: Any) -> Any:
    """The other type in ``X | None``."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    return next(_without_limits(each) for each in typing.get_args(kind) if each is not types.NoneType)


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _suggestion(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
