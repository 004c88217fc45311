"""Values between Python and columns: hashes are hex in the protocol and bytes in the database."""

from __future__ import annotations

from collections.abc import Iterable


def as_bytes(value: object) -> bytes:
    """A bytea column.

    Raises:
        TypeError: if the column is of another type than this version expects.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes from the database, got {type(value).__name__}")
    return value


def as_int(value: object) -> int:
    """An integer column.

    Raises:
        TypeError: if the column is of another type than this version expects.
    """
    if not isinstance(value, int):
        raise TypeError(f"expected an integer from the database, got {type(value).__name__}")
    return value


def binary(hashes: Iterable[str]) -> list[bytes]:
    """Hex digests as the database has them."""
    return [bytes.fromhex(item) for item in hashes]
