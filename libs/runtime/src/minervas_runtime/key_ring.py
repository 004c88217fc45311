"""All keys that a service ever made for one purpose, and the making of new ones when the operator wishes for them.

Keys are never deleted or renamed: ``wallet.key`` is the first, ``wallet-<wish>.key`` one that was made for a wish.
Which of them counts, the chain says, block by block, also after a reorganisation (docs/adr/0036).

Files in the enrol directory, all public::

    rotation-wish.json              written by `minervas keys rotate`
    rotation-<service>.<name>.json  a new key's claim, written by its service
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import MinervasError
from minervas_core.keys import SigningKey
from minervas_core.rekeying import (
    MAX_ROTATION_BYTES,
    KeyName,
    KeyWish,
    NewKey,
    NewKeyClaim,
    check_key_claim,
    claim_key,
)
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_seed, read_seed, write_atomic

log = logging.getLogger(__name__)

PREFIX = "rotation-"
WISH = "wish"
LOOK_S = 1.0
"""How often services look for a wish."""


class PublicHalf(Protocol):
    """A key pair with its public key in hex."""

    @property
    def public(self) -> str:
        """The public key in hex."""
        ...


Key = TypeVar("Key", bound=PublicHalf)
Content = TypeVar("Content", bound=Record)


class KeyRing(Generic[Key]):
    """The keys of one purpose in a service's private directory.

    Args:
        directory: of the service.
        name: what its files are called.
        make: the key of a seed.
        seed_bytes: how long a seed is.

    Raises:
        LocalFault: ``bad_key_file`` if one of the files is unusable.
    """

    def __init__(self, directory: Path, name: str, make: Callable[[bytes], Key], seed_bytes: int = 32) -> None:
        self._directory = directory
        self._name = name
        self._make = make
        self._seed_bytes = seed_bytes
        self.first = make(load_or_create_seed(directory / f"{name}.key", seed_bytes))
        """The key that was made at the first start."""
        self._keys: dict[str, Key] = {self.first.public: self.first}
        for file in sorted(directory.glob(f"{name}-*.key")):
            key = make(read_seed(file, seed_bytes))
            self._keys[key.public] = key

    def find(self, public: str) -> Key | None:
        """The key with this public half (hex), if it is ours."""
        return self._keys.get(public)

    def all(self) -> tuple[Key, ...]:
        """All keys, the first one first."""
        return tuple(self._keys.values())

    def made_for(self, wish: str) -> Key:
        """The key of a wish, made now if it was not before. It is on disk, private to its owner, when this returns.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        key = self._make(load_or_create_seed(self._directory / f"{self._name}-{wish}.key", self._seed_bytes))
        self._keys.setdefault(key.public, key)
        return self._keys[key.public]


@dataclass(frozen=True, slots=True)
class Rotatable:
    """A key of a service that can be replaced."""

    name: KeyName
    registered: Callable[[], Awaitable[str]]
    """The public key that is registered now; empty while that is not known."""
    make: Callable[[str], PublicHalf]
    """The new key of a wish."""


class RotationFiles:
    """The files through which a node's services agree on new keys."""

    def __init__(self, enrol: Path) -> None:
        self._enrol = enrol

    def wish(self) -> KeyWish | None:
        """What is wished for; None if nothing is, or it cannot be read."""
        return self._read(WISH, KeyWish)

    def claim(self, key: str, wish: str) -> NewKeyClaim | None:
        """What a service handed in for ``<service>.<name>`` on a wish."""
        found = self._read(key, NewKeyClaim)
        if found is None or found.new.wish != wish or f"{found.new.service}.{found.new.name}" != key:
            return None
        try:
            check_key_claim(found)
        except MinervasError as error:
            log.warning("new_key_refused", extra={"fields": {"key": key, "reason": str(error)}})
            return None
        return found

    def write(self, name: str, record: Record) -> None:
        """Write one of the files.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        write_atomic(self._file(name), encode(record), mode=PUBLIC_MODE)

    def forget(self) -> None:
        """Remove the wish and what was made of it; the keys stay with their services."""
        for file in self._enrol.glob(f"{PREFIX}*.json"):
            file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._enrol / f"{PREFIX}{name}.json"

    def _read(self, name: str, kind: type[Content]) -> Content | None:
        try:
            return decode(self._file(name).read_bytes(), kind, max_bytes=MAX_ROTATION_BYTES)
        except (OSError, MinervasError, msgspec.MsgspecError):
            return None


class WishWatch:
    """Lets one service make the keys that are wished for.

    Args:
        enrol: the enrol directory.
        member: whose service it is.
        service: which.
        keys: those that it has.
    """

    def __init__(self, enrol: Path, member: str, service: str, keys: Mapping[str, Rotatable]) -> None:
        self.files = RotationFiles(enrol)
        self._member = member
        self._service = service
        self._keys = keys

    async def run(self) -> None:
        """Look for wishes until cancelled."""
        while True:
            try:
                await self.look()
            except MinervasError as error:
                log.warning("new_key_not_made", extra={"fields": {"code": error.code, "reason": str(error)}})
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Make and hand in what is wished for and was not handed in yet.

        Raises:
            LocalFault: ``bad_key_file``.
            TransientFault: if it cannot be told now which key is registered.
        """
        wish = self.files.wish()
        if wish is None:
            return
        for name, rotatable in self._keys.items():
            key = f"{self._service}.{name}"
            if key in wish.keys and self.files.claim(key, wish.wish) is None:
                replaces = await rotatable.registered()
                if replaces:
                    self._hand_in(key, rotatable, wish.wish, replaces)

    def _hand_in(self, key: str, rotatable: Rotatable, wish: str, replaces: str) -> None:
        made = rotatable.make(wish)
        new = NewKey(
            wish=wish,
            member=self._member,
            service=self._service,
            name=rotatable.name,
            key=made.public,
            replaces=replaces,
        )
        self.files.write(key, claim_key(new, made if isinstance(made, SigningKey) else None))
        log.info("new_key_handed_in", extra={"fields": {"key": key, "public": made.public[:16]}})
