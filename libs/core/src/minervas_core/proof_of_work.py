"""SHA-256 proof of work (paper, consensus; design section 5).

``seal = SHA-256(canonical header without nonce)`` is computed once for a search; a try is
``SHA-256(seal || nonce as 8 bytes big-endian)``: 40 bytes, one compression. A hash is good when, read as a big-endian
number, it is below ``(2^256 - 1) // difficulty``; so difficulty is the expected number of tries.
"""

from __future__ import annotations

import hashlib

NONCE_BYTES = 8
NONCE_COUNT = 2 ** (8 * NONCE_BYTES)
"""How many nonces a seal has."""

MAX_HASH = 2**256 - 1


def target(difficulty: int) -> int:
    """Exclusive upper limit of a good hash at this difficulty (at least 1)."""
    return MAX_HASH // difficulty


def attempt(seal: bytes, nonce: int) -> bytes:
    """The hash of one try."""
    return hashlib.sha256(seal + nonce.to_bytes(NONCE_BYTES, "big")).digest()


def is_good(digest: bytes, difficulty: int) -> bool:
    """Whether a hash fulfils the difficulty."""
    return int.from_bytes(digest, "big") < target(difficulty)
