"""A Merkle tree that grows leaf by leaf and keeps only its right edge: constant size for a statement of any length.

The root is that of `minervas_core.merkle.merkle_root` (RFC 6962): perfect subtrees, largest first, joined from the
right.
"""

from __future__ import annotations

import hashlib

import msgspec

from minervas_core.merkle import EMPTY_ROOT, leaf_hash


class Frontier(msgspec.Struct, frozen=True):
    """The perfect subtrees of a tree of `count` leaves."""

    count: int = 0
    peaks: tuple[bytes, ...] = ()
    """Their roots, largest first: one for each 1 in the binary form of `count`."""

    def with_leaf(self, data: bytes) -> Frontier:
        """The tree with one more leaf of these bytes."""
        peaks = list(self.peaks)
        digest = leaf_hash(data)
        size = self.count
        while size & 1:
            digest = _joined(peaks.pop(), digest)
            size >>= 1
        return Frontier(self.count + 1, (*peaks, digest))

    def root(self) -> str:
        """Root in hex."""
        if not self.peaks:
            return EMPTY_ROOT
        *larger, digest = self.peaks
        for peak in reversed(larger):
            digest = _joined(peak, digest)
        return digest.hex()


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
