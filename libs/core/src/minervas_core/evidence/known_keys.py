"""Whose keys are whose, from the membership transactions of a chain: all that is needed to judge signatures.

Each is signed by the authority, so none can be made up. That none was left out, only the whole chain shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minervas_core.errors import Code, InvalidProof
from minervas_core.genesis import Genesis
from minervas_core.governance.records import ChangeAuthority
from minervas_core.market.records import MeterDeclaration
from minervas_core.transactions import (
    Admit,
    Leave,
    Membership,
    Recover,
    RegisterMeter,
    Resume,
    Revoke,
    Rotate,
    ServiceKeys,
    Suspend,
    Transaction,
    check_signature,
)


@dataclass(slots=True)
class KnownMeter:
    """A registered meter, and every gateway key that it ever had."""

    declaration: MeterDeclaration
    gateways: set[str] = field(default_factory=set)


class KnownKeys:
    """Members, their keys of all times, and who has a vote after the last transaction.

    Args:
        genesis: names the first authority key.
        transactions: all that changed who the members are, in the order of the chain.

    Raises:
        InvalidProof: ``proof_incomplete`` for a history that only the whole chain can show.
        InvalidTransaction: ``bad_signature``, ``wrong_network`` or ``tx_wrong_sender``.
    """

    def __init__(self, genesis: Genesis, transactions: Iterable[Transaction]) -> None:
        self._genesis = genesis
        self._authority = genesis.body.authority
        self._owners: dict[tuple[str, str], str] = {}
        """Member by role of the key and key."""
        self._voters: dict[str, str] = {}
        self._suspended: set[str] = set()
        self.meters: dict[tuple[str, str], KnownMeter] = {}
        """By member and meter."""
        for transaction in transactions:
            self._add(transaction)

    def is_key_of(self, role: str, key: str, member: str) -> bool:
        """Whether a key (``wallet``, ``block`` or ``vote``) is or was a member's."""
        return self._owners.get((role, key)) == member

    def block_keys_of(self, member: str) -> list[str]:
        """All block keys that a member ever had."""
        return [key for (role, key), owner in self._owners.items() if (role, owner) == ("block", member)]

    @property
    def voters(self) -> dict[str, str]:
        """Vote key by member, of all that have a vote."""
        return {member: key for member, key in self._voters.items() if member not in self._suspended}

    def _add(self, transaction: Transaction) -> None:
        body = transaction.body
        check_signature(transaction, self._genesis.network)
        if isinstance(body, ChangeAuthority):
            if body.is_recovery or body.previous != self._authority:
                raise InvalidProof(
                    Code.PROOF_INCOMPLETE,
                    "Members replaced the authority: only the whole chain shows that",
                )
            self._authority = body.authority
        elif isinstance(body, Membership):
            if body.sender != self._authority:
                raise InvalidProof(Code.TX_WRONG_SENDER, "Not signed by the authority", tx=transaction.id)
            self._change(body)

    def _change(self, body: Membership) -> None:
        change = body.change
        match change:
            case Admit():
                self._own(change.member, {name: getattr(change.keys, name) for name in ServiceKeys.__struct_fields__})
            case Rotate():
                self._own(change.member, change.keys.given())
                for each in change.meters:
                    self._meter(change.member, each.meter).gateways.add(each.gateway)
            case Recover():
                self._own(change.member, {"wallet": change.wallet})
            case RegisterMeter():
                known = KnownMeter(change.meter, {change.gateway})
                self.meters[change.member, change.meter.meter] = known
            case Suspend():
                self._suspended.add(change.member)
            case Resume():
                self._suspended.discard(change.member)
            case Revoke() | Leave():
                self._voters.pop(change.member, None)

    def _own(self, member: str, keys: dict[str, str]) -> None:
        self._owners.update(dict.fromkeys(keys.items(), member))
        if "vote" in keys:
            self._voters[member] = keys["vote"]

    def _meter(self, member: str, meter: str) -> KnownMeter:
        found = self.meters.get((member, meter))
        if found is None:
            raise InvalidProof(Code.PROOF_INCOMPLETE, "A meter's registration is missing", member=member, meter=meter)
        return found
