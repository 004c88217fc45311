"""Check the requirement sets without a network: pinned, hashed, free of addresses, and fit for what is declared.

For each set: every requirement is an exact version with at least one SHA-256; there is no address (`://`) and no
option but hashes; every declared dependency is in it with a version the declaration allows; and wherever two sets
have the same package, they have the same version. Every declared dependency is also accounted for in ADR 0003.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.workspace import ROOT, distributions, groups, outside_needs

DEPENDENCY_RECORD = ROOT / "docs" / "adr" / "0003-dependencies.md"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?: ; [^\\]+)?$")
HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")


def read_pins(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the version of every package in a requirement set, and complaints about its lines."""
    pins: dict[str, str] = {}
    complaints: list[str] = []
    for entry in re.sub(r"\\\n\s*", "\x00", text).splitlines():
        if not entry or entry.startswith("#"):
            continue
        requirement, *hashes = (part.strip() for part in entry.split("\x00"))
        match = PIN.match(requirement)
        if "://" in entry:
            complaints.append(f"{requirement}: has an address")
        elif match is None:
            complaints.append(f"{requirement}: is not an exact version")
        elif not hashes or not all(HASH.match(each) for each in hashes):
            complaints.append(f"{requirement}: is not followed by SHA-256 hashes alone")
        else:
            pins[canonicalize_name(match["name"])] = match["version"]
    return pins, complaints


def unmet(needs: set[str], pins: dict[str, str]) -> Iterator[str]:
    """Yield a complaint for every declared dependency that a set has not, or in a version that is not allowed."""
    for need in sorted(needs):
        requirement = Requirement(need)
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{requirement.name} is declared but not pinned: make lock"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{need} is declared but {version} is pinned: make lock"


def all_sets() -> dict[Path, set[str]]:
    """Return every requirement file with what it must fulfil."""
    members, wanted = distributions(), groups()
    sets = {ROOT / "requirements" / f"{group}.txt": needs for group, needs in wanted.items()}
    for name, member in members.items():
        sets[ROOT / "requirements" / "dev.txt"] |= outside_needs(name, members)
        if member.is_deployed:
            sets[member.requirements] = outside_needs(name, members)
    return sets


def find_complaints() -> Iterator[str]:
    """Yield everything that is wrong with the requirement sets of this repository."""
    seen: dict[str, tuple[str, Path]] = {}
    record = DEPENDENCY_RECORD.read_text(encoding="utf-8")
    for path, needs in all_sets().items():
        place = path.relative_to(ROOT)
        pins, complaints = read_pins(path.read_text(encoding="utf-8"))
        yield from (f"{place}: {complaint}" for complaint in [*complaints, *unmet(needs, pins)])
        for name, version in pins.items():
            other, where = seen.setdefault(name, (version, place))
            if other != version:
                yield f"{place}: {name} {version}, but {other} in {where}: make lock"
        for need in needs:
            if f"`{Requirement(need).name}`" not in record:
                yield f"{need}: licence and reason are missing in {DEPENDENCY_RECORD.relative_to(ROOT)}"


def main() -> int:
    """Print all complaints; the exit status is 1 if there are any."""
    complaints = sorted(set(find_complaints()))
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
