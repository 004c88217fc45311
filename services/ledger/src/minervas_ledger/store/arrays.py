"""Arrays packed as PostgreSQL's binary format has them.

psycopg dumps a list element by element in Python, which took longer than all else about writing a block. A packed
array goes through psycopg as it is: as a parameter where the statement casts it to its type, or as a field of a COPY.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from psycopg.adapt import Dumper
from psycopg.pq import Format

_LENGTH = struct.Struct(">i")
_BIGINT = struct.Struct(">iq")
_INTEGER = struct.Struct(">ii")
_HEADER = struct.Struct(">iiIii")
_EMPTY = struct.Struct(">iiI")
_NULL = _LENGTH.pack(-1)

_OIDS = {"bytea": 17, "text": 25, "int8": 20, "int4": 23}
"""Of the element types, fixed in PostgreSQL's catalogue (``pg_type.dat``)."""


class PackedArray(bytes):
    """An array of one dimension in binary form; `PackedArrayDumper` hands it to PostgreSQL."""


class PackedArrayDumper(Dumper):
    """Passes packed arrays on; the statement says of what type they are."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """The bytes as they are."""
        return obj


def bytea_array(values: Iterable[bytes | None]) -> PackedArray:
    """A ``bytea[]``."""
    return _pack("bytea", [_NULL if each is None else _LENGTH.pack(len(each)) + each for each in values])


def text_array(values: Iterable[str]) -> PackedArray:
    """A ``text[]``; PostgreSQL refuses a zero byte in it."""
    encoded = [each.encode() for each in values]
    return _pack("text", [_LENGTH.pack(len(each)) + each for each in encoded])


def int8_array(values: Iterable[int | None]) -> PackedArray:
    """A ``bigint[]``."""
    return _pack("int8", [_NULL if each is None else _BIGINT.pack(8, each) for each in values])


def int4_array(values: Iterable[int]) -> PackedArray:
    """An ``integer[]``."""
    return _pack("int4", [_INTEGER.pack(4, each) for each in values])


PACKERS = cast(
    "dict[str, Callable[[object], PackedArray]]",
    {"bytea[]": bytea_array, "text[]": text_array, "int8[]": int8_array, "int4[]": int4_array},
)
"""Packs a list as an array of this type."""


def _pack(kind: str, elements: Sequence[bytes]) -> PackedArray:
    """Dimensions, whether there may be NULLs (it may always), element type, length and lower bound, then elements."""
    if not elements:
        return PackedArray(_EMPTY.pack(0, 0, _OIDS[kind]))
    return PackedArray(_HEADER.pack(1, 1, _OIDS[kind], len(elements), 1) + b"".join(elements))
