"""Merkle trees after RFC 6962 section 2.1: leaves and inner nodes are hashed under different prefixes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")

EMPTY_ROOT = hashlib.sha256(b"").hexdigest()
"""Root of the tree without leaves (RFC 6962)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Root in hex over the leaves' bytes, in order."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(hashes: Sequence[bytes]) -> str:
    """Root in hex over leaves that are hashed already (`leaf_hash`), in order."""
    return _root(hashes).hex() if hashes else EMPTY_ROOT


def merkle_path(leaves: Sequence[bytes], index: int) -> list[str]:
    """Audit path of leaf `index`, from the bottom up, as hex digests (RFC 6962 section 2.1.1).

    Raises:
        IndexError: if there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    path: list[str] = []
    low, high = 0, len(hashes)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_root(hashes[middle:high]).hex())
            high = middle
        else:
            path.append(_root(hashes[low:middle]).hex())
            low = middle
    return path[::-1]


def path_leads_to(leaf: bytes, index: int, count: int, path: Sequence[str], root: str) -> bool:
    """Whether `path` proves that `leaf` is number `index` of `count` under `root` (RFC 9162 section 2.1.3.2).

    Never raises for a bad path: a step that is not 32 bytes in lower-case hex proves nothing.
    """
    if not 0 <= index < count or not all(_DIGEST.match(step) for step in path):
        return False
    node, last, digest = index, count - 1, leaf_hash(leaf)
    for step in path:
        sibling = bytes.fromhex(step)
        if last == 0:
            return False
        if node % 2 == 1 or node == last:
            digest = _node(sibling, digest)
            while node % 2 == 0 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            digest = _node(digest, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and digest.hex() == root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _root(hashes: Sequence[bytes]) -> bytes:
    """The root, level by level: neighbours are joined, and one that is left over goes up as it is.

    That is the tree of RFC 6962: its left half is the largest full tree that leaves something for the right, so both
    pair the leaves from the left, and only the right edge can lack a neighbour.
    """
    level = list(hashes)
    while len(level) > 1:
        joined = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = joined + level[2 * len(joined) :]
    return level[0]
