"""An audit that got no answer is no clean audit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = "No known vulnerabilities found"
FOUND = "Found 1 known vulnerability\nName Version ID Fix Versions\nhttpx 0.28 GHSA-1 0.29"
SKIPPED = f"{CLEAN}\nName Skip Reason\nhttpx Dependency not found on PyPI and could not be audited: httpx (0.28)"
AWAY = "ERROR: failed to connect"


@pytest.mark.parametrize(
    ("said", "status", "shown"),
    [
        (CLEAN, 0, "no known vulnerabilities"),
        (FOUND, 1, "GHSA-1"),
        (SKIPPED, 2, "nothing was checked"),
        (AWAY, 2, "nothing was checked"),
    ],
    ids=["clean", "vulnerable", "skipped", "away"],
)
def test_the_exit_status_tells_clean_vulnerable_and_unknown_apart(
    tmp_path: Path, said: str, status: int, shown: str
) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "supply_chain.sh", tmp_path / "tools")
    for name in ("requirements/audit.txt", "services/peer/requirements.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("httpx==0.28\n")
    programs = tmp_path / "build" / "supply-chain" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(tmp_path / "requirements/audit.txt", programs.parent / "installed.txt")
    (tmp_path / "said").write_text(said + "\n")
    for name in ("python", "pip-audit"):
        (programs / name).write_text(f"#!/bin/sh\ncat {tmp_path}/said\nexit 1\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["sh", tmp_path / "tools" / "supply_chain.sh", "audit"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, shown in done.stdout + done.stderr) == (status, True), done
