"""Canonical bytes: JSON after RFC 8785 (JCS), restricted (design section 4).

Objects, arrays, strings, booleans and integers of magnitude below 2^53; no floats and no null; keys match
``[a-z][a-z0-9_]*``. With such keys, JCS' sorting by UTF-16 code units is plain byte order, which is what msgspec's
``order="sorted"`` yields; tests compare every output with the `rfc8785` package.

A decoder accepts only bytes that re-encode to themselves: that rejects duplicate keys, blanks, other escapes, floats
and any other second spelling of the same value. A `msgspec.Raw` field carries an embedded document byte for byte; it
is judged by the decoder of that document, whose bytes are hashed or signed on their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec

from minervas_core.errors import Code, InvalidEncoding

MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader holds exactly (RFC 8785 section 3.2.2.3)."""

KEY_PATTERN = re.compile(r"[a-z][a-z0-9_]*\Z")
"""What an object key looks like."""

MAX_DEPTH = 16
"""Nesting limit of untyped values; the deepest message type has 6 levels."""

MAX_REASON_LENGTH = 200
"""A decoder's explanation quotes what it read; this is how much of it goes into an error."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
"""A non-negative integer that fits every reader."""
PerMille = Annotated[int, msgspec.Meta(ge=0, le=1000)]
"""A share, in thousandths."""
SignedInteger = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
"""An integer of either sign."""
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
"""Milliseconds since 1970-01-01T00:00:00Z."""
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""32 bytes, a SHA-256 digest, as 64 lower-case hex digits."""
PublicKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""An Ed25519 public key (32 bytes) in hex."""
Signature = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]
"""An Ed25519 signature (64 bytes) in hex."""
Salt = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""16 random bytes in hex."""
NetworkId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""The consortium's random 16 bytes in hex; its fixed length keeps signed bytes unambiguous."""
LeanHash = Annotated[str, msgspec.Meta(min_length=64, max_length=64, extra_json_schema={"pattern": r"^[0-9a-f]{64}\Z"})]
"""A `Hash` of which the type only checks the length. A record with lean fields is read with a `judge` (see `decode`)
that asks `are_hex_digits` about all of them at once: a pattern for each field took half the time of a transaction."""
LeanKey = LeanHash
"""A `PublicKey`, likewise."""
LeanSignature = Annotated[
    str, msgspec.Meta(min_length=128, max_length=128, extra_json_schema={"pattern": r"^[0-9a-f]{128}\Z"})
]
"""A `Signature`, likewise."""
LeanSalt = Annotated[str, msgspec.Meta(min_length=32, max_length=32, extra_json_schema={"pattern": r"^[0-9a-f]{32}\Z"})]
"""A `Salt`, likewise."""
LeanNetworkId = LeanSalt
"""A `NetworkId`, likewise."""
FieldName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64)]
"""An object key where the keys are data (a table of counters)."""
WorkSum = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9a-f][0-9a-f]{0,63})\Z")]
"""Cumulative work as a hex number without leading zeros: it may pass 2^53."""

T = TypeVar("T")

_HEX_DIGITS = b"0123456789abcdef"

_encoder = msgspec.json.Encoder(order="sorted")
_decoder: Callable[[Any], msgspec.json.Decoder[Any]] = lru_cache(maxsize=256)(msgspec.json.Decoder)
"""The decoder of a type: making one takes longer than decoding a small message."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value that has canonical bytes: immutable, by keyword, no unknown fields."""


def encode(value: msgspec.Struct | Sequence[msgspec.Struct]) -> bytes:
    """Canonical bytes of a `Record` or of a list of them (their types already exclude floats and null)."""
    return _encoder.encode(value)


def encode_untyped(value: object) -> bytes:
    """Canonical bytes of plain dicts, lists, strings, booleans and integers.

    Raises:
        InvalidEncoding: ``wrong_shape`` for a float, null, a big integer, a bad key, a lone surrogate or too deep
            nesting.
    """
    _check_plain(value, 0)
    return _encoder.encode(value)


def are_hex_digits(text: str) -> bool:
    """Whether a text has nothing but lower-case hex digits."""
    return not text.encode("utf-8", "replace").translate(None, _HEX_DIGITS)


def decode(data: bytes, kind: type[T], *, max_bytes: int, judge: Callable[[T], str] | None = None) -> T:
    """Decode canonical bytes into `kind`.

    Args:
        data: the bytes.
        kind: what they should be.
        max_bytes: how many there may be.
        judge: for a type with lean fields: says what is wrong with a value that the type lets pass, or nothing.

    Raises:
        InvalidEncoding: ``too_large``, ``not_json``, ``wrong_shape`` or ``not_canonical``.
    """
    _check_size(data, max_bytes)
    try:
        value: T = _decoder(kind).decode(data)
        if judge is not None and (fault := judge(value)):
            raise msgspec.ValidationError(fault)
    except msgspec.ValidationError as error:
        raise InvalidEncoding(
            Code.WRONG_SHAPE,
            "The content does not have the expected shape",
            reason=str(error)[:MAX_REASON_LENGTH],
            kind=kind.__name__,
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEncoding(Code.NOT_JSON, "The bytes are not JSON", reason=str(error)[:MAX_REASON_LENGTH]) from error
    if _encoder.encode(value) != data:
        raise InvalidEncoding(
            Code.NOT_CANONICAL, "The bytes are not the canonical form of their content", kind=kind.__name__
        )
    return value


def decode_untyped(data: bytes, *, max_bytes: int) -> Any:
    """Decode canonical bytes of unknown shape into plain Python values.

    Raises:
        InvalidEncoding: as `decode`.
    """
    value = decode(data, object, max_bytes=max_bytes)
    _check_plain(value, 0)
    return value


def sha256_hex(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _check_size(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise InvalidEncoding(
            Code.TOO_LARGE, "More bytes than this message may have", size_bytes=len(data), max_bytes=max_bytes
        )


def _check_text(value: str) -> None:
    """Refuse what UTF-8 can not carry: halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEncoding(Code.WRONG_SHAPE, "Lone surrogate in a string", value=ascii(value)[:80]) from error


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not KEY_PATTERN.match(key):
        raise InvalidEncoding(Code.WRONG_SHAPE, "Bad object key", key=ascii(key)[:80])


def _check_plain(value: object, depth: int) -> None:
    """Refuse what the restricted JSON does not have."""
    if depth > MAX_DEPTH:
        raise InvalidEncoding(Code.WRONG_SHAPE, "Nested too deeply", max_depth=MAX_DEPTH)
    match value:
        case bool():
            return
        case str():
            _check_text(value)
        case int():
            if abs(value) > MAX_INTEGER:
                raise InvalidEncoding(Code.WRONG_SHAPE, "Integer of 2^53 or more", bits=value.bit_length())
        case list() | tuple():
            for item in value:
                _check_plain(item, depth + 1)
        case dict():
            for key, item in value.items():
                _check_key(key)
                _check_plain(item, depth + 1)
        case _:
            raise InvalidEncoding(Code.WRONG_SHAPE, "Neither float, null nor other types", type=type(value).__name__)
