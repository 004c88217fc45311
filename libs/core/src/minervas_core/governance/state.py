"""What the chain state knows of governance: parameters, the authority's key, recoveries that wait, used keys."""

from __future__ import annotations

from collections.abc import Mapping

from minervas_core.encoding import Count, FieldName, Hash, PublicKey, Record, TimeMs, sha256_hex
from minervas_core.genesis import Genesis, Parameters
from minervas_core.governance.records import ParameterValue
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
    """Whose it is; ``consortium`` for keys of the authority."""


class ActiveParameters(Record, frozen=True, kw_only=True):
    """The parameters in force, once a change applied."""

    values: Parameters
    rule_version: Count
    since_height: Count
    """First block that was judged by them."""


class ScheduledChange(Record, frozen=True, kw_only=True):
    """A change of parameters that waits for its height."""

    changes: dict[FieldName, ParameterValue]
    rule_version: Count
    """0 if it stays as it is."""
    transaction: Hash
    """Id of the transaction that set it."""


class AuthorityRecord(Record, frozen=True, kw_only=True):
    """The authority's key, once it was replaced."""

    key: PublicKey
    since_height: Count
    """Height of the block from which on only this key signs for the authority."""
    transaction: Hash
    """Id of the transaction that replaced the one before."""


FIRST_RULE_VERSION = 1
"""Version of the rules from genesis on."""

CURRENT = "current"
"""Key of the only row of a table that has one."""

ROW_TYPES: Mapping[str, type[Record]] = {
    "authority": AuthorityRecord,
    "parameters": ActiveParameters,
    "parameter_changes": ScheduledChange,
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

    @property
    def active(self) -> ActiveParameters | None:
        """The parameters in force, if they are not those of genesis."""
        row = self._tables["parameters"].get(CURRENT)
        return row if isinstance(row, ActiveParameters) else None

    def put_active(self, row: ActiveParameters) -> None:
        """Put parameters in force."""
        self._tables["parameters"].put(CURRENT, row)

    @property
    def rule_version(self) -> int:
        """Version of the rules by which the next block is judged."""
        active = self.active
        return active.rule_version if active is not None else FIRST_RULE_VERSION

    @property
    def parameter_changes(self) -> Table[str, ScheduledChange]:
        """Changes that wait, by `height_key` of the height from which on they apply."""
        return self._tables["parameter_changes"]  # type: ignore[return-value]  # as above

    def scheduled(self) -> dict[int, ScheduledChange]:
        """Changes that wait, by the height from which on they apply."""
        return {int(key): row for key, row in self.parameter_changes.items()}

    def schedule(self, height: int, row: ScheduledChange) -> None:
        """Let a change wait for a height."""
        self.parameter_changes.put(height_key(height), row)

    def unschedule(self, height: int) -> None:
        """Remove the change that waits for a height."""
        self.parameter_changes.drop(height_key(height))

    def authority_key(self, genesis: Genesis) -> str:
        """The public key (hex) that signs for the authority."""
        row = self._tables["authority"].get(CURRENT)
        return row.key if isinstance(row, AuthorityRecord) else genesis.body.authority

    def put_authority(self, row: AuthorityRecord) -> None:
        """Replace the authority's key."""
        self._tables["authority"].put(CURRENT, row)

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


def height_key(height: int) -> str:
    """Key of a row of a height; sorts by height."""
    return f"{height:016d}"
