"""Passwords of PostgreSQL roles that never leave their service.

Each service makes the passwords of its roles itself, in files that only it can read, and hands in what PostgreSQL keeps
of them: SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), from which no password follows. Whoever makes the roles
(infra/postgres) gets those.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from minervas_runtime.key_files import PUBLIC_MODE, read_secret, write_atomic

PASSWORD_BYTES = 24
SALT_BYTES = 16
ITERATIONS = 4_096
"""PostgreSQL's own default; a password of 192 random bits needs no more."""

SUFFIX = ".scram"


def hand_in_logins(logins: Iterable[tuple[str, Path]], directory: Path) -> list[str]:
    """Make passwords and verifiers, as far as missing.

    Args:
        logins: role names with the files of their passwords.
        directory: where ``<role>.scram`` goes.

    Returns:
        Roles whose verifier was written.

    Raises:
        LocalFault: ``bad_key_file`` if a file cannot be read or written.
    """
    written = []
    for role, password_file in logins:
        if not password_file.exists():
            write_atomic(password_file, secrets.token_urlsafe(PASSWORD_BYTES).encode() + b"\n")
        password = read_secret(password_file).strip()
        target = directory / f"{role}{SUFFIX}"
        if not fits(_read(target), password):
            write_atomic(target, verifier(password, secrets.token_bytes(SALT_BYTES)).encode() + b"\n", mode=PUBLIC_MODE)
            written.append(role)
    return written


def verifier(password: bytes, salt: bytes) -> str:
    """What PostgreSQL keeps of an ASCII password."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def fits(text: str, password: bytes) -> bool:
    """Whether a verifier is one of this password."""
    try:
        _, parameters, _ = text.split("$")
        iterations, salt = parameters.split(":")
        if int(iterations) != ITERATIONS:
            return False
        again = verifier(password, base64.b64decode(salt, validate=True))
    except ValueError:
        return False
    return hmac.compare_digest(text, again)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
