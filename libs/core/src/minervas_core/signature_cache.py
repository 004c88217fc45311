"""Judge a transaction by itself, once: signature and everything else that the state does not touch.

A transaction is usually seen at gossip and again in a block. What was found valid is remembered under the SHA-256 of
its complete bytes, signature included, so a changed signature is never taken for the one that was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from minervas_core.errors import InvalidTransaction
from minervas_core.genesis import Genesis
from minervas_core.rules import check_alone
from minervas_core.transactions import Transaction, check_signature

DEFAULT_LIMIT = 65_536
"""Remembered transactions: more than the queue and the blocks of the last minutes, about 8 MB."""

TOGETHER_FROM = 50
"""Of fewer unknown transactions, handing them to other threads takes longer than it saves."""

Spread = Callable[[Callable[[Transaction], bool], Sequence[Transaction]], Iterable[bool]]
"""Like `map`, for calls that may run side by side: results in the order of the transactions."""


class SignatureCache:
    """Remembers transactions that were found valid by themselves; forgets the least recently used ones.

    Args:
        genesis: the consortium's genesis.
        limit: how many are remembered.
        spread: runs checks of many transactions side by side; one after the other if not given. A check changes
            nothing, and verifying lets other threads run.
    """

    def __init__(self, genesis: Genesis, *, limit: int = DEFAULT_LIMIT, spread: Spread = map) -> None:
        self._genesis = genesis
        self._limit = limit
        self._spread = spread
        self._valid: dict[bytes, None] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._valid)

    def check(self, transaction: Transaction) -> None:
        """Check network, signature, sender and keys, unless these very bytes were found valid before.

        Raises:
            InvalidTransaction: ``wrong_network``, ``bad_signature``, ``tx_wrong_sender``, ``bad_member_id``,
                ``bad_key`` or ``key_reused``. Refusals are not remembered: they must not push out what is valid.
        """
        if transaction.leaf in self._valid:
            self.hits += 1
            del self._valid[transaction.leaf]
            self._valid[transaction.leaf] = None
        else:
            self.misses += 1
            self._check_afresh(transaction)
            self._remember(transaction)

    def check_together(self, transactions: Iterable[Transaction]) -> None:
        """Find out which of many are valid, side by side, so that `check` knows them; never raises for a bad one."""
        unknown = [transaction for transaction in transactions if transaction.leaf not in self._valid]
        if len(unknown) < TOGETHER_FROM:
            return
        for transaction, is_valid in zip(unknown, self._spread(self._is_valid, unknown), strict=True):
            if is_valid:
                self._remember(transaction)

    def _is_valid(self, transaction: Transaction) -> bool:
        """Reads nothing that changes: may run on any thread."""
        try:
            self._check_afresh(transaction)
        except InvalidTransaction:
            return False
        return True

    def _check_afresh(self, transaction: Transaction) -> None:
        check_alone(transaction, self._genesis)
        check_signature(transaction, self._genesis.network)

    def _remember(self, transaction: Transaction) -> None:
        if len(self._valid) >= self._limit:
            del self._valid[next(iter(self._valid))]
        self._valid[transaction.leaf] = None
