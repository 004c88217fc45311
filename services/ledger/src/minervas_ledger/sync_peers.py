"""Whom to sync from: members that claim a better chain than ours, and how they behaved.

A claim comes from presence and is only a hint. Whoever lies, stalls, or claims what it does not show is left alone
for a while that doubles with every failure in a row, and asked after all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from minervas_core.messages import ChainTip

MAX_PEERS = 1_000
"""Members remembered; beyond it the one heard of longest ago is forgotten."""

STALL_MS = 5_000
"""First time-out of a member that did not answer, or could not give what it had claimed."""
LIE_MS = 60_000
"""First time-out of a member that sent something false."""
MAX_DROP_MS = 600_000


class Standing(NamedTuple):
    """What decides between two chains, as far as it can be claimed."""

    justified_height: int
    work: int


def standing_of(tip: ChainTip) -> Standing:
    """What a claimed tip amounts to."""
    return Standing(tip.justified_height, int(tip.work, 16))


@dataclass(slots=True)
class SyncPeer:
    """One member as a source of blocks."""

    member: str
    claim: ChainTip | None = None
    """The tip that it claims."""
    shown: str = ""
    """Hash of the last tip that it claimed and also gave us; there is nothing more to ask for."""
    sent_orphan: bool = False
    """Whether it announced a block whose parent we do not know."""
    failures: int = 0
    """In a row."""
    lied: bool = False
    """Whether the last failure was a lie."""
    dropped_until_ms: int = 0
    """Monotonic time before which it is not asked."""

    @property
    def claimed(self) -> Standing:
        """How good a chain it claims."""
        return standing_of(self.claim) if self.claim is not None else Standing(0, 0)


class SyncPeers:
    """All known sources."""

    def __init__(self) -> None:
        self._peers: dict[str, SyncPeer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def by_state(self, own: Standing, now_ms: int) -> dict[str, int]:
        """How many members are ahead of us, level with us (or behind), and dropped for a while."""
        counts = {"ahead": 0, "level": 0, "dropped": 0}
        for peer in self._peers.values():
            state = "dropped" if peer.dropped_until_ms > now_ms else "ahead" if peer.claimed > own else "level"
            counts[state] += 1
        return counts

    def claims(self, member: str, tip: ChainTip) -> None:
        """Member claims this tip. A new claim of one that had stalled is a sign of life: it may be asked again."""
        peer = self._known(member)
        if tip != peer.claim and not peer.lied:
            peer.dropped_until_ms = 0
        peer.claim = tip

    def sent_orphan(self, member: str) -> None:
        """Member announced a block whose parent we do not know."""
        self._known(member).sent_orphan = True

    def best(self, own: Standing, now_ms: int) -> SyncPeer | None:
        """Whom to ask now, having a chain as good as `own`: the fewest failures first, then the highest claim."""
        free = [peer for peer in self._wanted(own) if peer.dropped_until_ms <= now_ms]
        return min(free, key=_preference, default=None)

    def next_free_ms(self, own: Standing) -> int | None:
        """When the first of those that may have more is to be asked again; None if there is nobody."""
        return min((peer.dropped_until_ms for peer in self._wanted(own)), default=None)

    def succeeded(self, peer: SyncPeer) -> None:
        """We have all that this member has."""
        peer.failures = 0
        peer.lied = peer.sent_orphan = False

    def drop(self, peer: SyncPeer, now_ms: int, *, lied: bool) -> int:
        """Leave a member alone for a while; returns for how many milliseconds."""
        pause_ms: int = min((LIE_MS if lied else STALL_MS) << min(peer.failures, 10), MAX_DROP_MS)
        peer.failures += 1
        peer.lied = lied
        peer.sent_orphan = False
        peer.dropped_until_ms = now_ms + pause_ms
        return pause_ms

    def _wanted(self, own: Standing) -> list[SyncPeer]:
        return [peer for peer in self._peers.values() if peer.sent_orphan or _has_more(peer, own)]

    def _known(self, member: str) -> SyncPeer:
        peer = self._peers.pop(member, None) or SyncPeer(member)
        self._peers[member] = peer  # now the last: the first is the one heard of longest ago
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]
        return peer


def _preference(peer: SyncPeer) -> tuple[int, int, int]:
    return peer.failures, -peer.claimed.justified_height, -peer.claimed.work


def _has_more(peer: SyncPeer, own: Standing) -> bool:
    """Whether a member claims a chain that might lead ours: by a higher justified checkpoint, or by more work.

    With a lower one, more work may still lead: its chain can have our checkpoint without the votes that prove it.
    """
    if peer.claim is None or peer.claim.hash == peer.shown:
        return False
    return peer.claimed.justified_height > own.justified_height or peer.claimed.work > own.work
