"""The peer, put together on a bus: every part, and what wakes what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from minervas_core.errors import Code, InvalidFrame
from minervas_core.genesis import Genesis
from minervas_core.identifiers import Principal
from minervas_core.messages import Presence
from minervas_core.node_market_messages import Relay
from minervas_core.node_messages import Announce
from minervas_core.node_vote_messages import AnnounceVotes
from minervas_peer import __version__
from minervas_peer.epoch_store import EpochStore
from minervas_peer.frame_opening import FrameOpener
from minervas_peer.gossip import Gossip
from minervas_peer.key_courier import PEER, KeyCourier, new_sender_key
from minervas_peer.key_exchange import Identity, KeyExchange
from minervas_peer.key_requests import KeyRequestLimits
from minervas_peer.ledger_link import LEDGER, LedgerLink
from minervas_peer.ledger_watch import LedgerWatch
from minervas_peer.member_directory import MemberDirectory
from minervas_peer.membership_feed import MembershipFeed
from minervas_peer.presence_watch import PresenceWatch
from minervas_peer.refusals import Refusals
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_peer.remote_sync import RemoteSync
from minervas_peer.sealed_channel import SealedChannel
from minervas_peer.settings import GossipSettings
from minervas_peer.status import PeerStatus
from minervas_peer.sync_server import SyncServer
from minervas_peer.trader import Trader
from minervas_runtime.box import seal_to_box
from minervas_runtime.bus import Bus
from minervas_runtime.clock import Clock
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import PresencePublisher
from minervas_runtime.requests import Requester

TELL_EVERY_S = 5.0
"""How often tips of others are compared with ours, besides when anything changes."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a peer works with."""

    genesis: Genesis
    identity: Identity
    node_key: bytes
    certificate_expires_ms: Callable[[], int] = lambda: 0
    """Asked whenever presence is published."""
    data: Path | None = None
    """Where the peer keeps its data, whose disk its presence tells of."""
    gossip: GossipSettings = field(default_factory=GossipSettings)
    own_keys: OwnKeys | None = None
    """All keys of this peer; None if it has only those of its identity."""


