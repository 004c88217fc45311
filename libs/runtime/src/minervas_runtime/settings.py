"""Settings files: strict TOML into msgspec structs, and errors that say which file, which key and what to do.

* An unknown key is an error, so that a typing mistake never silently means the default.
* ``MINERVAS_<SECTION>__<KEY>`` in the environment replaces a key, e.g. ``MINERVAS_BROKER__PORT=8884``; a list of words
  is written with commas. ``MINERVAS_<KEY>`` replaces a word above the sections, e.g. ``MINERVAS_MEMBER=mokpo-univ``.
  An empty variable counts as none, because a container's environment cannot leave one out.
* A field of type `Path` is relative to the settings file.
* Secrets are named by path (``password_file``), never given in a file or the environment.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from minervas_core.errors import Code, LocalFault

T = TypeVar("T", bound=msgspec.Struct)

ENVIRONMENT_PREFIX = "MINERVAS_"


class SettingsError(LocalFault):
    """The settings cannot be used; the program ends with status 2."""

    def __init__(self, problem: str, *, file: Path | str, key: str = "", advice: str = "") -> None:
        """Say what is wrong.

        Args:
            problem: what was found and what was expected.
            file: the settings file, or the environment variable.
            key: the dotted key.
            advice: what to do about it.
        """
        values = {"file": str(file), "key": key}
        super().__init__(Code.BAD_SETTINGS, problem, **{name: value for name, value in values.items() if value})
        self.file = str(file)
        self.key = key
        self.advice = advice

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.message}" + (f"; {self.advice}" if self.advice else "")


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where /healthz and /metrics are served."""

    host: str = "127.0.0.1"
    port: typing.Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """0 means nowhere."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged."""

    level: typing.Literal["debug", "info", "warning", "error"] = "info"


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is."""

    host: str
    port: typing.Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8883


class NodePaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Directories of a node, as one of its services sees them."""

    data: Path
    """The service's own private directory."""
    enrol: Path
    """Where it leaves its certificate request and public keys."""
    issued: Path
    """Where `minervas join` puts what the consortium issued."""
    secrets: Path
    """Where `minervas join` puts the node key."""


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all services of a member's node have in common; each adds its own sections."""

    member: str
    paths: NodePaths
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    broker: BrokerSettings | None = None
    """Overrides the address that the consortium issued."""


def load_settings(path: Path, kind: type[T], *, environment: Mapping[str, str] | None = None) -> T:
    """Read a settings file.

    Args:
        path: the TOML file.
        kind: the struct to fill; it should forbid unknown fields.
        environment: where overrides are looked up; the process' environment if not given.

    Raises:
        SettingsError: naming file, key, what was expected and what to do.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError("no such file", file=path, advice="make it or name another with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read ({error})", file=path, advice="check its owner and content") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}", file=path, advice="correct that line") from error
    _override(content, kind, os.environ if environment is None else environment)
    try:
        return msgspec.convert(content, kind, dec_hook=_decoder(path.resolve().parent))
    except msgspec.ValidationError as error:
        raise _explain(str(error), path, kind) from error


def _decoder(base: Path) -> typing.Callable[[type, Any], Any]:
    """Build what turns a string into a path relative to `base`."""

    def decode(kind: type, value: Any) -> Any:
        if kind is Path and isinstance(value, str) and value:
            return base / value
        raise ValueError(f"Expected a path, got {value!r}")

    return decode


def _override(content: dict[str, Any], kind: type[msgspec.Struct], environment: Mapping[str, str]) -> None:
    """Put what the environment says into the parsed file, converted to the type of its field."""
    for variable, text in environment.items():
        if not text or not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, in_section, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not in_section and _is_word(_fields(kind).get(section)):
            content[section] = _converted(text, _fields(kind)[section], variable, section)
        if not in_section or not section:
            continue
        inner = _struct_of(_fields(kind).get(section))
        field_type = _fields(inner).get(key) if inner else None
        if inner is None or field_type is None:
            known = _fields(inner) if inner else [name for name, of in _fields(kind).items() if _struct_of(of)]
            raise SettingsError(
                f"there is no setting {section}.{key}", file=variable, advice=_suggest(key if inner else section, known)
            )
        table = content.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _converted(text, field_type, variable, f"{section}.{key}")


def _converted(text: str, field_type: Any, variable: str, key: str) -> Any:
    """The value of a variable as its field wants it."""
    if field_type in (Path, Path | None):
        return text
    value: Any = [word.strip() for word in text.split(",")] if _is_list(field_type) else text
    try:
        return msgspec.convert(value, field_type, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error), file=variable, key=key, advice="correct it") from error


def _bare(field_type: Any) -> Any:
    """A type without what limits its values."""
    return typing.get_args(field_type)[0] if typing.get_origin(field_type) is typing.Annotated else field_type


def _is_word(field_type: Any) -> bool:
    """Whether a field holds text, or one of some words."""
    return _bare(field_type) is str or typing.get_origin(_bare(field_type)) is typing.Literal


def _is_list(field_type: Any) -> bool:
    return typing.get_origin(_bare(field_type)) in (list, tuple)


def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _struct_of(field_type: Any) -> type[msgspec.Struct] | None:
    """Find the struct in ``Struct`` or ``Struct | None``."""
    options = typing.get_args(field_type) if isinstance(field_type, types.UnionType) else (field_type,)
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _item_type(field_type: Any) -> Any:
    """Type of the items of a (constrained) list; of anything else, its own."""
    if typing.get_origin(field_type) in (typing.Annotated, list):
        return _item_type(typing.get_args(field_type)[0])
    return field_type


def _explain(text: str, path: Path, kind: type[msgspec.Struct]) -> SettingsError:
    """Turn msgspec's sentence into ours: the full dotted key, and what to do."""
    problem, _, where = text.partition(" - at `$")
    section = where.rstrip("`").lstrip(".")
    name = re.search(r"field `([^`]+)`", problem)
    key = ".".join(part for part in (section, name.group(1) if name else "") if part)
    if "unknown field" in problem:
        inner = kind
        for part in section.split(".") if section else []:
            inner = _struct_of(_item_type(_fields(inner).get(part.partition("[")[0]))) or inner
        return SettingsError("there is no such setting", file=path, key=key, advice=_suggest(key, _fields(inner)))
    if "missing required field" in problem:
        return SettingsError("this setting is missing", file=path, key=key, advice="add it")
    return SettingsError(problem, file=path, key=key, advice="correct it")


def _suggest(wrong: str, known: typing.Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(wrong.rpartition(".")[2], names, n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(names)}"
