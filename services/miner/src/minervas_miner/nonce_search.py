"""The proof-of-work loop, as fast as the standard library goes (facts: about twice a plain `hashlib` loop).

A try hashes 40 bytes: the seal and an 8-byte nonce (`minervas_core.proof_of_work`). The first six bytes of the nonce
stay the same for a *run* of 65,536 tries, so their hash state is made once and copied for every try; the last two come
from a ready-made table. Hashes are compared as bytes, which for equal lengths is the order of the numbers.

This module and the process around it import nothing but the standard library: the search process stays small, and
its result is checked again with `minervas_core` before anything is signed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

RUN_TRIES = 65_536
"""Tries that share one hash state."""

NONCES = 2**64
"""How many nonces there are; a search that reaches the last one goes on with the first."""

NO_HASH = b"\xff" * 32
"""The lowest hash while nothing was tried."""

_ENDINGS = [ending.to_bytes(2, "big") for ending in range(RUN_TRIES)]


@dataclass(slots=True)
class NonceSearch:
    """A search under one seal that is advanced batch by batch."""

    seal: bytes
    target: bytes
    """Exclusive upper limit of a good hash, 32 bytes big-endian."""
    next_nonce: int
    tries: int = 0
    lowest: bytes = NO_HASH
    lowest_nonce: int = 0
    found: bool = field(default=False, init=False)
    """Whether the lowest hash is below the target; the search is over then."""

    def advance(self, count: int) -> None:
        """Try `count` nonces, but not beyond the end of the run and not after a good hash."""
        prefix, begin = divmod(self.next_nonce, RUN_TRIES)
        end = min(begin + count, RUN_TRIES)
        copy = hashlib.sha256(self.seal + prefix.to_bytes(6, "big")).copy
        lowest, lowest_ending, target = self.lowest, b"", self.target
        for ending in _ENDINGS[begin:end]:
            trial = copy()
            trial.update(ending)
            digest = trial.digest()
            if digest < lowest:
                lowest, lowest_ending = digest, ending
                if digest < target:
                    self.found = True
                    end = int.from_bytes(ending, "big") + 1
                    break
        if lowest_ending:
            self.lowest = lowest
            self.lowest_nonce = prefix * RUN_TRIES + int.from_bytes(lowest_ending, "big")
        self.tries += end - begin
        self.next_nonce = (prefix * RUN_TRIES + end) % NONCES
