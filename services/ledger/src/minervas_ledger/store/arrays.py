"""Arrays packed as PostgreSQL's binary format has them.

psycopg dumps a list element by element in Python, which took longer than all else about writing a block. A packed
array goes through psycopg as it is: as a field of a binary COPY, or (`Packed`) as a parameter that the statement casts
to its type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

_OIDS = {"bytea": 17, "text": 25, "int8": 20, "int4": 23}
"""Of the element types, fixed in PostgreSQL's catalogue (``pg_type.dat``)."""

_LENGTH = struct.Struct(">i").pack
_INT8 = struct.Struct(">iq").pack
_INT4 = struct.Struct(">ii").pack
_NULL = _LENGTH(-1)

_EMPTY = {kind: struct.pack(">iiI", 0, 0, oid) for kind, oid in _OIDS.items()}
_HEAD = {kind: struct.pack(">iiI", 1, 1, oid) for kind, oid in _OIDS.items()}
"""One dimension, there may be NULLs (as there always may), the element type."""
_BOUNDS = struct.Struct(">ii").pack
"""Length of the dimension, and its lowest index."""


class Packed(bytes):
    """A packed array as a parameter, ``%s::bytea[]`` in the statement."""


class PackedDumper(Dumper):
    """Passes packed arrays on; the statement says of what type they are."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """The bytes as they are."""
        return obj


def bytea_array(values: Collection[bytes | None]) -> bytes:
    """A ``bytea[]``."""
    return _pack("bytea", [_NULL if each is None else _LENGTH(len(each)) + each for each in values])


def text_array(values: Collection[str]) -> bytes:
    """A ``text[]``; PostgreSQL refuses a zero byte in it."""
    encoded = [each.encode() for each in values]
    return _pack("text", [_LENGTH(len(each)) + each for each in encoded])


def int8_array(values: Collection[int | None]) -> bytes:
    """A ``bigint[]``."""
    return _pack("int8", [_NULL if each is None else _INT8(8, each) for each in values])


def int4_array(values: Collection[int]) -> bytes:
    """An ``integer[]``."""
    return _pack("int4", [_INT4(4, each) for each in values])


PACKERS: dict[str, Callable[[Any], bytes]] = {
    "bytea[]": bytea_array,
    "text[]": text_array,
    "int8[]": int8_array,
    "int4[]": int4_array,
}
"""Packs the values of a list as an array of this type."""


def _pack(kind: str, elements: list[bytes]) -> bytes:
    if not elements:
        return _EMPTY[kind]
    return _HEAD[kind] + _BOUNDS(len(elements), 1) + b"".join(elements)
