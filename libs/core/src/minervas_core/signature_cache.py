"""Judge a transaction by itself, once: signature and everything else that the state does not touch.

A transaction is usually seen at gossip and again in a block. What was found valid is remembered under the SHA-256 of
its complete bytes, signature included, so a changed signature is never taken for the one that was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from minervas_core.errors import InvalidTransaction
from minervas_core.genesis import Genesis
from minervas_core.rules import check_alone
from minervas_core.transactions import Transaction, check_signature

DEFAULT_LIMIT = 65_536
"""Remembered transactions: more than the queue and the blocks of the last minutes, about 8 MB."""

TOGETHER_FROM = 50
"""Of fewer unknown transactions, handing them to other threads takes longer than it saves."""

T = TypeVar("T")


class Spread(Protocol):
    """Like `map`, for calls that may run side by side."""

    def __call__(self, check: Callable[[T], bool], items: Sequence[T]) -> Iterable[bool]:
        """Results in the order of the items."""
        ...


def one_by_one(check: Callable[[T], bool], items: Sequence[T]) -> Iterable[bool]:
    """A `Spread` on the thread that asks."""
    return map(check, items)


class SignatureCache:
    """Remembers transactions that were found valid by themselves; forgets the least recently used ones.

    Args:
        genesis: the consortium's genesis.
        limit: how many are remembered.
        spread: runs checks of many transactions side by side; one after the other if not given. A check changes
            nothing, and verifying lets other threads run.
    """

    def __init__(self, genesis: Genesis, *, limit: int = DEFAULT_LIMIT, spread: Spread = one_by_one) -> None:
        self._genesis = genesis
        self._limit = limit
        self._spread = spread
        self._valid: dict[bytes, None] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._valid)

    def check(self, transaction: Transaction) -> None:
        """Check network, signatures and keys, unless these very bytes were found valid before.

        Nothing of it depends on the state: who the authority is today, is asked again for every block.

        Raises:
            InvalidTransaction: ``wrong_network``, ``bad_signature``, or a code of `check_alone`. Refusals are not
                remembered: they must not push out what is valid.
        """
        if transaction.leaf in self._valid:
            self.hits += 1
            del self._valid[transaction.leaf]
            self._valid[transaction.leaf] = None
        else:
            self.misses += 1
            _check_afresh(transaction, self._genesis)
            self.remember([transaction])

    def check_together(self, transactions: Iterable[Transaction]) -> None:
        """Find out which of many are valid, side by side, so that `check` knows them; never raises for a bad one."""
        unknown = [transaction for transaction in transactions if transaction.leaf not in self._valid]
        self.remember(find_valid(unknown, self._genesis, self._spread))

    def remember(self, transactions: Iterable[Transaction]) -> None:
        """Remember transactions that `find_valid` found."""
        for transaction in transactions:
            if len(self._valid) >= self._limit:
                del self._valid[next(iter(self._valid))]
            self._valid[transaction.leaf] = None


def find_valid(transactions: Sequence[Transaction], genesis: Genesis, spread: Spread = one_by_one) -> list[Transaction]:
    """Those that `SignatureCache.check` would find valid. Needs and changes nothing else, so any thread may ask."""

    def is_valid(transaction: Transaction) -> bool:
        try:
            _check_afresh(transaction, genesis)
        except InvalidTransaction:
            return False
        return True

    run = spread if len(transactions) >= TOGETHER_FROM else one_by_one
    verdicts = zip(transactions, run(is_valid, transactions), strict=True)
    return [transaction for transaction, valid in verdicts if valid]


def _check_afresh(transaction: Transaction, genesis: Genesis) -> None:
    check_alone(transaction, genesis)
    check_signature(transaction, genesis.network)