class PeerNode:
    """A peer on a bus that is not started yet. Make it on the event loop.

    Raises:
        LocalFault: if the epoch of the new sender key can not be stored.
    """

    def __init__(self, config: NodeConfig, bus: Bus, epochs: EpochStore, clock: Clock) -> None:
        identity, genesis = config.identity, config.genesis
        me = Principal(identity.member, PEER)
        self.bus = bus
        self.network = genesis.network
        self.refusals = Refusals()
        self.directory = MemberDirectory(identity.member)
        self.exchange = KeyExchange(
            genesis=genesis,
            identity=identity,
            directory=self.directory,
            own_key=new_sender_key(identity.member, epochs, clock.now_ms()),
            seal=seal_to_box,
            clock=clock,
            limits=KeyRequestLimits(ask_again_ms=config.gossip.ask_key_again_ms),
            grace_ms=config.gossip.ask_key_again_ms // 2,
            follow_keys=config.own_keys.follow if config.own_keys else lambda _keys: False,
        )
        self._config = config
        self._clock = clock
        self._requester = Requester(bus, clock)
        self._link = NodeLink(bus, config.node_key, identity.member, PEER, genesis.network, clock=clock)
        self.ledger = LedgerLink(self._link)
        self.courier = KeyCourier(
            bus=bus,
            requester=self._requester,
            exchange=self.exchange,
            epochs=epochs,
            refusals=self.refusals,
            clock=clock,
            settings=config.gossip,
        )
        channel = SealedChannel(
            network=genesis.network,
            identity=identity,
            exchange=self.exchange,
            opener=FrameOpener(genesis.network, self.directory, self.exchange.keys),
            courier=self.courier,
            clock=clock,
        )
        self._make_chain_parts(me, channel)
        self._make_exchanges(me, channel)
        self._connect()

    def _make_chain_parts(self, me: Principal, channel: SealedChannel) -> None:
        """Make the parts that carry blocks and transactions, and follow tips."""
        self.gossip = Gossip(
            bus=self.bus,
            me=me,
            channel=channel,
            courier=self.courier,
            ledger=self.ledger,
            refusals=self.refusals,
        )
        self.ledger_watch = LedgerWatch(
            self._link,
            self.ledger,
            interval_ms=self._config.gossip.ledger_interval_ms,
            take_roster=self.courier.take_roster,
            on_tip=self._on_own_tip,
        )
        self.presence = PresenceWatch(
            bus=self.bus,
            me=me,
            ledger=self.ledger,
            refusals=self.refusals,
            own_tip=lambda: self.ledger_watch.tip,
            can_ask=self.exchange.keys.has_current,
        )

    def _make_exchanges(self, me: Principal, channel: SealedChannel) -> None:
        """Make the parts that ask and answer: admission, other members, people."""
        self._membership = MembershipFeed(
            bus=self.bus,
            requester=self._requester,
            genesis=self._config.genesis,
            directory=self.directory,
            authorities=self.exchange.authorities,
            ledger=self.ledger,
            gossip=self.gossip,
            refusals=self.refusals,
            interval_ms=self._config.gossip.membership_interval_ms,
        )
        self._own_presence = PresencePublisher(self.bus, me.member, PEER, self._presence_fields, data=self._config.data)
        self.trader = Trader(
            genesis=self._config.genesis,
            directory=self.directory,
            identity=self._config.identity,
            ledger=self.ledger,
            gossip=self.gossip,
            clock=self._clock,
        )
        SyncServer(self._requester, channel, self.ledger, self.refusals)
        self.remote = RemoteSync(
            self._link, self._requester, channel, me=me.member, is_offline=self.presence.is_offline
        )
        self.status = PeerStatus(
            directory=self.directory,
            exchange=self.exchange,
            presence=self.presence,
            gossip=self.gossip,
            refusals=self.refusals,
            identity=self._config.identity,
        )

    def _connect(self) -> None:
        """Let the parts wake each other."""
        self._compare_tips = asyncio.Event()
        self._tip_callbacks: list[Callable[[], None]] = []
        self.courier.on_key(lambda _member: self._compare_tips.set())
        self.bus.on_connection_change(lambda connected: self.ledger_watch.look_soon() if connected else None)
        self._link.on("announce", Announce, self._on_announce)
        self._link.on("relay", Relay, self._on_relay)
        self._link.on("announce_votes", AnnounceVotes, self._on_announce_votes)

    def on_tip(self, call: Callable[[], None]) -> None:
        """Have something called when our tip moved, unless by one of the many steps of a sync."""
        self._tip_callbacks.append(call)

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            BusRefused: if the broker does not let us in at all.
        """
        try:
            await self.bus.start()
            await self._link.start()
            await self._requester.start()
            for part in (self.presence, self.courier, self.gossip, self._membership):
                await part.start()
            self._own_presence.start()
            async with asyncio.TaskGroup() as group:
                for loop in (self.courier, self.gossip, self.ledger_watch, self._membership):
                    group.create_task(loop.run(), name=type(loop).__name__)
                group.create_task(self._keep_comparing_tips(), name="tips")
        finally:
            await self._own_presence.stop()
            await self._requester.stop()
            await self._link.stop()
            await self.bus.stop()

    async def _on_announce(self, event: Announce, service: str) -> None:
        if service != LEDGER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger announces blocks", service=service)
        await self.gossip.announce(bytes(event.block))

    async def _on_announce_votes(self, event: AnnounceVotes, service: str) -> None:
        if service != LEDGER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger votes", service=service)
        await self.gossip.announce_votes(event.votes)

    async def _on_relay(self, event: Relay, service: str) -> None:
        if service != LEDGER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger relays transactions", service=service)
        for transaction in event.transactions:
            self.gossip.offer(bytes(transaction))

    def _on_own_tip(self) -> None:
        """Show the others our new tip; not every one of a sync, where hundreds follow each other in a second."""
        self.exchange.authorities.tell_tip(self.ledger_watch.authority)
        if not self.ledger_watch.syncing:
            self._own_presence.changed()
        self._compare_tips.set()
        for call in () if self.ledger_watch.syncing else self._tip_callbacks:
            call()

    async def _keep_comparing_tips(self) -> None:
        while True:
            self._compare_tips.clear()
            await self.presence.tell_all()
            try:
                async with asyncio.timeout(TELL_EVERY_S):
                    await self._compare_tips.wait()
            except TimeoutError:
                continue

    def _presence_fields(self) -> Presence:
        return Presence(
            state="online",
            version=__version__,
            sent_at_ms=self._clock.now_ms(),
            certificate_expires_ms=self._config.certificate_expires_ms(),
            tip=self.ledger_watch.tip or msgspec.UNSET,
        )
