"""The roster: who is and who was a member, under which keys (design section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from minervas_core.encoding import Count, Hash, Record, encode, sha256_hex
from minervas_core.identifiers import MemberId
from minervas_core.tables import Table
from minervas_core.transactions import ServiceKeys


class MemberRecord(Record, frozen=True, kw_only=True):
    """One member as the chain knows it. Records are never removed: an id is never used again."""

    member: MemberId
    keys: ServiceKeys
    status: Literal["active", "revoked", "left"]
    admitted_height: Count
    ended_height: Count = 0
    """Block that revoked it or with which it left; 0 while active."""
    suspended_height: Count = 0
    """Block that took its vote away; 0 while it has it."""
    admitted_by: Hash
    """Id of the transaction that admitted the member."""


def key_texts(keys: ServiceKeys) -> tuple[str, str, str, str]:
    """The public keys of a member, in hex."""
    return keys.wallet, keys.box, keys.block, keys.vote


class Roster:
    """Members by id, and the owner of every key in their records."""

    __slots__ = ("_below", "_members", "_owners", "active_count", "known_hash")

    def __init__(self, records: Iterable[MemberRecord] = (), *, below: Roster | None = None) -> None:
        self._below = below
        self._members: Table[str, MemberRecord] = below.member_layer() if below else Table()
        self._owners: Table[str, str] = below.owner_layer() if below else Table()
        self.active_count: int = below.active_count if below else 0
        """How many members are active. Each of them has a block key, so this is also the number of miners."""
        self.known_hash: Hash = below.known_hash if below else ""
        """Result of `hash`, until the roster changes."""
        for record in records:
            self.put(record)

    def member_layer(self) -> Table[str, MemberRecord]:
        """A layer over the records."""
        return self._members.over()

    def owner_layer(self) -> Table[str, str]:
        """A layer over the key owners."""
        return self._owners.over()

    def get(self, member: str) -> MemberRecord | None:
        """The record of a member, active or not."""
        return self._members.get(member)

    def active(self, member: str) -> MemberRecord | None:
        """The record of a member, if it is active."""
        record = self._members.get(member)
        return record if record is not None and record.status == "active" else None

    def owner_of_key(self, key: str) -> str | None:
        """The member in whose record a public key (hex) stands; keys that were replaced stand in `Governance`."""
        return self._owners.get(key)

    def active_by_wallet(self, wallet: str) -> MemberRecord | None:
        """The active member whose wallet key this is."""
        record = self.active(self._owners.get(wallet) or "")
        return record if record is not None and record.keys.wallet == wallet else None

    def members(self) -> list[MemberRecord]:
        """All records, by member id."""
        return [record for _, record in sorted(self._members.items())]

    def active_members(self) -> list[MemberRecord]:
        """Records of the active members, by member id."""
        return [record for record in self.members() if record.status == "active"]

    def key_owners(self) -> dict[str, str]:
        """Member by every key that stands in a record."""
        return dict(self._owners.items())

    def put(self, record: MemberRecord) -> None:
        """Add or replace a record; its keys take the place of those that it had."""
        before = self._members.get(record.member)
        self._count(before, -1)
        self._count(record, 1)
        self._members.put(record.member, record)
        if before is None or before.keys != record.keys:
            for key in key_texts(before.keys) if before else ():
                self._owners.drop(key)
            for key in key_texts(record.keys):
                self._owners.put(key, record.member)
        self.known_hash = ""

    def forget(self, member: str) -> None:
        """Take back an admission: the record and its keys were never there."""
        record = self._members.get(member)
        if record is None:
            raise KeyError(member)
        self._count(record, -1)
        self._members.drop(member)
        for key in key_texts(record.keys):
            self._owners.drop(key)
        self.known_hash = ""

    def changes(self) -> list[tuple[str, MemberRecord | None]]:
        """Members that this layer changed, by id, each with its record below (None: it did not exist)."""
        return [(member, self._members.before(member)) for member in sorted(self._members.changes())]

    def merge_down(self) -> None:
        """Carry this layer's changes into the roster below."""
        if self._below is None:
            raise ValueError("this roster lies over nothing")
        self._members.merge_down()
        self._owners.merge_down()
        self._below.active_count = self.active_count
        self._below.known_hash = self.known_hash

    def hash(self) -> Hash:
        """SHA-256 over the canonical list of all records by member id; kept until the roster changes."""
        if not self.known_hash:
            self.known_hash = sha256_hex(encode(self.members()))
        return self.known_hash

    def _count(self, record: MemberRecord | None, step: int) -> None:
        if record is not None and record.status == "active":
            self.active_count += step


def roster_hash(roster: Roster) -> Hash:
    """Hash by which two nodes see that they know the same members."""
    return roster.hash()
