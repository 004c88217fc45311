"""All the randomness of the services: core takes it as arguments and makes none."""

from __future__ import annotations

import secrets

from minervas_core.frames import KEY_BYTES, NONCE_BYTES


def new_salt() -> str:
    """16 random bytes in hex, for salts, key ids and correlation."""
    return secrets.token_hex(16)


def new_frame_nonce() -> bytes:
    """24 random bytes for one frame; at that length random nonces never repeat."""
    return secrets.token_bytes(NONCE_BYTES)


def new_secret() -> bytes:
    """A 32-byte symmetric key: a sender key or a node key."""
    return secrets.token_bytes(KEY_BYTES)


def new_search_start() -> int:
    """A random point below 2^64 from which a nonce search starts (design section 5)."""
    return secrets.randbits(64)
