"""Secrets on disk: made once, private to their owner, written so that a crash leaves either the old or the new file."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.errors import Code, LocalFault

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644
DIRECTORY_MODE = 0o700


def write_atomic(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Write a file so that readers and crashes see either the old or the new content, and flush it to the disk.

    Missing directories are made with mode 0700.

    Raises:
        LocalFault: ``bad_key_file`` if the directory cannot be written.
    """
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        with atomic_file(path, mode=mode) as file:
            file.write(data)
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The file cannot be written; check the directory's owner and free space",
            file=str(path),
            reason=error.strerror or str(error),
        ) from error


@contextmanager
def atomic_file(path: Path, *, mode: int = PRIVATE_MODE) -> Iterator[BinaryIO]:
    """A file that takes its place at the end of the block, flushed to the disk; if the block raises, it never was.

    Raises:
        OSError: if the directory does not exist or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask must not widen or narrow it
            yield file
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)


def _flush_directory(directory: Path) -> None:
    """A rename is only durable once its directory is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """Read a file that nobody but its owner may read.

    Raises:
        LocalFault: ``bad_key_file`` if it is missing, unreadable, empty, or open to group or others.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The secret file cannot be read",
            file=str(path),
            reason=error.strerror or str(error),
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The secret file is open to others; run chmod 600 on it",
            file=str(path),
            mode=oct(stat.S_IMODE(mode)),
        )
    if not data:
        raise LocalFault(Code.BAD_KEY_FILE, "The secret file is empty", file=str(path))
    return data


def read_seed(path: Path, size_bytes: int = 32) -> bytes:
    """Read a seed that is stored as one line of hex.

    Raises:
        LocalFault: ``bad_key_file`` as `read_secret`, or if it is not hex of that size.
    """
    text = read_secret(path).strip()
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != size_bytes:
        raise LocalFault(
            Code.BAD_KEY_FILE, f"The file does not hold {size_bytes} bytes in hex", file=str(path), characters=len(text)
        )
    return seed


def load_or_create_seed(path: Path, size_bytes: int = 32) -> bytes:
    """Read the seed of a key, or make a random one at first start.

    Raises:
        LocalFault: ``bad_key_file`` if the existing file is unusable (it is never replaced) or cannot be made.
    """
    if not path.exists():
        write_atomic(path, secrets.token_bytes(size_bytes).hex().encode() + b"\n")
    return read_seed(path, size_bytes)


def load_or_create_tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the P-256 key of a service's certificate (PEM, PKCS #8), or make one at first start.

    Raises:
        LocalFault: ``bad_key_file`` if the existing file is unusable (it is never replaced) or cannot be made.
    """
    if not path.exists():
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(path, pem)
    try:
        key = serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError) as error:
        raise LocalFault(Code.BAD_KEY_FILE, "The file does not hold a PEM key", file=str(path)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise LocalFault(Code.BAD_KEY_FILE, "The TLS key is not a P-256 key", file=str(path))
    return key
