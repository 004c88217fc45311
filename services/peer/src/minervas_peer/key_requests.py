"""When to ask for a sender key, and when to answer such a question: once per key, and at a bounded rate."""

from __future__ import annotations

from collections import OrderedDict

from minervas_peer.rate_limit import RateLimit

ASK_AGAIN_MS = 10_000
"""A question that brought no key in this time may be repeated: the bus may have lost it, or the answer."""

ASK_BURST = 4
ASK_REFILL_MS = 2_500
"""Questions to one member: so many at once, then one in this time, whatever key ids its frames name."""

ANSWER_BURST = 4
ANSWER_REFILL_MS = 2_500
"""Answers to one member's questions."""

MAX_REMEMBERED = 2_048


class KeyRequestLimits:
    """Remembers what was asked and answered. Times are monotonic milliseconds."""

    def __init__(self, *, ask_again_ms: int = ASK_AGAIN_MS) -> None:
        self._ask_again_ms = ask_again_ms
        self._asked: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._asking = RateLimit(burst=ASK_BURST, refill_ms=ASK_REFILL_MS)
        self._answering = RateLimit(burst=ANSWER_BURST, refill_ms=ANSWER_REFILL_MS)

    def may_ask(self, member: str, key_id: str, now_ms: int) -> bool:
        """Whether to ask `member` for this key now; if so, it counts as asked."""
        asked_at_ms = self._asked.get((member, key_id))
        if asked_at_ms is not None and now_ms - asked_at_ms < self._ask_again_ms:
            return False
        if not self._asking.allow(member, now_ms):
            return False
        self._asked[member, key_id] = now_ms
        self._asked.move_to_end((member, key_id))
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        return True

    def may_answer(self, member: str, now_ms: int) -> bool:
        """Whether to answer a question of `member` now; if so, it counts as answered."""
        return self._answering.allow(member, now_ms)
