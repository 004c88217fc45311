"""Checking many signatures at once: they are verified outside Python's lock, so threads help."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

SWITCH_INTERVAL_S = 0.0005
"""How long a thread computes while another waits for Python's lock. A verifying thread needs it for a moment after each
signature, of about 0.1 ms; while the chain's thread computed, Python's 5 ms made it wait fifty times as long."""

T = TypeVar("T")

SHARES_PER_THREAD = 4
"""So that a thread which another program holds up does not hold up the whole."""


class VerifyingThreads:
    """Like `map`, on as many threads as there are processors; see `signature_cache.Spread`."""

    def __init__(self, threads: int = 0) -> None:
        """Threads start when they are first needed. Lowers the switch interval of the whole process.

        Args:
            threads: how many; 0 for one on each processor that this process may use.
        """
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verify")

    def __call__(self, check: Callable[[T], bool], items: Sequence[T]) -> Iterable[bool]:
        """Results in the order of the items."""
        if self._threads == 1:
            return map(check, items)
        size = -(-len(items) // (self._threads * SHARES_PER_THREAD)) or 1
        shares = [items[start : start + size] for start in range(0, len(items), size)]
        return chain.from_iterable(self._pool.map(lambda share: [check(each) for each in share], shares))
