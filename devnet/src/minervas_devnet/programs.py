"""Run a console script to its end: commands of the operator, migrations, audits."""

from __future__ import annotations

import subprocess
from pathlib import Path

from minervas_devnet.processes import ProcessFailed, console_script
from minervas_devnet.waiting import stretched

TIMEOUT_S = 120.0


def run_program(name: str, *arguments: str | Path, timeout_s: float = TIMEOUT_S) -> str:
    """Run a console script of our virtual environment and return what it printed.

    Raises:
        ProcessFailed: if it ends with another status than 0, with what it said.
    """
    done = try_program(name, *arguments, timeout_s=timeout_s)
    if done.returncode != 0:
        raise ProcessFailed(
            " ".join([name, *map(str, arguments)]), done.returncode, (done.stderr or done.stdout).strip()
        )
    return done.stdout


def try_program(name: str, *arguments: str | Path, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run a console script and return its exit status and what it said, whatever they are.

    Raises:
        ProcessFailed: if it does not end in time or there is no such script.
    """
    command = [console_script(name), *map(str, arguments)]
    try:
        return subprocess.run(  # noqa: S603 - our own console scripts
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=stretched(timeout_s)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessFailed(name, None, str(error)) from error
