"""Sealing to a box key; opening is in `minervas_core.box`, because only sealing draws randomness."""

from __future__ import annotations

from minervas_core.box import SUITE, load_box_public
from minervas_runtime.randomness import new_salt

__all__ = ["new_salt", "seal_to_box"]


def seal_to_box(public: str, plaintext: bytes, info: bytes) -> bytes:
    """Seal a secret so that only the holder of a box key can open it, and only under the same `info`.

    Args:
        public: the recipient's registered box key in hex.
        plaintext: what to seal, usually a 32-byte sender key (becomes 1,168 bytes).
        info: what the secret is bound to, such as `minervas_core.messages.sender_key_info`.

    Raises:
        PeerFault: ``bad_key`` if `public` is not a box key.
    """
    return SUITE.encrypt(plaintext, load_box_public(public), info=info)
