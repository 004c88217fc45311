"""The distributions of this repository as their pyproject.toml files declare them. Shared by the other tools."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OWN_PREFIX = "minervas-"


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installable package of this repository."""

    name: str
    """Such as `minervas-peer`."""
    folder: Path
    needs: tuple[str, ...]
    """Declared dependencies, as requirement strings; those on other distributions of this repository included."""

    @property
    def is_deployed(self) -> bool:
        """Whether it runs by itself and so has a requirements.txt of its own: the services and the devnet."""
        return "libs" not in self.folder.parts

    @property
    def requirements(self) -> Path:
        """Return its requirements.txt."""
        return self.folder / "requirements.txt"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def distributions(root: Path = ROOT) -> dict[str, Distribution]:
    """Return all distributions by name."""
    found = {}
    for member in read_toml(root / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]:
        project = read_toml(root / member / "pyproject.toml")["project"]
        found[project["name"]] = Distribution(project["name"], root / member, tuple(project["dependencies"]))
    return found


def outside_needs(name: str, members: Mapping[str, Distribution]) -> set[str]:
    """Return what a distribution needs from outside this repository, also through its other distributions."""
    needs: set[str] = set()
    for need in members[name].needs:
        needs |= outside_needs(need, members) if need.startswith(OWN_PREFIX) else {need}
    return needs


def groups(root: Path = ROOT) -> dict[str, set[str]]:
    """Return the dependency groups of the root pyproject.toml, by name, with the groups they include."""
    declared = read_toml(root / "pyproject.toml")["dependency-groups"]

    def needs_of(name: str) -> set[str]:
        needs: set[str] = set()
        for entry in declared[name]:
            needs |= needs_of(entry["include-group"]) if isinstance(entry, dict) else {entry}
        return needs

    return {name: needs_of(name) for name in declared}
