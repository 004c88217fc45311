"""Types of command line arguments: each reads a text or says what is wrong with it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx

from minervas_peer.commands.prices import parse_price
from minervas_peer.join.fingerprint import parse_fingerprint

T = TypeVar("T")


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"not a number from {low} to {high}: {text!r}")
        return int(text)

    return parse


def http_url(text: str, schemes: Sequence[str] = ("http", "https")) -> str:
    """An address, without a slash at its end."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise argparse.ArgumentTypeError(f"not a URL: {text!r}") from error
    if url.scheme not in schemes or not url.host:
        raise argparse.ArgumentTypeError(f"not a URL with {' or '.join(schemes)}: {text!r}")
    return text.rstrip("/")


def https_url(text: str) -> str:
    """An address that is reached over TLS."""
    return http_url(text, ("https",))


def fingerprint(text: str) -> str:
    """A CA's fingerprint, ``sha256:`` and 64 hex digits."""
    return _told(parse_fingerprint, text)


def price(text: str) -> int:
    """A price per kWh, in millionths of the currency per Wh."""
    return _told(parse_price, text)


def block_reference(text: str) -> str:
    """A block's hash or height."""
    return _matching(r"[0-9a-f]{64}|0|[1-9][0-9]{0,14}", "a block's hash or height", text)


def transaction_id(text: str) -> str:
    """The id of a transaction, and so of an order."""
    return _matching(r"[0-9a-f]{64}", "the id of a transaction (64 hex digits)", text)


def lot_id(text: str) -> str:
    """The id of a lot."""
    return _matching(r"[0-9a-f]{64}", "the id of a lot (64 hex digits)", text)


def _matching(pattern: str, what: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise argparse.ArgumentTypeError(f"not {what}: {text!r}")
    return text


def _told(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
