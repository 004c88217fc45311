"""The secret with which an applicant asks for the state of its application."""

from __future__ import annotations

import hashlib
import hmac

from minervas_core.encoding import sha256_hex

_TOKEN_DOMAIN = b"minervas/v1/application_token\0"
_ID_DOMAIN = b"minervas/v1/application_id\0"


def application_id(raw: bytes) -> str:
    """Id of an application: the same bytes are the same application."""
    return sha256_hex(_ID_DOMAIN + raw)[:32]


def application_token(token_key: bytes, raw: bytes) -> str:
    """Token of an application: derived, so that who repeats an application whose answer was lost gets it again."""
    return hmac.new(token_key, _TOKEN_DOMAIN + raw, hashlib.sha256).hexdigest()


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return sha256_hex(token.encode())


def token_matches(token: str, stored_hash: str) -> bool:
    """Whether a token is the one that belongs to a stored hash, in constant time."""
    return hmac.compare_digest(token_hash(token), stored_hash)
