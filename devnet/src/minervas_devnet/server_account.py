"""The system user that servers run as: never root, which PostgreSQL refuses and Mosquitto gives up by itself.

Started by an ordinary user, everything runs as that user. Started by root, a server runs as its own system user if
the machine has one, else as `nobody`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from minervas_core.errors import Code, LocalFault

FALLBACK_USER = "nobody"


class RunAs(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that change the user; empty when it stays the same."""

    user: int
    group: int
    extra_groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """A system user that a server runs as."""

    name: str
    uid: int
    gid: int
    is_other: bool
    """Whether it is another user than the one we are."""

    def run_as(self) -> RunAs:
        """Return the arguments that make `subprocess.Popen` start a program as this user."""
        return RunAs(user=self.uid, group=self.gid, extra_groups=[]) if self.is_other else RunAs()

    def make_dir(self, path: Path, mode: int = 0o700) -> Path:
        """Make a directory of this user and return it."""
        path.mkdir(mode=mode)
        path.chmod(mode)
        if self.is_other:
            os.chown(path, self.uid, self.gid)
        return path

    def write_file(self, path: Path, text: str, mode: int = 0o600) -> Path:
        """Write a file of this user, created with its final mode, and return it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if self.is_other:
            os.chown(path, self.uid, self.gid)
        return path

    def check_can_reach(self, directory: Path) -> None:
        """Check that this user can pass through every directory on the way to `directory`.

        Raises:
            LocalFault: naming the first one that is closed to it.
        """
        if not self.is_other:
            return
        for folder in [*reversed(directory.resolve().parents), directory.resolve()]:
            state = folder.stat()
            bit = 0o100 if state.st_uid == self.uid else 0o010 if state.st_gid == self.gid else 0o001
            if not state.st_mode & bit:
                raise LocalFault(
                    Code.BAD_SETTINGS,
                    f"the system user {self.name} cannot pass through {folder}: choose a work directory that is "
                    "open to others (TMPDIR), or do not run as root",
                )


def server_account(*preferred: str) -> ServerAccount:
    """Return the user to run a server as: ourselves, or when we are root the first of `preferred` that exists.

    Raises:
        LocalFault: if we are root and the machine has neither of them nor `nobody`.
    """
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return ServerAccount(name=me.pw_name, uid=me.pw_uid, gid=me.pw_gid, is_other=False)
    for name in (*preferred, FALLBACK_USER):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerAccount(name=name, uid=entry.pw_uid, gid=entry.pw_gid, is_other=True)
    raise LocalFault(Code.BAD_SETTINGS, f"servers do not run as root, and there is no user {FALLBACK_USER} for them")
