"""One identity for every kind of public key, so that a key that serves twice is seen whatever it serves for."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minervas_core.encoding import sha256_hex


def tls_key_id(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 over the key's SubjectPublicKeyInfo, in hex."""
    return sha256_hex(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def signing_key_id(public: str) -> str:
    """The same for an Ed25519 key in hex: a signing key that is also used for TLS has one id."""
    return tls_key_id(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))


def box_key_id(public: str) -> str:
    """SHA-256 over the raw public box key."""
    return sha256_hex(bytes.fromhex(public))
