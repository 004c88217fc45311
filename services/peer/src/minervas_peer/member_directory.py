"""Who is who: the roster on our own tip, and newcomers that proved their admission in a Hello.

What the chain says of a member always wins over what the member showed of itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum

from minervas_core.errors import Code, PeerFault
from minervas_core.node_messages import Roster, RosterEntry
from minervas_core.transactions import ServiceKeys

MAX_INTRODUCED = 1_024
"""Newcomers remembered; the authority has signed an admission of each, and a block soon carries it."""


class Standing(StrEnum):
    """What a member is to us."""

    ACTIVE = "active"
    """Admitted on our own tip."""
    REVOKED = "revoked"
    """Revoked on our own tip."""
    INTRODUCED = "introduced"
    """Not on our own tip, but it showed an admission that the authority signed."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RosterChange:
    """What a new roster means for keys."""

    lost: frozenset[str]
    """Members that were active and no longer are."""
    revoked: frozenset[str]
    """Everybody who is revoked now and was not before."""
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
            return Standing.ACTIVE if entry.status == "active" else Standing.REVOKED
        return Standing.INTRODUCED if member in self._introduced else Standing.UNKNOWN

    def keys(self, member: str) -> ServiceKeys:
        """The keys of a member that may speak to us.

        Raises:
            PeerFault: ``member_revoked``, or ``frame_unknown_sender`` if its admission is not known.
        """
        entry = self._roster.get(member)
        if entry is not None:
            if entry.status != "active":
                raise PeerFault(Code.MEMBER_REVOKED, "Revoked members are not listened to", member=member)
            return entry.keys
        if member in self._introduced:
            return self._introduced[member][0]
        raise PeerFault(Code.FRAME_UNKNOWN_SENDER, "The sender's admission is not known", member=member)

    def may_have_our_key(self, member: str) -> bool:
        """The key rule: a newcomer gives to whoever proved an admission, a settled node to members on its own tip."""
        match self.standing(self.me), self.standing(member):
            case _ if not self.is_known:
                return False
            case Standing.REVOKED, _:
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
        was_revoked = {name for name, entry in self._roster.items() if entry.status == "revoked"}
        self._roster = {entry.member: entry for entry in roster.members}
        self.height, self.roster_hash = roster.height, roster.roster_hash
        revoked = {entry.member for entry in roster.members if entry.status == "revoked"}
        return RosterChange(
            lost=was_active - self.active,
            revoked=frozenset(revoked - was_revoked),
            settled=self.settled and not was_settled,
        )
