"""Restore a backup into an empty place. The whole file is checked before anything is changed."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, cast

import msgspec

from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_runtime.backup.files import check_empty, give, put
from minervas_runtime.backup.manifest import (
    DATABASES,
    DUMP,
    END,
    FILES,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ROLES,
    End,
    Manifest,
)
from minervas_runtime.backup.postgres import PostgresPrograms, Roles
from minervas_runtime.backup.sealed_file import SealedReader
from minervas_runtime.backup.settings import BackupSettings

DIRECTORY_MODE = 0o700

T = TypeVar("T", Manifest, End)


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that was read to its end."""

    manifest: Manifest
    end: End


def check_backup(path: Path, passphrase: bytes) -> Checked:
    """Read a backup to its end, and say what is in it.

    Raises:
        LocalFault: ``bad_backup`` if it was changed or cut off, the passphrase is another, or it is something else.
    """
    end: End | None = None
    with _opened(path, passphrase) as (manifest, entries):
        for entry, content in entries:
            data = content.read(MAX_MANIFEST_BYTES) if entry.name == END and content else b""
            end = _decode(data, End, path) if data else end
            while content is not None and content.read(1 << 20):
                pass
    if end is None:
        raise LocalFault(Code.BAD_BACKUP, "The backup has no end", file=str(path))
    return Checked(manifest, end)


def restore_backup(settings: BackupSettings, path: Path, passphrase: bytes, say: Callable[[str], None]) -> Manifest:
    """Restore a backup: files with their modes (and owners, for root), databases with their roles.

    Raises:
        LocalFault: ``not_empty`` if there is something already; ``bad_backup`` as `check_backup`, if it is somebody
            else's, or something cannot be written; ``bad_settings`` if the settings name other parts.
        TransientFault: ``database_away``.
    """
    checked = check_backup(path, passphrase)
    _check_fits(checked.manifest, settings)
    programs = {name: PostgresPrograms(each, settings.programs) for name, each in settings.databases.items()}
    for name, directory in settings.directories.items():
        check_empty(name, directory)
    for name, each in programs.items():
        if each.exists() and not each.is_empty():
            raise LocalFault(
                Code.NOT_EMPTY, "Restoring needs an empty database, and this one has tables; nothing was changed",
                part=name, database=each.database.name,
            )  # fmt: skip
    say(f"{path}: complete, {checked.end.files} files, {len(checked.manifest.databases)} databases")
    try:
        with _opened(path, passphrase) as (_, entries):
            _Restoring(settings, programs, say).run(entries)
    except OSError as error:
        raise LocalFault(
            Code.BAD_BACKUP, "Something cannot be written; empty the places that were begun, and try again",
            file=str(error.filename), reason=error.strerror or str(error),
        ) from error  # fmt: skip
    return checked.manifest


Entries = Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]


@dataclass
class _Restoring:
    """Takes the entries one after the other."""

    settings: BackupSettings
    programs: dict[str, PostgresPrograms]
    say: Callable[[str], None]
    _directories: list[tuple[Path, tarfile.TarInfo]] = field(default_factory=list)
    _loading: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _target: tuple[str, IO[bytes]] | None = None

    def run(self, entries: Entries) -> None:
        """Restore all; a dump is in its database only when all of its parts were there."""
        with self._loading:
            for entry, content in entries:
                kind, _, rest = entry.name.partition("/")
                name, _, inside = rest.partition("/")
                if kind == FILES:
                    self._file(name, inside, entry, content)
                elif kind == DATABASES and content is not None:
                    self._database(name, inside, content)
            self._end_dump()
        for path, entry in reversed(self._directories):  # now nothing is written into them any more
            give(path, entry)

    def _file(self, name: str, inside: str, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        target = self.settings.directories[name].path
        if not target.exists():
            target.mkdir(mode=DIRECTORY_MODE, parents=True)
        if entry.isdir():
            self._directories.append((target / inside, entry))
        put(entry, cast("io.BufferedIOBase | None", content), inside, target)

    def _database(self, name: str, inside: str, content: IO[bytes]) -> None:
        programs = self.programs[name]
        if inside == ROLES:
            self._end_dump()
            programs.make(msgspec.json.decode(content.read(), type=Roles))
            return
        if not inside.startswith(f"{DUMP}/"):
            return
        if self._target is None:
            self._target = (name, self._loading.enter_context(programs.loading()))
        while data := content.read(1 << 20):
            self._target[1].write(data)

    def _end_dump(self) -> None:
        if self._target is not None:
            self._loading.close()  # waits until the database has all of it
            name, self._target = self._target[0], None
            self.say(f"{name}: database {self.programs[name].database.name} restored")


@contextlib.contextmanager
def _opened(path: Path, passphrase: bytes) -> Iterator[tuple[Manifest, Entries]]:
    """The manifest, and the entries after it, each to be read before the next; the end of the file is checked, too."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise LocalFault(
            Code.BAD_BACKUP, "The backup cannot be read", file=str(path), reason=error.strerror or str(error)
        ) from error
    with file:
        sealed = SealedReader(file, passphrase, str(path))
        try:
            with tarfile.open(fileobj=cast("io.BufferedIOBase", sealed), mode="r|") as archive:
                first = archive.next()
                content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
                if content is None:
                    raise LocalFault(Code.BAD_BACKUP, "The backup does not begin with what is in it", file=str(path))
                yield _decode(content.read(MAX_MANIFEST_BYTES), Manifest, path), _entries(archive)
                while sealed.read(1 << 20):  # what is behind the archive is checked, too
                    pass
        except tarfile.TarError as error:
            raise LocalFault(
                Code.BAD_BACKUP, "The content of the backup is damaged", file=str(path), reason=str(error)
            ) from error


def _entries(archive: tarfile.TarFile) -> Entries:
    while (entry := archive.next()) is not None:
        yield entry, archive.extractfile(entry) if entry.isfile() else None


def _check_fits(manifest: Manifest, settings: BackupSettings) -> None:
    if (manifest.kind, manifest.owner) != (settings.kind, settings.owner):
        raise LocalFault(
            Code.BAD_BACKUP, "This is the backup of somebody else", found=f"{manifest.kind} {manifest.owner}",
            expected=f"{settings.kind} {settings.owner}",
        )  # fmt: skip
    lacking = [
        *(set(manifest.directories) - set(settings.directories)),
        *(set(manifest.databases) - set(settings.databases)),
    ]
    if lacking:
        raise LocalFault(
            Code.BAD_SETTINGS, "The settings do not say where these parts go", parts=", ".join(sorted(lacking))
        )


def _decode(data: bytes, kind: type[T], path: Path) -> T:
    try:
        return decode(data, kind, max_bytes=MAX_MANIFEST_BYTES)
    except InvalidEncoding as error:
        raise LocalFault(
            Code.BAD_BACKUP, "The backup was made by a version that we do not know", file=str(path)
        ) from error
