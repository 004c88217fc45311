"""What the chain state knows of governance: recoveries that wait, and keys that were used up."""

from __future__ import annotations

from collections.abc import Mapping

from minervas_core.encoding import Count, Hash, PublicKey, Record, TimeMs, sha256_hex
from minervas_core.identifiers import MemberId
from minervas_core.record_tables import RecordTables
from minervas_core.tables import Table


class PendingRecovery(Record, frozen=True, kw_only=True):
    """A new wallet for a member who lost the old one: it waits, so that the holder of the old one can object."""

    wallet: PublicKey
    """The wallet to be."""
    transaction: Hash
    """Id of the transaction that asked for it; a veto names it."""
    height: Count
    """Height of the block that carries it."""
    since_ms: TimeMs
    """Time of that block: from it on the wait is counted."""


class UsedKey(Record, frozen=True, kw_only=True):
    """A public key that nobody can register again, for it was replaced or stood in a recovery."""

    member: MemberId


ROW_TYPES: Mapping[str, type[Record]] = {
    "recoveries": PendingRecovery,
    "used_keys": UsedKey,
}
"""Type of each table's records."""


class Governance(RecordTables):
    """Tables of governance, which can lie over another's as a layer."""

    __slots__ = ()

    ROW_TYPES = ROW_TYPES

    @property
    def recoveries(self) -> Table[str, PendingRecovery]:
        """Recoveries that wait, by member: one at a time."""
        return self._tables["recoveries"]  # type: ignore[return-value]  # ROW_TYPES ties the name to the type

    @property
    def used_keys(self) -> Table[str, UsedKey]:
        """Keys that were replaced or stood in a recovery, by `used_key_of`."""
        return self._tables["used_keys"]  # type: ignore[return-value]  # as above

    def end_recovery(self, member: str) -> None:
        """Forget a member's pending recovery, if there is one; its wallet stays used."""
        if member in self.recoveries:
            self.recoveries.drop(member)

    def use_up(self, key: str, member: str) -> None:
        """Remember for ever that a public key (hex) is a member's, whether or not it is in use."""
        self.used_keys.put(used_key_of(key), UsedKey(member=member))

    def owner_of_used(self, key: str) -> str | None:
        """The member whose used key (hex) this is."""
        used = self.used_keys.get(used_key_of(key))
        return used.member if used is not None else None


def used_key_of(key: str) -> str:
    """Key of a used key's row: the SHA-256 of the key, for box keys are long."""
    return sha256_hex(bytes.fromhex(key))
