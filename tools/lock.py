"""Write the hashed pins of every requirement set: `make lock`, or `make lock UPGRADE=1` for the newest versions.

Input are the dependencies that the distributions and the dependency groups of the root pyproject.toml declare.
Output are files that pip takes with --require-hashes: exact versions, the hashes of all files of each release, and
no address of any registry (ADR 0005). Every set agrees with requirements/dev.txt on every version. Versions that
are pinned already stay as they are, unless a declaration no longer allows them or an upgrade is asked for.

The distributions of this repository are never pinned: a set holds what they need from outside, all levels down.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEV_SET = ROOT / "requirements" / "dev.txt"
OLDEST_PYTHON = "3.11"
OWN_PREFIX = "minervas-"

GROUP_SETS = {
    "build": ROOT / "requirements" / "build.txt",
    "lock": ROOT / "requirements" / "lock.txt",
    "postgres-server": ROOT / "requirements" / "postgres-server.txt",
}
"""Dependency groups with a requirement set of their own; `dev` is combined with all distributions instead."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def workspace_members() -> dict[str, Path]:
    """Return the folder of every distribution of this repository, by distribution name."""
    members = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    return {read_toml(ROOT / m / "pyproject.toml")["project"]["name"]: ROOT / m for m in members}


def group_needs(name: str) -> set[str]:
    """Return what a dependency group of the root pyproject.toml asks for, with the groups it includes."""
    needs: set[str] = set()
    for entry in read_toml(ROOT / "pyproject.toml")["dependency-groups"][name]:
        if isinstance(entry, dict):
            needs |= group_needs(entry["include-group"])
        else:
            needs.add(entry)
    return needs


def outside_needs(distribution: str, members: dict[str, Path]) -> set[str]:
    """Return what a distribution asks for from outside, also through the other distributions it depends on."""
    needs: set[str] = set()
    for need in read_toml(members[distribution] / "pyproject.toml")["project"]["dependencies"]:
        if need.startswith(OWN_PREFIX):
            needs |= outside_needs(need, members)
        else:
            needs.add(need)
    return needs


def deployed_sets(members: dict[str, Path]) -> dict[str, Path]:
    """Return the requirement file of every distribution that runs by itself: the services and the devnet."""
    return {name: folder / "requirements.txt" for name, folder in members.items() if "libs" not in folder.parts}


def compile_set(needs: set[str], target: Path, *, upgrade: bool) -> None:
    """Resolve `needs` for every platform and Python from OLDEST_PYTHON on, and write the pins to `target`."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "-", "--output-file", str(target)),
        *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate"),
        *("--no-config", "--quiet", "--custom-compile-command", "make lock"),
    ]
    if upgrade:
        command.append("--upgrade")
    if target != DEV_SET:
        command += ["--constraints", str(DEV_SET)]
    subprocess.run(command, input="\n".join(sorted(needs)) + "\n", text=True, check=True, cwd=ROOT)  # noqa: S603 - fixed command
    sys.stdout.write(f"{target.relative_to(ROOT)}: {target.read_text(encoding='utf-8').count('==')} pins\n")


def main() -> int:
    """Write all requirement sets; the exit status is 0 when all could be resolved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions the declarations allow")
    upgrade = parser.parse_args().upgrade
    members = workspace_members()
    everything = group_needs("dev").union(*(outside_needs(name, members) for name in members))
    try:
        compile_set(everything, DEV_SET, upgrade=upgrade)
        for group, target in GROUP_SETS.items():
            compile_set(group_needs(group), target, upgrade=upgrade)
        for name, target in deployed_sets(members).items():
            compile_set(outside_needs(name, members), target, upgrade=upgrade)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the resolver failed with exit status {error.returncode}; nothing after it was written\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
