"""Dashboards and alert rules as files: read, checked as far as admission depends on it, and hashed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from minervas_core.errors import Code, LocalFault

T = TypeVar("T")

MAX_FILES = 100
MAX_BYTES = 2_000_000
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}\Z")
HOMES: Final = ("solar-rt", "fleet")
"""Where members, and the operator, begin, if they have it."""


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
        return next((uid for uid in (*HOMES, *self.uids) if uid in self.uids), "")


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Alert rules, as Grafana's provisioning API takes them."""

    groups: tuple[dict[str, Any], ...]
    """Each with `title`, `interval` in seconds and `rules`."""
    policy: dict[str, Any]
    """Who is told when; the receiver is the name of the contact point."""

    @property
    def count(self) -> int:
        """How many rules there are."""
        return sum(len(group["rules"]) for group in self.groups)


NO_DASHBOARDS = Dashboards((), "")
NO_ALERT_RULES = AlertRules((), {})


def in_language(folder: Path, language: str) -> Path:
    """The files in a language: a directory of its name beside the files of the other, where there is one."""
    other = folder / language
    return other if other.is_dir() else folder


def read_dashboards(folder: Path) -> Dashboards:
    """All dashboards of a directory.

    Raises:
        LocalFault: ``bad_settings`` naming the file and what is wrong with it.
    """
    models: list[dict[str, Any]] = []
    for file in _files(folder):
        model = _json(file, dict[str, Any])
        uid = model.get("uid")
        if not isinstance(uid, str) or not UID.match(uid) or uid in [each["uid"] for each in models]:
            raise _bad(file, "its uid is missing, not one, or another dashboard's")
        if not isinstance(model.get("title"), str) or not model["title"]:
            raise _bad(file, "it has no title")
        models.append(model)
    encoded = msgspec.json.encode(models, order="deterministic")
    return Dashboards(tuple(models), hashlib.sha256(encoded).hexdigest())


def read_alert_rules(folder: Path) -> AlertRules:
    """The alert rules of a directory: groups.json, rules.json, which name their group, and policy.json.

    Raises:
        LocalFault: ``bad_settings`` naming the file and what is wrong with it.
    """
    files = {file.name: file for file in _files(folder)}
    for name in ("groups.json", "rules.json", "policy.json"):
        if name not in files:
            raise _bad(folder / name, "it is missing")
    rules = _json(files["rules.json"], list[dict[str, Any]])
    groups = [
        {**group, "rules": [rule for rule in rules if rule.get("ruleGroup") == group.get("title")]}
        for group in _json(files["groups.json"], list[dict[str, Any]])
    ]
    if any(not isinstance(group.get("title"), str) or not isinstance(group.get("interval"), int) for group in groups):
        raise _bad(files["groups.json"], "a group needs title and interval")
    found = AlertRules(tuple(groups), _json(files["policy.json"], dict[str, Any]))
    if found.count != len(rules) or not all(isinstance(rule.get("uid"), str) for rule in rules):
        raise _bad(files["rules.json"], "a rule has no uid, or a group that is not there")
    return found


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files or len(files) > MAX_FILES:
        raise _bad(folder, f"it must be a directory with 1 to {MAX_FILES} files *.json")
    return files


def _json(file: Path, form: type[T]) -> T:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise _bad(file, f"it has more than {MAX_BYTES} bytes")
        return msgspec.json.decode(file.read_bytes(), type=form)
    except OSError as error:
        raise _bad(file, f"it can not be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise _bad(file, f"it is not the JSON that it should be: {error}") from error


def _bad(file: Path, why: str) -> LocalFault:
    return LocalFault(Code.BAD_SETTINGS, "A file for Grafana can not be used", file=str(file), reason=why)
