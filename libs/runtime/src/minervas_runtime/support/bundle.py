"""A file for whoever helps: states, numbers and logs, and nothing that could be a secret.

Nothing is removed from what is collected: only what is on a list gets in. Numbers and yes or no always do; a text only
where it stands under a known name and is one of known words, or has a form that no key, password or token of ours has.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import atomic_file
from minervas_runtime.support.findings import Finding

LEFT_OUT = "[left out]"
MAX_LOG_LINES = 20_000
MAX_LOG_BYTES = 64 << 20
MAX_DEPTH = 8
MAX_ITEMS = 1_000

_CODES = frozenset(str(code) for code in Code)
_WORDS = frozenset(
    """ok waiting failing failure warning error info debug online offline connected not_connected none active revoked
    left suspended approving own all away answers accepted refused unreachable admitted newcomer unknown renewed
    due""".split()  # noqa: SIM905 - a list of words reads best like this
)
_CHECKS = frozenset(
    """clock disk keys membership certificate broker admission peer bus ledger revocation database port""".split()  # noqa: SIM905 - a list of words reads best like this
)
_EVENT = re.compile(r"waiting for approval\Z|[a-z]{2,24}(_[a-z0-9]{1,20}){0,7}\Z")
_LOGGER = re.compile(r"minervas_[a-z_]{2,30}(\.[a-z_]{2,40}){0,5}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}([a-z]{1,3}\d{1,3})?\Z")
_SERVICE = re.compile(r"(peer|ledger|miner|meter-gateway|admission|expected-output)(-\d{1,2})?\Z")
_FRAME = re.compile(r'\s*File "[^"]*?(minervas_[a-z_]+/[a-z_/]+\.py)", line (\d+), in ([a-z_A-Z<>]+)\s*\Z')
_METRIC = re.compile(r"(minervas|process|python)_[a-z0-9_]+\Z")


Judge = Callable[[str], bool]


def _matches(pattern: re.Pattern[str]) -> Judge:
    return lambda text: pattern.match(text) is not None


_FIELDS: Mapping[str, Judge] = {
    "time": _matches(_TIME),
    "level": _WORDS.__contains__,
    "status": _WORDS.__contains__,
    "state": _WORDS.__contains__,
    "standing": _WORDS.__contains__,
    "database": _WORDS.__contains__,
    "broker": _WORDS.__contains__,
    "event": _matches(_EVENT),
    "logger": _matches(_LOGGER),
    "code": _CODES.__contains__,
    "version": _matches(_VERSION),
    "service": _matches(_SERVICE),
}
"""Texts that get in, by the name of their field; as many words as an event has, a passphrase has not."""


def harmless_value(value: Any, name: str = "", depth: int = 0) -> Any:
    """A value out of JSON with every text left out that is not on the list."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= MAX_DEPTH:
        return LEFT_OUT
    if isinstance(value, dict):
        items = list(value.items())[:MAX_ITEMS]
        return {_key(key): harmless_value(item, str(key), depth + 1) for key, item in items}
    if isinstance(value, list):
        return [harmless_value(item, name, depth + 1) for item in value[:MAX_ITEMS]]
    judge = _FIELDS.get(name)
    return value if judge is not None and isinstance(value, str) and judge(value) else LEFT_OUT


def _key(key: object) -> str:
    return key if isinstance(key, str) and (key in _CODES or _EVENT.match(key)) else LEFT_OUT


def harmless_log_line(line: str) -> str | None:
    """A line of a log with what is on the list; None if it is not one of ours."""
    brace = line.find("{")  # `docker compose logs` puts a name in front
    try:
        record = json.loads(line[brace:]) if brace >= 0 else None
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    trace = record.pop("traceback", None)
    kept = {name: value for name, value in harmless_value(record).items() if name != LEFT_OUT}
    if isinstance(trace, str):
        frames = [match.group(1, 2) for part in trace.splitlines() if (match := _FRAME.match(part))]
        kept["traceback"] = [f"{file}:{number}" for file, number in frames]
    return json.dumps(kept, sort_keys=True)


