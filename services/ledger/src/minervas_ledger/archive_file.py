"""One day of readings as a file (spec/metering.md): lines of canonical JSON, packed, with a checksum at its end."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from minervas_core.encoding import Count, Hash, NetworkId, Record, Salt, TimeMs, decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_core.identifiers import MemberId
from minervas_core.metering import Reading
from minervas_runtime.key_files import atomic_file

Kind = TypeVar("Kind", bound=Record)

FORMAT = "minervas-readings 1"
PACKING = 6
"""Level of gzip: higher ones take far longer for a few per cent."""
MAX_LINE_BYTES = 4_096
"""A reading with the longest Modbus frames has about 1,500 bytes."""


class ArchiveHead(Record, frozen=True, kw_only=True):
    """First line."""

    format: str
    network: NetworkId
    day: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    """In UTC."""
    part: Annotated[int, msgspec.Meta(ge=1)]
    """From 2 on: readings that came after the day was archived."""


class ArchivedReading(Record, frozen=True, kw_only=True):
    """Every further line, by member, meter, channel, time, spool and number."""

    member: MemberId
    spool: Salt
    stored_ms: TimeMs
    reading: Reading


class ArchiveEnd(Record, frozen=True, kw_only=True):
    """Last line."""

    readings: Count
    sha256: Hash
    """Over all lines before, each with its newline."""


@dataclass(frozen=True, slots=True)
class WrittenArchive:
    """What is known of a file that was written and read again."""

    readings: int
    bytes: int
    sha256: str
    """Of the file."""


def write_archive(path: Path, head: ArchiveHead, readings: Iterable[ArchivedReading]) -> WrittenArchive:
    """Write a file, flush it to the disk, and read it again.

    Raises:
        LocalFault: ``bad_archive`` if it cannot be written, or is not what was written.
    """
    count, digest = 0, hashlib.sha256()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_file(path) as file, gzip.GzipFile("", "wb", PACKING, file, mtime=0) as packed:
            for line in _lines(head, readings):
                digest.update(line)
                packed.write(line)
                count += 1
            packed.write(encode(ArchiveEnd(readings=count - 1, sha256=digest.hexdigest())) + b"\n")
        found = sum(1 for _ in read_archive(path, network=head.network))
        written = WrittenArchive(found, path.stat().st_size, _sha256_of(path))
    except OSError as error:
        raise LocalFault(
            Code.BAD_ARCHIVE, "The archive cannot be written", file=str(path), reason=error.strerror or str(error)
        ) from error
    if found != count - 1:
        raise LocalFault(Code.BAD_ARCHIVE, "The archive is not what was written", file=str(path), readings=found)
    return written


def read_archive(path: Path, *, network: str) -> Iterator[ArchivedReading]:
    """Read a file; it is only known to be whole when the last reading was taken.

    Args:
        path: the file.
        network: that it must be of.

    Raises:
        LocalFault: ``bad_archive`` if it is missing, damaged, cut short, or of another network or format.
    """
    digest, count, before = hashlib.sha256(), 0, b""
    try:
        with gzip.open(path, "rb") as file:
            head = _decoded(path, file.readline(), ArchiveHead)
            if (head.format, head.network) != (FORMAT, network):
                raise _bad(path, "Not an archive of this network")
            digest.update(encode(head) + b"\n")
            before = file.readline()
            for line in file:
                digest.update(before)
                count += 1
                yield _decoded(path, before, ArchivedReading)
                before = line
    except (OSError, EOFError, zlib.error) as error:  # gzip says so of whatever is damaged
        raise _bad(path, str(error)) from error
    if _decoded(path, before, ArchiveEnd) != ArchiveEnd(readings=count, sha256=digest.hexdigest()):
        raise _bad(path, "The checksum is another")


def check_file(path: Path, sha256: str) -> None:
    """Compare a file with the checksum that the database has of it.

    Raises:
        LocalFault: ``bad_archive``.
    """
    try:
        found = _sha256_of(path)
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from error
    if found != sha256:
        raise _bad(path, "Not the file that was written")


def _lines(head: ArchiveHead, readings: Iterable[ArchivedReading]) -> Iterator[bytes]:
    yield encode(head) + b"\n"
    for reading in readings:
        yield encode(reading) + b"\n"


def _decoded(path: Path, line: bytes, kind: type[Kind]) -> Kind:
    try:
        return decode(line.removesuffix(b"\n"), kind, max_bytes=MAX_LINE_BYTES)
    except InvalidEncoding as error:
        raise _bad(path, str(error)) from error


def _bad(path: Path, reason: str) -> LocalFault:
    return LocalFault(Code.BAD_ARCHIVE, "The archive is unusable", file=str(path), reason=reason)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
