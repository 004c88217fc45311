"""Box keys: HPKE (RFC 9180) with the hybrid KEM X-Wing (ML-KEM-768 and X25519), to hand over sender keys.

A recorder with a future quantum computer has to break both halves. Sealing draws fresh randomness inside the library
and therefore lives in the runtime; opening is deterministic and lives here.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from minervas_core.errors import Code, InvalidFrame, PeerFault

SEED_BYTES = 64 + 32
"""Secret of a box key: an ML-KEM-768 seed (64 bytes) followed by an X25519 private key (32 bytes)."""

PUBLIC_BYTES = 1184 + 32
"""Public box key: an ML-KEM-768 encapsulation key followed by an X25519 public key."""

_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_CURVE_PRIME = 2**255 - 19
_PROBE = X25519PrivateKey.from_private_bytes(bytes(32))
"""Any private key: its exchange with a point of small order yields zero, which the library refuses."""

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""The one HPKE suite of the protocol."""


class BoxKey:
    """A private box key made from a 96-byte seed."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a box seed has {SEED_BYTES} bytes, not {len(seed)}")
        kem = MLKEM768PrivateKey.from_seed_bytes(seed[:_MLKEM_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(seed[_MLKEM_SEED_BYTES:])
        self._private = MLKEM768X25519PrivateKey(kem, curve)
        self.public: str = (kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()).hex()
        """Public key in hex (2,432 digits)."""

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open what was sealed to this key under the same `info`.

        Raises:
            InvalidFrame: ``frame_unsealable`` if it was sealed to another key, under other info, or changed.
        """
        try:
            return SUITE.decrypt(sealed, self._private, info=info)
        except (InvalidTag, ValueError) as error:
            raise InvalidFrame(Code.FRAME_UNSEALABLE, "Not sealed to our box key, or changed on the way") from error

    def __repr__(self) -> str:
        return f"BoxKey(public={self.public[:16]}...)"


def load_box_public(public: str) -> MLKEM768X25519PublicKey:
    """Read a public box key from hex.

    Raises:
        PeerFault: ``bad_key`` for a wrong length, an ML-KEM key that fails the modulus check of FIPS 203 section 7.2,
            or an X25519 point that is not canonical or of small order (nobody could seal to it).
    """
    try:
        raw = bytes.fromhex(public)
        if len(raw) != PUBLIC_BYTES or raw.hex() != public:
            raise ValueError("wrong length or not lower-case hex")
        kem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        return MLKEM768X25519PublicKey(kem, _load_curve_public(raw[_MLKEM_PUBLIC_BYTES:]))
    except ValueError as error:
        raise PeerFault(Code.BAD_KEY, "Not a usable box key", key=public[:80]) from error


def _load_curve_public(raw: bytes) -> X25519PublicKey:
    if int.from_bytes(raw, "little") >= _CURVE_PRIME:
        raise ValueError("second encoding of an X25519 point")
    key = X25519PublicKey.from_public_bytes(raw)
    _PROBE.exchange(key)
    return key
