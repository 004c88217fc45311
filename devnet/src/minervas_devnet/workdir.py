"""The directory a devnet lives in: fresh, passable for the servers' system users, kept when something went wrong."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

KEEP_VARIABLE = "MINERVAS_KEEP"
"""Environment variable: with 1 the directory is kept also after success."""


class WorkDir:
    """A fresh directory below the system's temporary directory.

    As a context manager it is removed at the end, unless the block raised, `keep` was called or MINERVAS_KEEP=1; then
    its place is written to standard error. Its mode is 0711: the system users that PostgreSQL and Mosquitto run as
    when the devnet is started by root can pass through it to their own directories, but not list it.
    """

    def __init__(self, purpose: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"minervas-{purpose}-"))
        """The directory, absolute."""
        self.path.chmod(0o711)
        self._keep = os.environ.get(KEEP_VARIABLE) == "1"

    def keep(self) -> None:
        """Do not remove the directory at the end."""
        self._keep = True

    def close(self) -> None:
        """Remove the directory, or say where it was kept."""
        if self._keep:
            sys.stderr.write(f"kept for a look: {self.path}\n")
        else:
            shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            self.keep()
        self.close()
