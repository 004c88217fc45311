"""The keys of the CA and of the authority: encrypted on disk under the passphrase of a secret file."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from minervas_core.errors import Code, LocalFault
from minervas_core.keys import SEED_BYTES, SigningKey
from minervas_runtime.key_files import read_secret, write_atomic

MIN_PASSPHRASE_CHARACTERS = 16
"""The file is meant to hold a random secret, e.g. ``openssl rand -base64 24``."""


def load_passphrase(path: Path) -> bytes:
    """Read the passphrase.

    Raises:
        LocalFault: ``bad_key_file`` if the file is missing, open to others, or the passphrase too short.
    """
    passphrase = read_secret(path).strip()
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            f"The passphrase has less than {MIN_PASSPHRASE_CHARACTERS} characters; make a random one",
            file=str(path),
        )
    return passphrase


def create_ca_key(path: Path, passphrase: bytes) -> None:
    """Make a new P-256 key for the CA."""
    _write(path, ec.generate_private_key(ec.SECP256R1()), passphrase)


def load_ca_key(path: Path, passphrase: bytes) -> ec.EllipticCurvePrivateKey:
    """Read the CA's key.

    Raises:
        LocalFault: ``bad_key_file`` if it is missing, damaged, of another kind, or under another passphrase.
    """
    key = _read(path, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise LocalFault(Code.BAD_KEY_FILE, "This is not the CA's key", file=str(path))
    return key


def create_authority_key(path: Path, passphrase: bytes) -> None:
    """Make a new Ed25519 key for the authority."""
    _write(path, Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(SEED_BYTES)), passphrase)


def load_authority_key(path: Path, passphrase: bytes) -> SigningKey:
    """Read the authority's key.

    Raises:
        LocalFault: ``bad_key_file`` if it is missing, damaged, of another kind, or under another passphrase.
    """
    key = _read(path, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise LocalFault(Code.BAD_KEY_FILE, "This is not the authority's key", file=str(path))
    return SigningKey(key.private_bytes_raw())


def _write(path: Path, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, passphrase: bytes) -> None:
    encryption = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_atomic(path, pem)


def _read(path: Path, passphrase: bytes) -> PrivateKeyTypes:
    data = read_secret(path)
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except (ValueError, TypeError) as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The key does not open under the passphrase of ca_passphrase_file",
            file=str(path),
            reason=str(error).partition("\n")[0],
        ) from error
