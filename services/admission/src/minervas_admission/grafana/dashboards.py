"""Dashboards and alert rules as files: read, checked as far as admission depends on it, and hashed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from minervas_core.errors import Code, LocalFault

MAX_FILES = 100
MAX_BYTES = 2_000_000
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}\Z")
HOME = "solar-rt"
"""Where members begin, if they have it."""


@dataclass(frozen=True, slots=True)
class Dashboards:
    """The dashboards of an organisation."""

    models: tuple[dict[str, Any], ...]
    hash: str
    """Over all of them: another one is another version."""

    @property
    def uids(self) -> list[str]:
        """In the order of their files."""
        return [str(model["uid"]) for model in self.models]

    @property
    def home(self) -> str:
        """Uid of the one that is shown first."""
        return HOME if HOME in self.uids else next(iter(self.uids), "")


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Groups of alert rules, each with `name`, `interval` in seconds and `rules` as the provisioning API takes them."""

    groups: tuple[dict[str, Any], ...]
    hash: str


NO_DASHBOARDS = Dashboards((), "")


def read_dashboards(folder: Path) -> Dashboards:
    """All dashboards of a directory.

    Raises:
        LocalFault: ``bad_settings`` naming the file and what is wrong with it.
    """
    models: list[dict[str, Any]] = []
    for file, model in _read(folder):
        uid = model.get("uid")
        if not isinstance(uid, str) or not UID.match(uid) or uid in [each["uid"] for each in models]:
            raise _bad(file, "its uid is missing, not one, or another dashboard's")
        if not isinstance(model.get("title"), str) or not model["title"]:
            raise _bad(file, "it has no title")
        models.append(model)
    return Dashboards(tuple(models), _hash(models))


def read_alert_rules(folder: Path) -> AlertRules:
    """All groups of alert rules of a directory; a file is a group, or has several in `groups`.

    Raises:
        LocalFault: ``bad_settings`` naming the file and what is wrong with it.
    """
    groups: list[dict[str, Any]] = []
    for file, content in _read(folder):
        for group in content.get("groups", [content]):
            name = group.get("name") or group.get("title")
            seconds = _seconds(group.get("interval", 60))
            rules = group.get("rules")
            if not isinstance(name, str) or not seconds or not isinstance(rules, list):
                raise _bad(file, "a group needs name, interval and rules")
            groups.append({"name": name, "interval": seconds, "rules": rules})
    return AlertRules(tuple(groups), _hash(groups))


def _seconds(interval: object) -> int:
    """Seconds of `30`, `30s` or `1m`; 0 for anything else."""
    if isinstance(interval, int):
        return interval
    match = re.fullmatch(r"(\d{1,5})(s|m)", str(interval))
    return int(match[1]) * (60 if match[2] == "m" else 1) if match else 0


def _read(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    try:
        files = sorted(folder.glob("*.json"))
        if not folder.is_dir() or not files or len(files) > MAX_FILES:
            raise _bad(folder, f"it must be a directory with 1 to {MAX_FILES} files *.json")
        if too_large := [file for file in files if file.stat().st_size > MAX_BYTES]:
            raise _bad(too_large[0], f"it has more than {MAX_BYTES} bytes")
        return [(file, _object(file)) for file in files]
    except OSError as error:
        raise _bad(folder, f"it can not be read: {error.strerror}") from error


def _object(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise _bad(file, f"it is not a JSON object: {error}") from error


def _hash(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _bad(file: Path, why: str) -> LocalFault:
    return LocalFault(Code.BAD_SETTINGS, "A file for Grafana can not be used", file=str(file), reason=why)
