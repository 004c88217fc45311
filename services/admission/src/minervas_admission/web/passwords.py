"""Passwords of operators: Argon2id with the parameters of RFC 9106, a few at a time, beside the event loop."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from minervas_core.errors import Code, TransientFault

T = TypeVar("T")

MIN_LENGTH = 12
MAX_LENGTH = 200
"""Characters. There are no rules of composition: length is what helps (NIST SP 800-63B section 5.1.1.2)."""

AT_ONCE = 2
"""Hashes computed at the same time: each takes 64 MiB and four cores for a moment."""

MAX_WAITING = 20
"""Hashes that may wait for their turn; more are refused, so that strangers can not pile work up."""

_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$9ZaFUHDMMPetpX+j+epD+Q$TVYWaypcmWOmGMv0iLOHShtLbe4IlouwLWB5zSxPlTc"
"""Hash of a forgotten random text, compared with where there is no account, so that this takes as long."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that nobody confuses when they are read out."""


def generate_password() -> str:
    """A password for the first login: four groups of five, 99 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def length_is_good(password: str) -> bool:
    """Whether a password has an acceptable length, counted as it is hashed."""
    return MIN_LENGTH <= len(_normal(password)) <= MAX_LENGTH


def _normal(password: str) -> str:
    """One spelling for what looks the same: keyboards send composed or decomposed Hangul (RFC 8265 section 4)."""
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Computes and compares hashes."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The encoded hash of a password.

        Raises:
            TransientFault: ``rate_limited`` if too many wait.
        """
        return await self._in_turn(lambda: self._hasher.hash(_normal(password)))

    async def matches(self, password: str, encoded: str | None) -> bool:
        """Whether a password is the one of this hash; without a hash False, after the same work.

        Raises:
            TransientFault: ``rate_limited`` if too many wait.
        """
        compared = encoded or _NOBODYS
        given = _normal(password)[: MAX_LENGTH + 1]
        right = await self._in_turn(lambda: self._verify(given, compared))
        return right and encoded is not None

    def is_outdated(self, encoded: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def _verify(self, password: str, encoded: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise TransientFault(Code.RATE_LIMITED, "Too many passwords are being checked; try again in a minute")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
