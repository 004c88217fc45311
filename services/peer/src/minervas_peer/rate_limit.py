"""Token buckets by name, in integer milliseconds, for a bounded number of names."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MAX_NAMES = 4_096
"""Names remembered; names are members that the broker let in, so honest use stays far below."""


@dataclass(slots=True)
class _Bucket:
    credit_ms: int
    seen_at_ms: int


class RateLimit:
    """Allows `burst` uses at once and one more every `refill_ms`, for each name on its own."""

    def __init__(self, *, burst: int, refill_ms: int, max_names: int = MAX_NAMES) -> None:
        self._refill_ms = refill_ms
        self._full_ms = burst * refill_ms
        self._max_names = max_names
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def allow(self, name: str, now_ms: int, *, cost: int = 1) -> bool:
        """Take `cost` uses if there are that many; `now_ms` is of a monotonic clock."""
        bucket = self._refilled(name, now_ms)
        price_ms = cost * self._refill_ms
        if bucket.credit_ms < price_ms:
            return False
        bucket.credit_ms -= price_ms
        return True

    def _refilled(self, name: str, now_ms: int) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._full_ms, now_ms)
            if len(self._buckets) > self._max_names:
                self._buckets.popitem(last=False)
        bucket.credit_ms = min(self._full_ms, bucket.credit_ms + now_ms - bucket.seen_at_ms)
        bucket.seen_at_ms = now_ms
        self._buckets.move_to_end(name)
        return bucket
