"""The presence of other members' peers: hints, never proofs. A tip that is not ours is told to our ledger."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from minervas_core.encoding import decode
from minervas_core.errors import MinervasError
from minervas_core.identifiers import Principal
from minervas_core.messages import MAX_PRESENCE_BYTES, ChainTip, Presence
from minervas_core.node_messages import PeerTip
from minervas_core.topics import MeshTopic, parse_topic
from minervas_peer.key_courier import PEER
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.rate_limit import RateLimit
from minervas_peer.refusals import Refusals
from minervas_runtime.bus import Bus, Message
from minervas_runtime.clock import monotonic_ms

log = logging.getLogger(__name__)

MAX_PRESENT = 4_096
"""Members remembered; the broker lets only members in."""

PRESENCE_BURST = 20
PRESENCE_REFILL_MS = 500
"""How often one member's presence makes us speak to our ledger; what comes faster is told at the next comparison."""

TELL_AGAIN_MS = 10_000
"""A tip that our ledger still does not have is told again after this time."""


@dataclass(frozen=True, slots=True)
class _Told:
    tip: ChainTip
    at_ms: int


class PresenceWatch:
    """Who is there, and on which tip."""

    def __init__(
        self,
        *,
        bus: Bus,
        me: Principal,
        ledger: LedgerLink,
        refusals: Refusals,
        own_tip: Callable[[], ChainTip | None],
        can_ask: Callable[[str], bool],
    ) -> None:
        """Watch a bus.

        Args:
            bus: the connection.
            me: our own peer.
            ledger: our ledger.
            refusals: where malformed presence is counted.
            own_tip: head of our best chain.
            can_ask: whether we hold the key under which a member would answer; without it a tip is of no use.
        """
        self._bus = bus
        self._me = me
        self._ledger = ledger
        self._refusals = refusals
        self._own_tip = own_tip
        self._can_ask = can_ask
        self._present: OrderedDict[str, Presence] = OrderedDict()
        self._told: dict[str, _Told] = {}
        self._rate = RateLimit(burst=PRESENCE_BURST, refill_ms=PRESENCE_REFILL_MS)

    async def start(self) -> None:
        """Subscribe; retained presence comes at once.

        Raises:
            BusDenied, BusRefused, BusOffline: as `Bus.subscribe`.
        """
        await self._bus.subscribe("mesh/v1/+/+/presence", self._on_presence)

    def of(self, member: str) -> Presence | None:
        """What a member's peer said last; None if it never said anything."""
        return self._present.get(member)

    def tip_of(self, member: str) -> ChainTip | None:
        """The tip that a member claims; None unless it is online and claims one."""
        presence = self._present.get(member)
        if presence is None or presence.state != "online":
            return None
        return presence.tip if isinstance(presence.tip, ChainTip) else None

    def members(self) -> list[str]:
        """Members whose peers said anything."""
        return list(self._present)

    def is_offline(self, member: str) -> bool:
        """Whether the broker says that this member's peer is gone."""
        presence = self._present.get(member)
        return presence is not None and presence.state == "offline"

    async def tell_all(self) -> None:
        """Tell our ledger every tip that it does not have, if that was not done lately."""
        for member in list(self._present):
            await self.tell(member)

    async def tell(self, member: str) -> None:
        """Tell our ledger the tip of a member, if it is another than ours and we can ask for its blocks."""
        tip, own, now_ms = self.tip_of(member), self._own_tip(), monotonic_ms()
        if tip is None or own is None or own.hash == tip.hash or not self._can_ask(member):
            return
        told = self._told.get(member)
        if told is not None and told.tip == tip and now_ms - told.at_ms < TELL_AGAIN_MS:
            return
        try:
            await self._ledger.tell("peer_tip", PeerTip(member=member, tip=tip))
        except MinervasError as error:
            log.info("peer_tip_not_told", extra={"fields": {"from_member": member, "reason": str(error)}})
            return
        self._told[member] = _Told(tip, now_ms)

    async def _on_presence(self, message: Message) -> None:
        topic = parse_topic(message.topic)
        if not isinstance(topic, MeshTopic) or topic.owner == self._me or topic.owner.service != PEER:
            return
        member = topic.owner.member
        if not message.payload:  # the broker's retained message was deleted
            self._forget(member)
            return
        try:
            self._present[member] = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES)
        except MinervasError as error:
            self._refusals.note("presence", error, member=member)
            return
        self._present.move_to_end(member)
        if len(self._present) > MAX_PRESENT:
            self._forget(next(iter(self._present)))
        if self._rate.allow(member, monotonic_ms()):
            await self.tell(member)

    def _forget(self, member: str) -> None:
        self._present.pop(member, None)
        self._told.pop(member, None)
