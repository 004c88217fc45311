"""Sender keys in memory: our own current one, and the few latest of every other member. No bus, no clock, no disk.

* An epoch only rises. What announces or brings a lower one than we know of is a replay: ``sender_key_stale``.
* The previous few keys of a member are kept, for frames that were under way when it changed its key.
* Nothing here is stored: after a restart others send their keys again, because our epoch is a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from minervas_core.errors import Code, InvalidFrame
from minervas_core.frames import SenderKey

KEPT_KEYS = 4
"""Keys kept per member: the current one and those that frames under way may still be sealed under."""

MAX_MEMBERS = 4_096
"""Members whose keys are kept; each got there with an admission signed by the authority."""


@dataclass(slots=True)
class _Announced:
    epoch: int
    key_id: str
    first_seen_ms: int


@dataclass(slots=True)
class _MemberKeys:
    announced: _Announced
    keys: OrderedDict[str, SenderKey] = field(default_factory=OrderedDict)


class MemberKeys:
    """The sender keys of other members."""

    def __init__(self, *, kept_keys: int = KEPT_KEYS, max_members: int = MAX_MEMBERS) -> None:
        self._kept_keys = kept_keys
        self._max_members = max_members
        self._members: OrderedDict[str, _MemberKeys] = OrderedDict()

    def announce(self, member: str, epoch: int, key_id: str, now_ms: int) -> None:
        """Take note of the epoch and key id of a checked Hello.

        Raises:
            InvalidFrame: ``sender_key_stale`` if a higher epoch, or another key of this epoch, is known.
        """
        known = self._members.get(member)
        if known is None:
            self._members[member] = _MemberKeys(_Announced(epoch, key_id, now_ms))
            if len(self._members) > self._max_members:
                self._members.popitem(last=False)
            return
        self._check_fresh(member, known.announced, epoch, key_id)
        if epoch > known.announced.epoch:
            known.announced = _Announced(epoch, key_id, now_ms)
        self._members.move_to_end(member)

    def add(self, key: SenderKey) -> None:
        """Keep a key whose Hello was announced before.

        Raises:
            InvalidFrame: ``sender_key_stale`` as for `announce`.
        """
        known = self._members[key.member]
        self._check_fresh(key.member, known.announced, key.epoch, key.key_id)
        known.keys[key.key_id] = key
        while len(known.keys) > self._kept_keys:
            known.keys.popitem(last=False)

    def find(self, member: str, key_id: str) -> SenderKey | None:
        """The key under which a frame of `member` is sealed, if we have it."""
        known = self._members.get(member)
        return known.keys.get(key_id) if known else None

    def announced_epoch(self, member: str) -> int | None:
        """Epoch of the newest Hello of a member."""
        known = self._members.get(member)
        return known.announced.epoch if known else None

    def missing(self, member: str) -> tuple[str, int] | None:
        """Id of the announced key that we do not have, and since when (monotonic ms) we know of it."""
        known = self._members.get(member)
        if known is None or known.announced.key_id in known.keys:
            return None
        return known.announced.key_id, known.announced.first_seen_ms

    def has_current(self, member: str) -> bool:
        """Whether we hold the key that the member announced last."""
        return member in self._members and self.missing(member) is None

    def forget(self, member: str) -> None:
        """Drop everything about a member that was revoked."""
        self._members.pop(member, None)

    def announcers(self) -> list[str]:
        """Members who have said Hello."""
        return list(self._members)

    @staticmethod
    def _check_fresh(member: str, announced: _Announced, epoch: int, key_id: str) -> None:
        if epoch < announced.epoch or (epoch == announced.epoch and key_id != announced.key_id):
            raise InvalidFrame(
                Code.SENDER_KEY_STALE,
                "A newer sender key of this member is known",
                member=member,
                epoch=epoch,
                newest_epoch=announced.epoch,
            )
