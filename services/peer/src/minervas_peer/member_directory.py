"""Who is who: the roster on our own tip, and newcomers that proved their admission in a Hello.

What the chain says of a member always wins over what the member showed of itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from minervas_core.errors import Code, PeerFault
from minervas_core.node_messages import Roster, RosterEntry, WaitingRecovery
from minervas_core.transactions import ServiceKeys

MAX_INTRODUCED = 1_024
"""Newcomers remembered; the authority has signed an admission of each, and a block soon carries it."""


class Standing(StrEnum):
    """What a member is to us."""

    ACTIVE = "active"
    """Admitted on our own tip."""
    REVOKED = "revoked"
    """Revoked on our own tip."""
    LEFT = "left"
    """It has left, on our own tip."""
    INTRODUCED = "introduced"
    """Not on our own tip, but it showed an admission that the authority signed."""
    UNKNOWN = "unknown"


ENDED = frozenset({Standing.REVOKED, Standing.LEFT})
"""Whoever is not listened to any more."""


@dataclass(frozen=True, slots=True)
class RosterChange:
    """What a new roster means for keys."""

    lost: frozenset[str]
    """Members that were active and no longer are."""
    ended: frozenset[str]
    """Everybody who is revoked or has left now and had not before."""
    rekeyed: frozenset[str]
    """Members that have another wallet or box key than before, or whose recovery was vetoed or took effect: whoever
    had the other one may hold our key."""
    settled: bool
    """Whether our own admission has just appeared on our own tip."""


class MemberDirectory:
    """What is known of every member."""

    def __init__(self, me: str, *, max_introduced: int = MAX_INTRODUCED) -> None:
        self.me = me
        self.height = 0
        """Height of the tip whose roster this is."""
        self.roster_hash = ""
        """Empty until the ledger has told us a roster."""
        self._max_introduced = max_introduced
        self._roster: dict[str, RosterEntry] = {}
        self._introduced: OrderedDict[str, tuple[ServiceKeys, str]] = OrderedDict()
        self._ahead: dict[str, ServiceKeys] = {}
        """Keys of members that showed rotations which our own tip does not have yet."""

    @property
    def is_known(self) -> bool:
        """Whether our ledger has told us a roster since start. Until then nobody is trusted: it may be revoked."""
        return bool(self.roster_hash)

    @property
    def settled(self) -> bool:
        """Whether we are active on our own tip; until then we are a newcomer (ADR 0015)."""
        return self.standing(self.me) is Standing.ACTIVE

    @property
    def active(self) -> frozenset[str]:
        """Members that are active on our own tip."""
        return frozenset(name for name, entry in self._roster.items() if entry.status == "active")

    def standing(self, member: str) -> Standing:
        """What a member is to us."""
        entry = self._roster.get(member)
        if entry is not None:
            return Standing(entry.status)
        return Standing.INTRODUCED if member in self._introduced else Standing.UNKNOWN

    def keys(self, member: str) -> ServiceKeys:
        """The keys of a member that may speak to us.

        Raises:
            PeerFault: ``member_revoked`` or ``member_left``, or ``frame_unknown_sender`` if its admission is not known.
        """
        entry = self._roster.get(member)
        if entry is not None:
            self.check_not_ended(member)
            return self._ahead.get(member, entry.keys)
        if member in self._introduced:
            return self._introduced[member][0]
        raise PeerFault(Code.FRAME_UNKNOWN_SENDER, "The sender's admission is not known", member=member)

    def check_not_ended(self, member: str) -> None:
        """Check that a member's membership has not ended on our own tip.

        Raises:
            PeerFault: ``member_revoked`` or ``member_left``.
        """
        standing = self.standing(member)
        if standing in ENDED:
            code = Code.MEMBER_REVOKED if standing is Standing.REVOKED else Code.MEMBER_LEFT
            raise PeerFault(code, "Former members are not listened to", member=member)

    def registered(self, member: str) -> ServiceKeys | None:
        """The keys of an active member on our own tip."""
        entry = self._roster.get(member)
        return entry.keys if entry is not None and entry.status == "active" else None

    def wallet_on_tip(self, member: str) -> str:
        """The wallet of an active member on our own tip; empty if it is none."""
        entry = self._roster.get(member)
        return entry.keys.wallet if entry is not None and entry.status == "active" else ""

    def waiting(self, member: str) -> WaitingRecovery | None:
        """The recovery of an active member's wallet that waits on our own tip."""
        entry = self._roster.get(member)
        recovery = entry.recovery if entry is not None and entry.status == "active" else msgspec.UNSET
        return None if isinstance(recovery, msgspec.UnsetType) else recovery

    def speaking(self, member: str) -> list[ServiceKeys]:
        """Keys under which an active member may introduce itself, by our own tip; those of its last Hello first.

        While a recovery waits, the new wallet may speak for the member as well as the old one: the authority vouches
        for it, as it does for every member. It signs no transaction before the recovery takes effect.
        """
        registered, recovery = self._roster[member].keys, self.waiting(member)
        found = [self.keys(member), registered]
        if recovery is not None:
            found.append(msgspec.structs.replace(registered, wallet=recovery.wallet))
        return found

    def advance(self, member: str, keys: ServiceKeys) -> None:
        """Take over keys of an active member under which it introduced itself, and which our tip allows.

        They are the tip's, or with the wallet of a recovery that waits, or those of rotations that it proved and that
        our own tip does not have yet.
        """
        self._ahead[member] = keys

    def may_have_our_key(self, member: str) -> bool:
        """The key rule: a newcomer gives to whoever proved an admission, a settled node to members on its own tip."""
        match self.standing(self.me), self.standing(member):
            case _ if not self.is_known:
                return False
            case ((Standing.REVOKED | Standing.LEFT), _):
                return False
            case _, Standing.ACTIVE:
                return True
            case own, Standing.INTRODUCED:
                return own is not Standing.ACTIVE
            case _:
                return False

    def shown(self, member: str) -> str:
        """Digest of the membership transactions with which a member introduced itself; empty if it did not."""
        return self._introduced[member][1] if member in self._introduced else ""

    def introduce(self, member: str, keys: ServiceKeys, digest: str) -> None:
        """Remember a newcomer whose admission was checked; `digest` identifies what it showed."""
        self._introduced[member] = (keys, digest)
        self._introduced.move_to_end(member)
        if len(self._introduced) > self._max_introduced:
            self._introduced.popitem(last=False)

    def apply(self, roster: Roster) -> RosterChange:
        """Take over the roster of our own tip."""
        was_active, was_settled = self.active, self.settled
        before = self._roster
        self._roster = {entry.member: entry for entry in roster.members}
        self.height, self.roster_hash = roster.height, roster.roster_hash
        ended = {name for name, entry in self._roster.items() if entry.status != "active"}
        stayed = was_active & self.active
        rotated = {name for name in stayed if before[name].keys != self._roster[name].keys}
        waited = {name: wallet for name in stayed if (wallet := _waiting_wallet(before[name]))}
        decided = {name for name, wallet in waited.items() if _waiting_wallet(self._roster[name]) != wallet}
        for name in rotated | decided | ended:
            self._ahead.pop(name, None)
        rekeyed = {name for name in rotated if _bus_keys(before[name].keys) != _bus_keys(self._roster[name].keys)}
        return RosterChange(
            lost=was_active - self.active,
            ended=frozenset(name for name in ended if name not in before or before[name].status == "active"),
            rekeyed=frozenset(rekeyed | decided),
            settled=self.settled and not was_settled,
        )


def _waiting_wallet(entry: RosterEntry) -> str:
    """The wallet of a recovery that waits; empty if none does."""
    return "" if isinstance(entry.recovery, msgspec.UnsetType) else entry.recovery.wallet


def _bus_keys(keys: ServiceKeys) -> tuple[str, str]:
    """Those keys that matter between peers."""
    return keys.wallet, keys.box
