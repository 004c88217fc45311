"""Make a backup: one encrypted file that takes its place once it is complete and on the disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_runtime.backup.files import entry_of, walk
from minervas_runtime.backup.manifest import DATABASES, DUMP, END, FILES, MANIFEST, ROLES, End, Manifest
from minervas_runtime.backup.postgres import PostgresPrograms
from minervas_runtime.backup.sealed_file import SealedWriter
from minervas_runtime.backup.settings import BackupSettings, KeptDirectory
from minervas_runtime.key_files import atomic_file

DUMP_PART_BYTES = 8 << 20


def make_backup(
    settings: BackupSettings, path: Path, passphrase: bytes, *, version: str, now_ms: int, say: Callable[[str], None]
) -> End:
    """Back everything up that the settings name, while it is in use.

    Keys come first and databases last: what a database says of a key is then never newer than the key.

    Raises:
        LocalFault: ``bad_backup`` if something cannot be read or the file not be written; ``not_empty`` if it exists.
        TransientFault: ``database_away``.
    """
    if path.exists():
        raise LocalFault(Code.NOT_EMPTY, "There is such a file already; name another", file=str(path))
    programs = {name: PostgresPrograms(each, settings.programs) for name, each in settings.databases.items()}
    try:
        with atomic_file(path) as file:
            sealed = SealedWriter(file, passphrase)
            writer = _Writer(sealed, say)
            writer.manifest(settings, version, now_ms)
            for name, directory in settings.directories.items():
                writer.directory(name, directory)
            for name, database in programs.items():
                writer.database(name, database)
            end = writer.end()
            sealed.close()
    except OSError as error:
        raise LocalFault(
            Code.BAD_BACKUP, "Something cannot be read, or the backup not be written",
            file=str(error.filename or path), reason=error.strerror or str(error),
        ) from error  # fmt: skip
    size = f"{path.stat().st_size:,} bytes"
    say(f"backup of {settings.owner}: {end.files} files, {len(programs)} databases, {size}: {path}")
    return end


class _Writer:
    """Puts entries into the archive and counts them."""

    def __init__(self, sealed: SealedWriter, say: Callable[[str], None]) -> None:
        self._sealed = sealed
        self._say = say
        self._files = 0
        self._file_bytes = 0
        self._dump_bytes = 0
        self._left_out: list[str] = []

    def manifest(self, settings: BackupSettings, version: str, now_ms: int) -> None:
        """Write whose backup it is."""
        manifest = Manifest(
            kind=settings.kind, owner=settings.owner, made_ms=now_ms, version=version,
            directories=list(settings.directories), databases=list(settings.databases),
        )  # fmt: skip
        self._text(MANIFEST, encode(manifest))

    def directory(self, name: str, directory: KeptDirectory) -> None:
        """Write a directory with all that is in it."""
        if not directory.path.is_dir():
            if directory.optional:
                return
            raise LocalFault(
                Code.BAD_BACKUP, "A directory is missing; correct the settings, or say that it is optional",
                part=name, directory=str(directory.path),
            )  # fmt: skip
        before = self._files
        for relative, path in walk(directory):
            found = entry_of(f"{FILES}/{name}/{relative}", path)
            if found is None:
                self._left_out.append(f"{name}/{relative}")
                continue
            entry, content = found
            self._put(entry, content)
            if entry.isfile():
                self._files += 1
                self._file_bytes += entry.size
        self._say(f"{name}: {self._files - before} files")

    def database(self, name: str, programs: PostgresPrograms) -> None:
        """Write a database with its roles."""
        self._text(f"{DATABASES}/{name}/{ROLES}", msgspec.json.encode(programs.roles()))
        part, before = 0, self._dump_bytes
        with programs.dumped() as dump:
            while data := dump.read(DUMP_PART_BYTES):
                self._text(f"{DATABASES}/{name}/{DUMP}/{part:08}", data)
                part += 1
                self._dump_bytes += len(data)
        self._say(f"{name}: database {programs.database.name}, {self._dump_bytes - before:,} bytes")

    def end(self) -> End:
        """Write the last entry."""
        end = End(files=self._files, file_bytes=self._file_bytes, dump_bytes=self._dump_bytes, left_out=self._left_out)
        self._text(END, encode(end))
        self._sealed.write(bytes(2 * tarfile.BLOCKSIZE))
        return end

    def _text(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.mode, entry.size = 0o600, len(content)
        self._put(entry, iter((content,)))

    def _put(self, entry: tarfile.TarInfo, content: Iterator[bytes]) -> None:
        """Write an entry as tar has it: a head, the content, and zeros up to a whole block."""
        self._sealed.write(entry.tobuf(tarfile.PAX_FORMAT))
        for data in content:
            self._sealed.write(data)
        self._sealed.write(bytes(-entry.size % tarfile.BLOCKSIZE))
