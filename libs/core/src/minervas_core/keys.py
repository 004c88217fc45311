"""Ed25519 signatures over domain-separated bytes (design section 4).

Signed bytes are ``"minervas/v1/<type>" || 0x00 || network id || canonical body``: a signature made for one purpose or
network can never be shown as another. Signatures are made with pycryptodome and judged by `cryptography`, whose answer
is the consensus rule; vectors pin the edge cases so that an upgrade cannot split the chain.
"""

from __future__ import annotations

from functools import lru_cache

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, PeerFault

SEED_BYTES = 32
"""Length of the secret from which an Ed25519 key is made."""

_FIELD_PRIME = 2**255 - 19
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""y coordinates of the eight points of small order: with such a key one signature fits many messages (RFC 8032)."""


def signing_bytes(purpose: str, network: str, body: bytes) -> bytes:
    """The bytes that are signed: purpose, network id (32 hex digits) and canonical body."""
    return f"minervas/v1/{purpose}\0{network}".encode("ascii") + body


class SigningKey:
    """An Ed25519 private key made from a 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        key = ECC.construct(curve="Ed25519", seed=seed)
        self._signer = eddsa.new(key, "rfc8032")
        self.public: str = key.public_key().export_key(format="raw").hex()
        """Public key in hex."""

    def sign(self, purpose: str, network: str, body: bytes) -> str:
        """Signature in hex over the domain-separated bytes."""
        return self._signer.sign(signing_bytes(purpose, network, body)).hex()

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public})"


def verify(public: str, purpose: str, network: str, body: bytes, signature: str) -> bool:
    """Whether `signature` (lower-case hex) by `public` over these bytes is valid. Never raises for bad input.

    Whether `public` may be trusted at all is not asked here: `check_public_key` judged it when it was registered.
    """
    try:
        raw = bytes.fromhex(signature)
        if raw.hex() != signature:
            return False
        _load(public).verify(raw, signing_bytes(purpose, network, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def check_public_key(public: str) -> str:
    """Return `public` if it can serve as a signing key.

    Raises:
        PeerFault: ``bad_key`` for a wrong length, a non-canonical encoding or a point of small order.
    """
    try:
        raw = bytes.fromhex(public)
    except ValueError:
        raw = b""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if len(raw) != 32 or public != raw.hex() or y >= _FIELD_PRIME or y in _SMALL_ORDER_Y or not _on_curve(public):
        raise PeerFault(Code.BAD_KEY, "Not a usable Ed25519 public key", key=public[:80])
    return public


def node_id(wallet: str) -> str:
    """The id of a node: SHA-256 of its wallet's public key (paper: the node id comes from the node's key)."""
    return sha256_hex(bytes.fromhex(wallet))


def _on_curve(public: str) -> bool:
    try:
        ECC.import_key(_SPKI_PREFIX + bytes.fromhex(public))
    except ValueError:
        return False
    return True


_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""DER header of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4)."""


@lru_cache(maxsize=4096)
def _load(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