def harmless_metrics(text: str) -> str:
    """Lines of metrics whose labels say nothing but codes and numbers; other labels are left out."""
    lines: list[str] = []
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("}") if rest else ("", "", "")
        if not rest:
            name, _, value = line.partition(" ")
        if not _METRIC.match(name) or not re.fullmatch(r"\s*[-+0-9.eENaIinf]+\s*", value):
            continue
        kept = [pair for pair in re.findall(r'([a-z_]+)="([^"]*)"', labels) if _keeps_label(*pair)]
        shown = ",".join(f'{label}="{text}"' for label, text in kept)
        lines.append(f"{name}{{{shown}}} {value.strip()}" if shown else f"{name} {value.strip()}")
    return "\n".join(lines) + "\n"


def _keeps_label(label: str, text: str) -> bool:
    if label == "code":
        return text in _CODES
    if label == "state":
        return text in _WORDS
    return label == "le" and re.fullmatch(r"[0-9.]+|\+Inf", text) is not None


def harmless_findings(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """What the doctor found, without paths and names: what it looked at, and how it went."""
    words = (each.check.partition(" ")[0] for each in findings)
    checks = [word if word in _CHECKS else LEFT_OUT for word in words]
    return [{"check": check, "level": each.level} for check, each in zip(checks, findings, strict=True)]


def listing(name: str, directory: Path) -> list[dict[str, Any]]:
    """Files of a directory by ending, size and mode; never a name that somebody chose, never content."""
    found: list[dict[str, Any]] = []
    if not directory.is_dir():
        return found
    for path in sorted(directory.rglob("*"))[:MAX_ITEMS]:
        try:
            state = path.lstat()
        except OSError:
            continue
        suffix = path.suffix if re.fullmatch(r"\.[a-z0-9]{1,10}", path.suffix) else ""
        mode = oct(state.st_mode)
        found.append({"in": name, "suffix": suffix, "bytes": state.st_size, "mode": mode, "uid": state.st_uid})
    return found


def versions() -> dict[str, str]:
    """Versions of this machine and of our packages and theirs."""
    names = ("minervas-core", "minervas-runtime", "minervas-peer", "minervas-admission", "cryptography", "paho-mqtt")
    found = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    found["kernel"] = platform.release().split("-")[0]
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Bundle:
    """Collects a bundle in memory, and writes it with mode 0600."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._add("versions.json", json.dumps(versions(), indent=1))
        self._add("processors.json", json.dumps({"processors": os.cpu_count(), "64 bit": sys.maxsize > 2**32}))

    def findings(self, findings: Sequence[Finding]) -> None:
        """Add what the doctor found."""
        self._add("doctor.json", json.dumps(harmless_findings(findings), indent=1))

    def state(self, name: str, value: Any) -> None:
        """Add a status of a service."""
        plain = msgspec.to_builtins(value)
        self._add(f"state/{name}.json", json.dumps(harmless_value(plain), indent=1, sort_keys=True))

    def metrics(self, name: str, text: str) -> None:
        """Add metrics of a service."""
        self._add(f"metrics/{name}.txt", harmless_metrics(text))

    def directory(self, name: str, directory: Path) -> None:
        """Add which files there are."""
        self._add(f"files/{name}.json", json.dumps(listing(name, directory), indent=1))

    def log(self, name: str, path: Path) -> int:
        """Add the newest lines of a log; returns how many.

        Raises:
            LocalFault: ``bad_settings`` if it cannot be read.
        """
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()[-MAX_LOG_LINES:]
        except OSError as error:
            raise LocalFault(
                Code.BAD_SETTINGS, "The log cannot be read", file=str(path), reason=error.strerror or str(error)
            ) from error
        kept = [harmless for line in lines if (harmless := harmless_log_line(line)) is not None]
        self._add(f"logs/{name}.jsonl", "\n".join(kept) + "\n")
        return len(kept)

    def write(self, path: Path) -> None:
        """Write the bundle.

        Raises:
            LocalFault: ``bad_settings`` if it cannot be written, ``not_empty`` if there is such a file.
        """
        if path.exists():
            raise LocalFault(Code.NOT_EMPTY, "There is such a file already; name another", file=str(path))
        try:
            with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in self._parts.items():
                    archive.writestr(name, text)
        except OSError as error:
            raise LocalFault(
                Code.BAD_SETTINGS, "The bundle cannot be written", file=str(path), reason=error.strerror or str(error)
            ) from error

    def _add(self, name: str, text: str) -> None:
        self._parts[name] = text
