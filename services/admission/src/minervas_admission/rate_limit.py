"""How many applications one client address may send."""

from __future__ import annotations

import collections
import ipaddress
from collections.abc import Callable

MAX_ADDRESSES = 10_000
"""Addresses that are remembered; the one that was quiet longest is forgotten first."""


class RateLimit:
    """A token bucket per client: as many at once as per minute."""

    def __init__(self, per_minute: int, monotonic_ms: Callable[[], int]) -> None:
        """Start with full buckets.

        Args:
            per_minute: new tokens per minute, and size of a bucket.
            monotonic_ms: a clock that never goes back.
        """
        self._per_minute = per_minute
        self._monotonic_ms = monotonic_ms
        self._buckets: collections.OrderedDict[str, tuple[int, int]] = collections.OrderedDict()

    def allow(self, address: str) -> bool:
        """Take a token of this client; False if it has none left."""
        key = client_key(address)
        now_ms = self._monotonic_ms()
        full = self._per_minute * 60_000
        level, at_ms = self._buckets.pop(key, (full, now_ms))
        level = min(full, level + (now_ms - at_ms) * self._per_minute)
        allowed = level >= 60_000
        self._buckets[key] = (level - 60_000 if allowed else level, now_ms)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed


def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
