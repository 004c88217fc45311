"""Fixture: a real file system of a few megabytes, to be filled up.

It is mounted in a namespace of its own, which a process holds open: nobody else sees it, and nothing is left of it when
that process ends, whatever became of the test. We reach it through the process' entry in /proc; SQLite, which follows
that link by itself and so leaves the namespace, has to be run inside. Root can do all this, and others where the kernel
lets them have namespaces of their own; where neither is so, these tests fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MEGABYTE = 1_000_000
SIZE_MB = 24
MOUNT = 'mount -t tmpfs -o size={}000000,mode=700 none "$1" && echo mounted && exec cat'
"""`cat` ends when we close its standard input, or end ourselves."""


class SmallDisk:
    """A file system of `SIZE_MB`.

    Args:
        directory: its root.
        inside: how to start a program that sees it, at `point`.
        point: where it is mounted.
    """

    def __init__(self, directory: Path, inside: list[str], point: Path) -> None:
        self.directory = directory
        self.inside = inside
        self.point = point
        self._filler = directory / "filler"
        self._filler.touch()

    @property
    def free_mb(self) -> int:
        """Free space, rounded down."""
        return shutil.disk_usage(self.directory).free // MEGABYTE

    def leave(self, free_mb: int) -> None:
        """Fill it up, or free some of it again, until so much is free."""
        with self._filler.open("r+b") as filler:
            filler.truncate(0)
            wanted = shutil.disk_usage(self.directory).free - free_mb * MEGABYTE
            if wanted > 0:
                os.posix_fallocate(filler.fileno(), 0, wanted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """An empty one."""
    point = tmp_path / "disk"
    point.mkdir()
    is_root = os.geteuid() == 0
    mount = ["unshare", "--mount", *([] if is_root else ["--map-root-user"]), "sh", "-c", MOUNT.format(SIZE_MB), "sh"]
    with subprocess.Popen([*mount, str(point)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n", "nothing can be mounted; see tests/support/fix_small_disk.py"
        inside = ["nsenter", "--target", str(holder.pid), "--mount"]
        inside += [] if is_root else ["--user", "--preserve-credentials"]
        yield SmallDisk(Path(f"/proc/{holder.pid}/root", *point.parts[1:]), inside, point)
        holder.stdin.close()
