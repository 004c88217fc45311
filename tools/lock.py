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
from pathlib import Path

from tools.workspace import ROOT, distributions, groups, outside_needs

DEV_SET = ROOT / "requirements" / "dev.txt"
OLDEST_PYTHON = "3.11"

GROUP_SETS = {
    "build": ROOT / "requirements" / "build.txt",
    "lock": ROOT / "requirements" / "lock.txt",
    "audit": ROOT / "requirements" / "audit.txt",
    "postgres-server": ROOT / "requirements" / "postgres-server.txt",
}
"""Dependency groups with a requirement set of their own; `dev` is combined with all distributions instead."""


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
    members, wanted = distributions(), groups()
    everything = wanted["dev"].union(*(outside_needs(name, members) for name in members))
    try:
        compile_set(everything, DEV_SET, upgrade=upgrade)
        for group, target in GROUP_SETS.items():
            compile_set(wanted[group], target, upgrade=upgrade)
        for name, member in members.items():
            if member.is_deployed:
                compile_set(outside_needs(name, members), member.requirements, upgrade=upgrade)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the resolver failed with exit status {error.returncode}; nothing after it was written\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
