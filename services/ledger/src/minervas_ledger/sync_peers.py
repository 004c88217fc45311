"""Whom to sync from: members that claim more work than we have, and how they behaved.

A claim comes from presence and is only a hint. Whoever lies, stalls, or claims what it does not show is left alone
for a while that doubles with every failure in a row, and asked after all others.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.messages import ChainTip

MAX_PEERS = 1_000
"""Members remembered; beyond it the one heard of longest ago is forgotten."""

STALL_MS = 5_000
"""First time-out of a member that did not answer, or could not give what it had claimed."""
LIE_MS = 60_000
"""First time-out of a member that sent something false."""
MAX_DROP_MS = 600_000


@dataclass(slots=True)
class SyncPeer:
    """One member as a source of blocks."""

    member: str
    claimed_work: int = 0
    """Work of the tip that it claims."""
    sent_orphan: bool = False
    """Whether it announced a block whose parent we do not know."""
    failures: int = 0
    """In a row."""
    lied: bool = False
    """Whether the last failure was a lie."""
    dropped_until_ms: int = 0
    """Monotonic time before which it is not asked."""


class SyncPeers:
    """All known sources."""

    def __init__(self) -> None:
        self._peers: dict[str, SyncPeer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def by_state(self, work: int, now_ms: int) -> dict[str, int]:
        """How many members are ahead of us, level with us (or behind), and dropped for a while."""
        counts = {"ahead": 0, "level": 0, "dropped": 0}
        for peer in self._peers.values():
            state = "dropped" if peer.dropped_until_ms > now_ms else "ahead" if peer.claimed_work > work else "level"
            counts[state] += 1
        return counts

    def claims(self, member: str, tip: ChainTip) -> None:
        """Member claims this tip. A new claim of one that had stalled is a sign of life: it may be asked again."""
        peer, work = self._known(member), int(tip.work, 16)
        if work != peer.claimed_work and not peer.lied:
            peer.dropped_until_ms = 0
        peer.claimed_work = work

    def sent_orphan(self, member: str) -> None:
        """Member announced a block whose parent we do not know."""
        self._known(member).sent_orphan = True

    def best(self, work: int, now_ms: int) -> SyncPeer | None:
        """Whom to ask now, having `work`: the fewest failures first, then the highest claim."""
        free = [peer for peer in self._wanted(work) if peer.dropped_until_ms <= now_ms]
        return min(free, key=lambda peer: (peer.failures, -peer.claimed_work), default=None)

    def next_free_ms(self, work: int) -> int | None:
        """When the first of those that may have more is to be asked again; None if there is nobody."""
        return min((peer.dropped_until_ms for peer in self._wanted(work)), default=None)

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

    def _wanted(self, work: int) -> list[SyncPeer]:
        return [peer for peer in self._peers.values() if peer.sent_orphan or peer.claimed_work > work]

    def _known(self, member: str) -> SyncPeer:
        peer = self._peers.pop(member, None) or SyncPeer(member)
        self._peers[member] = peer  # now the last: the first is the one heard of longest ago
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]
        return peer
