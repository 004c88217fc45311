"""Checking many transactions at once: their signatures are verified outside Python's lock, so threads help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from minervas_core.transactions import Transaction

SHARES_PER_THREAD = 4
"""So that a thread which another program holds up does not hold up the whole."""


class VerifyingThreads:
    """Like `map` over transactions, on as many threads as there are processors; see `signature_cache.Spread`."""

    def __init__(self, threads: int = 0) -> None:
        """Threads start when they are first needed.

        Args:
            threads: how many; 0 for one on each processor that this process may use.
        """
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verify")

    def __call__(
        self, check: Callable[[Transaction], bool], transactions: Sequence[Transaction]
    ) -> Iterable[bool]:
        """Results in the order of the transactions."""
        if self._threads == 1:
            return map(check, transactions)
        size = -(-len(transactions) // (self._threads * SHARES_PER_THREAD)) or 1
        shares = [transactions[start : start + size] for start in range(0, len(transactions), size)]
        return chain.from_iterable(self._pool.map(lambda share: [check(each) for each in share], shares))
