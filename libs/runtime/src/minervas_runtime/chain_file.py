"""The chain as one file: a backup that needs no PostgreSQL tool, and a start for a new node.

::

    "minervas-chain 1", newline     what it is, and the version of this form
    "genesis <hash>", newline       whose chain it is: 64 hex digits
    (length, block) ...             from height 1: 4 bytes, then the canonical bytes of the block
    0                               4 bytes: no more blocks
    count                           8 bytes: how many there were
    digest                          32 bytes: SHA-256 of everything before

Numbers are big-endian. The whole may be packed with gzip. Nothing in it is believed: whoever reads it checks every
rule.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from minervas_core.blocks import MAX_BLOCK_BYTES
from minervas_core.errors import Code, LocalFault

MAGIC = b"minervas-chain 1\n"
GENESIS_PREFIX = b"genesis "
LENGTH_BYTES = 4
COUNT_BYTES = 8
DIGEST_BYTES = 32

GZIP_SUFFIX = ".gz"
GZIP_MAGIC = b"\x1f\x8b"
GZIP_LEVEL = 6


class Readable(Protocol):
    """A file to read from, packed or not."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or fewer at the end."""
        ...


class Writable(Protocol):
    """A file to write into, packed or not."""

    def write(self, data: bytes, /) -> int:
        """Write all bytes."""
        ...


def write_chain(file: Writable, genesis_hash: str, blocks: Iterable[bytes]) -> int:
    """Write a chain, oldest block first; returns how many blocks it has.

    Raises:
        OSError: if it cannot be written.
    """
    digest, count = hashlib.sha256(), 0

    def put(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    put(MAGIC + GENESIS_PREFIX + genesis_hash.encode() + b"\n")
    for raw in blocks:
        put(len(raw).to_bytes(LENGTH_BYTES, "big") + raw)
        count += 1
    put(bytes(LENGTH_BYTES) + count.to_bytes(COUNT_BYTES, "big"))
    file.write(digest.digest())
    return count


class ChainFileReader:
    """Reads a chain block by block.

    Args:
        file: at its beginning.
        name: how errors name it.

    Raises:
        LocalFault: ``bad_chain_file`` if it is not such a file.
    """

    def __init__(self, file: Readable, name: str) -> None:
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()
        self.count = 0
        """Blocks read so far."""
        if self._read(len(MAGIC)) != MAGIC:
            raise self._fault("Not an exported chain of a version that we know")
        line = self._read(len(GENESIS_PREFIX) + 2 * DIGEST_BYTES + 1)
        self.genesis_hash = line[len(GENESIS_PREFIX) : -1].decode("ascii", "replace")
        """Of the consortium whose chain it is."""
        if not line.startswith(GENESIS_PREFIX) or not line.endswith(b"\n"):
            raise self._fault("The file is damaged in its first lines")

    def blocks(self) -> Iterator[bytes]:
        """The blocks, oldest first; after the last one, number and digest are checked.

        Raises:
            LocalFault: ``bad_chain_file`` naming the block at which the file is damaged.
        """
        while length := int.from_bytes(self._read(LENGTH_BYTES), "big"):
            if length > MAX_BLOCK_BYTES:
                raise self._fault("The file is damaged: no block is so long", length_bytes=length)
            raw = self._read(length)
            self.count += 1
            yield raw
        if int.from_bytes(self._read(COUNT_BYTES), "big") != self.count:
            raise self._fault("The file is damaged: it says another number of blocks", read=self.count)
        expected = self._digest.digest()
        if self._read(DIGEST_BYTES) != expected:
            raise self._fault("The file is damaged: its digest is another", sha256=expected.hex())
        if self._take(1):
            raise self._fault("The file is damaged: something follows its end")

    def _read(self, size: int) -> bytes:
        data = self._take(size)
        if len(data) < size:
            raise self._fault("The file is damaged: it ends too early")
        self._digest.update(data)
        return data

    def _take(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:  # gzip raises all of them
            raise self._fault("The file is damaged or cannot be read", reason=str(error)) from error

    def _fault(self, message: str, **values: str | int) -> LocalFault:
        return LocalFault(Code.BAD_CHAIN_FILE, message, file=self._name, block=self.count + 1, **values)


@contextmanager
def open_chain_file(path: Path) -> Iterator[ChainFileReader]:
    """Open an exported chain, packed or not.

    Raises:
        LocalFault: ``bad_chain_file`` if it cannot be read or is something else.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise LocalFault(
            Code.BAD_CHAIN_FILE, "The file cannot be read", file=str(path), reason=error.strerror or str(error)
        ) from error
    with file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        with gzip.GzipFile(fileobj=file, mode="rb") if is_packed else file as content:
            yield ChainFileReader(content, str(path))


@contextmanager
def packed_by_name(file: BinaryIO, path: Path) -> Iterator[Writable]:
    """The file to write into: packed with gzip if the name ends with ``.gz``."""
    if path.suffix != GZIP_SUFFIX:
        yield file
        return
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as packed:
        yield packed
