"""Judge a transaction by itself, once: signature and everything else that the state does not touch.

A transaction is usually seen at gossip and again in a block. What was found valid is remembered under the SHA-256 of
its complete bytes, signature included, so a changed signature is never taken for the one that was checked.
"""

from __future__ import annotations

import hashlib

from minervas_core.genesis import Genesis
from minervas_core.rules import check_alone
from minervas_core.transactions import Transaction, check_signature

DEFAULT_LIMIT = 65_536
"""Remembered transactions: more than the queue and the blocks of the last minutes, about 8 MB."""


class SignatureCache:
    """Remembers transactions that were found valid by themselves; forgets the least recently used ones."""

    def __init__(self, genesis: Genesis, *, limit: int = DEFAULT_LIMIT) -> None:
        self._genesis = genesis
        self._limit = limit
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
        digest = hashlib.sha256(transaction.raw).digest()
        if digest in self._valid:
            self.hits += 1
            del self._valid[digest]
        else:
            self.misses += 1
            check_alone(transaction, self._genesis)
            check_signature(transaction, self._genesis.network)
            if len(self._valid) >= self._limit:
                del self._valid[next(iter(self._valid))]
        self._valid[digest] = None
