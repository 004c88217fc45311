"""A transaction through the standard library's json, without any helper: to plain dictionaries and back."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

HEX = {digits: re.compile(f"[0-9a-f]{{{digits}}}") for digits in (32, 64, 128)}
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
SHARED = {"type": "", "network": 32, "sender": 64, "salt": 32, "expires_height": 0}
POINT = {"time_ms": 0, "register_wh": 0}
FORMS: dict[str, dict[str, Any]] = {
    "generation": {
        **SHARED,
        "member": NAME,
        "meter": NAME,
        "channel": NAME,
        "start": POINT,
        "end": POINT,
        "measured": 0,
        "substituted": 0,
        "missing": 0,
        "reset": bool,
        "readings_root": 64,
    },
    "offer": {**SHARED, "lots": [64], "price_micro": 0, "smallest_wh": 1, "valid_until_ms": 0, "buyer": ""},
    "bid": {**SHARED, "energy_wh": 1, "price_micro": 0, "valid_until_ms": 0, "repeats": bool},
}
"""Fields by type: 0 or 1 is the least integer, a larger number counts hex digits."""


def encode(content: object) -> bytes:
    """Canonical bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes) -> tuple[str, dict[str, Any]]:
    """Read a transaction and check that its bytes are canonical and its fields what they should be; with its id.

    Raises:
        ValueError: if not.
    """
    content = json.loads(raw)
    if encode(content) != raw:
        raise ValueError("not canonical")
    body = content["body"]
    if set(content) != {"body", "signature"} or not HEX[128].fullmatch(content["signature"]):
        raise ValueError("not a transaction")
    check_fields(body, FORMS[body["type"]])
    signed = b"minervas/v1/transaction\0" + body["network"].encode() + encode(body)
    return hashlib.sha256(signed).hexdigest(), content


def check_fields(record: dict[str, Any], form: dict[str, Any]) -> None:
    """Check that a record has just these fields, each of its form.

    Raises:
        ValueError: if not.
    """
    if record.keys() != form.keys():
        raise ValueError("other fields")
    for name, kind in form.items():
        check_value(record[name], kind)


def check_value(value: Any, kind: Any) -> None:
    """Check one value.

    Raises:
        ValueError: if it is not of this form.
    """
    if kind in (0, 1):
        good = type(value) is int and kind <= value < 2**53
    elif isinstance(kind, int):
        good = isinstance(value, str) and HEX[kind].fullmatch(value) is not None
    elif isinstance(kind, re.Pattern):
        good = isinstance(value, str) and kind.fullmatch(value) is not None
    elif isinstance(kind, dict):
        check_fields(value, kind)
        return
    elif isinstance(kind, list):
        for each in value:
            check_value(each, kind[0])
        return
    else:
        good = isinstance(value, kind if isinstance(kind, type) else str)
    if not good:
        raise ValueError(value)
