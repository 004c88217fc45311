"""Canonical bytes of plain values, and bytes that are refused."""

from __future__ import annotations

from minervas_core.encoding import MAX_INTEGER, decode_untyped, encode_untyped, sha256_hex
from tools.vectors.format import Case, Plain, refused

MAX_BYTES = 4_096

VALUES: dict[str, Plain] = {
    "empty object": {},
    "empty list": [],
    "empty string": "",
    "true": True,
    "false": False,
    "zero": 0,
    "largest integer": MAX_INTEGER,
    "smallest integer": -MAX_INTEGER,
    "keys sorted by byte": {"b": 1, "a_b": 2, "aa": 3, "a": 4, "a1": 5},
    "nested": {"list": [{"b": [], "a": {}}, [1, [2, "x"]]], "flag": False},
    "short escapes": '\b\t\n\f\r"\\',
    "other control characters": "\x00\x01\x0b\x1f",
    "not escaped": "/\x7f\u0080\u2028é<>&'",
    "Hangul": "목포대학교",
    "outside the basic plane": "😀 \U0010ffff",
    "sixteen levels": [[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]],
}
"""Values that have canonical bytes."""

REFUSED: dict[str, bytes] = {
    "no bytes": b"",
    "float": b"0.1",
    "integral float": b"1.0",
    "integer with exponent": b"1e3",
    "negative zero": b"-0",
    "leading zero": b"01",
    "plus sign": b"+1",
    "null": b"null",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "2^53": b"9007199254740992",
    "-2^53": b"-9007199254740992",
    "2^64": b"18446744073709551616",
    "4,000 digits": b"9" * 4_000,
    "blank before": b" 1",
    "line feed after": b"1\n",
    "blank inside": b'{"a": 1}',
    "byte order mark": b"\xef\xbb\xbf1",
    "keys not sorted": b'{"b":1,"a":2}',
    "duplicate key": b'{"a":1,"a":2}',
    "duplicate key, same value": b'{"a":1,"a":1}',
    "upper-case key": b'{"A":1}',
    "key with a hyphen": b'{"a-b":1}',
    "key that starts with a digit": b'{"1a":1}',
    "empty key": b'{"":1}',
    "key with a line feed": b'{"a\\n":1}',
    "needless escape": b'"\\u0041"',
    "escaped slash": b'"\\/"',
    "long escape of a line feed": b'"\\u000a"',
    "upper-case hex in an escape": b'"\\u001F"',
    "surrogate pair escaped": b'"\\ud83d\\ude00"',
    "lone surrogate escaped": b'"\\ud800"',
    "lone surrogate in UTF-8": b'"\xed\xa0\x80"',
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "control character not escaped": b'"\n"',
    "single quotes": b"'a'",
    "trailing comma": b"[1,]",
    "comment": b"[1]//x",
    "two values": b"1 2",
    "cut short": b'{"a":',
    "seventeen levels": b"[" * 18 + b"]" * 18,
    "2,000 levels": b"[" * 2_000 + b"]" * 2_000,
    "one byte too many": b'"' + b"a" * MAX_BYTES + b'"',
}
"""Bytes that are no canonical value."""


def accepted_cases() -> list[Case]:
    """Values with their canonical bytes and hash."""
    cases: list[Case] = []
    for name, value in VALUES.items():
        data = encode_untyped(value)
        cases.append({"name": name, "value": value, "canonical_hex": data.hex(), "sha256": sha256_hex(data)})
    return cases


def refused_cases() -> list[Case]:
    """Bytes with the code of their refusal."""
    return refused(REFUSED, lambda data: decode_untyped(data, max_bytes=MAX_BYTES))
