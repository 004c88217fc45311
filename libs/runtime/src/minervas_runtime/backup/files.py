"""Files and directories on their way into a backup and out of it."""

from __future__ import annotations

import fnmatch
import io
import os
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from minervas_core.errors import Code, LocalFault
from minervas_runtime.backup.settings import KeptDirectory

NEVER = ("spool.db*", "lost+found", "*.sqlite3-wal", "*.sqlite3-shm", "*.db-wal", "*.db-shm")
"""What is never kept. A gateway's spool would number its readings a second time from where it was; it begins a new one,
and the chain says where statements go on. The logs of SQLite are part of the copy of their database."""

SQLITE_MAGIC = b"SQLite format 3\0"
MAX_SQLITE_BYTES = 128 << 20
"""It is copied in memory."""
PIECE_BYTES = 1 << 20
PRIVATE_DIRECTORY = 0o700


def is_left_out(relative: str, directory: KeptDirectory) -> bool:
    """Whether a path inside a directory is not kept."""
    name = relative.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, each) for each in NEVER) or any(
        fnmatch.fnmatchcase(relative, each) for each in directory.leave_out
    )


def walk(directory: KeptDirectory) -> Iterator[tuple[str, Path]]:
    """A directory (as ".") and what is inside, parents first, by name: the path relative to it, and the whole path."""

    def inside(folder: Path) -> Iterator[tuple[str, Path]]:
        for path in sorted(folder.iterdir()):
            relative = path.relative_to(directory.path).as_posix()
            if is_left_out(relative, directory):
                continue
            yield relative, path
            if path.is_dir() and not path.is_symlink():
                yield from inside(path)

    yield ".", directory.path
    yield from inside(directory.path)


def entry_of(name: str, path: Path) -> tuple[tarfile.TarInfo, Iterator[bytes]] | None:
    """The entry of a file or directory in the archive, and its content in pieces; None for anything else.

    Raises:
        OSError: if it cannot be read; also from the content.
        LocalFault: ``bad_backup`` for a SQLite database that cannot be copied; from the content of a file that has
            become shorter meanwhile.
    """
    found = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    entry.mtime = int(found.st_mtime)
    if stat.S_ISDIR(found.st_mode):
        entry.type = tarfile.DIRTYPE
        return entry, iter(())
    if not stat.S_ISREG(found.st_mode):
        return None
    if _is_sqlite(path):
        copy = _copied(path, found.st_size)
        entry.size = len(copy)
        return entry, iter((copy,))
    entry.size = found.st_size
    return entry, _pieces(path, found.st_size)


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """So many bytes of a file, whatever is written behind them meanwhile."""
    with path.open("rb") as file:
        while size:
            data = file.read(min(size, PIECE_BYTES))
            if not data:
                raise LocalFault(
                    Code.BAD_BACKUP, "A file became shorter while it was read; make the backup again", file=str(path)
                )
            size -= len(data)
            yield data


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _copied(path: Path, size: int) -> bytes:
    """A consistent copy of a SQLite database, also while it is in use."""
    if size > MAX_SQLITE_BYTES:
        raise LocalFault(Code.BAD_BACKUP, "A SQLite database is too large to be copied", file=str(path))
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    copy = sqlite3.connect(":memory:")
    try:
        source.backup(copy)
        return copy.serialize()
    except sqlite3.Error as error:
        raise LocalFault(
            Code.BAD_BACKUP, "A SQLite database cannot be copied", file=str(path), reason=str(error)
        ) from error
    finally:
        copy.close()
        source.close()


def check_empty(name: str, directory: KeptDirectory) -> None:
    """Check that a directory is missing or empty.

    Raises:
        LocalFault: ``not_empty``.
    """
    if not directory.path.exists():
        return
    content = [path for path in sorted(directory.path.iterdir()) if not is_left_out(path.name, directory)]
    if content:
        raise LocalFault(
            Code.NOT_EMPTY, "Restoring needs an empty place, and there is something already; nothing was changed",
            part=name, directory=str(directory.path), found=content[0].name,
        )  # fmt: skip


def put(entry: tarfile.TarInfo, content: io.BufferedIOBase | None, relative: str, target: Path) -> None:
    """Write a file below a directory, private until it is complete; or make a directory, which gets its mode later.

    Raises:
        LocalFault: ``bad_backup`` for a path that leads elsewhere.
        OSError: if it cannot be written.
    """
    parts = PurePosixPath(relative).parts
    if ".." in parts or relative.startswith("/"):
        raise LocalFault(Code.BAD_BACKUP, "A path in the backup leads out of its directory", path=relative)
    path = target.joinpath(*parts)
    if entry.isdir():
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        return
    if content is not None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while data := content.read(1 << 20):
                file.write(data)
            file.flush()
            os.fsync(descriptor)
    give(path, entry)


def give(path: Path, entry: tarfile.TarInfo) -> None:
    """Give a path its owner, if we are root, and its mode."""
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid)
    path.chmod(entry.mode)
