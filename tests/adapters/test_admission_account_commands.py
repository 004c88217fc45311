"""Operator accounts by command, on the host: as processes, with their output and exit status."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from tests.support.admission import AdmissionHome
from tests.support.admission_web import Browser

PROGRAM = Path(sys.executable).with_name("minervas-admission")
SHOWN = re.compile(r"^password  ([a-z2-9]{5}(?:-[a-z2-9]{5}){3})$", re.MULTILINE)


async def command(home: AdmissionHome, *arguments: str) -> tuple[int, str, str]:
    """Run a command; returns exit status, output and error output."""
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), *arguments, "--config", str(home.config)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_accounts_from_the_first_password_to_a_closed_account(admission_home: AdmissionHome) -> None:
    home = admission_home
    assert "make the first one" in (await command(home, "accounts", "list"))[1]
    status, out, error = await command(home, "first-password")
    assert status == 0, error
    assert "name      admin\n" in out
    assert "shown only now" in out
    first = SHOWN.findall(out)[0]
    status, _, error = await command(home, "first-password", "kim")
    assert (status, "There are accounts already" in error) == (1, True)

    status, out, error = await command(home, "accounts", "add", "kim")
    added = SHOWN.findall(out)[0]
    assert (await command(home, "accounts", "add", "Kim"))[0] == 1
    status, out, error = await command(home, "reset-password", "kim")
    reset = SHOWN.findall(out)[0]
    assert (await command(home, "reset-password", "nobody"))[0] == 1
    async with home.running(), Browser(home) as browser:
        assert (await browser.log_in("kim", added)).status_code == 403
        assert (await browser.log_in("kim", reset)).status_code == 303
        assert (await browser.log_in("admin", first)).status_code == 303
        status, out, error = await command(home, "accounts", "disable", "admin")
        assert (status, "sessions have ended" in out) == (0, True), error
        assert (await browser.log_in("admin", first)).status_code == 403
    status, _, error = await command(home, "accounts", "disable", "kim")
    assert (status, "Nobody could log in any more" in error) == (1, True)
    listed = json.loads((await command(home, "accounts", "list", "--json"))[1])
    assert [(row["name"], row["state"]) for row in listed] == [("admin", "closed"), ("kim", "must choose a password")]
    assert (await command(home, "accounts", "enable", "admin"))[0] == 0
    assert "must choose a password" in (await command(home, "accounts", "list"))[1]
    everything = (await command(home, "audit"))[1]
    assert "enable operator" in everything
    assert not SHOWN.findall(everything)
    assert not any(password in everything for password in (first, added, reset))
