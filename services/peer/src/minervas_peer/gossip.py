"""Sealed gossip: transactions, blocks and votes of other members go to our ledger, our own go to all members."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from minervas_core.encoding import Record
from minervas_core.errors import Code, MinervasError
from minervas_core.identifiers import Principal
from minervas_core.messages import BlockAnnouncement, TransactionBatch, VoteBatch
from minervas_core.node_messages import BlockResult, DeliverBlock, Submit, SubmitResults
from minervas_core.node_vote_messages import SubmitVotes, VoteResults
from minervas_core.rights import ADMISSION
from minervas_core.topics import MeshTopic, mesh, parse_topic
from minervas_peer.frame_opening import KeyMissing
from minervas_peer.key_courier import EXPIRY_S, PEER, KeyCourier
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.pending_frames import PendingFrame, PendingFrames
from minervas_peer.rate_limit import RateLimit
from minervas_peer.refusals import Refusals
from minervas_peer.sealed_channel import SealedChannel
from minervas_peer.transaction_batcher import TransactionBatcher
from minervas_runtime.bus import Bus, Message
from minervas_runtime.clock import monotonic_ms

log = logging.getLogger(__name__)

FRAME_BURST = 200
FRAME_REFILL_MS = 20
"""Frames taken from one member: 50 a second for ever. One frame may carry 200 transactions."""

EXPIRE_EVERY_S = 5.0


class Gossip:
    """Both directions of gossip."""

    def __init__(
        self,
        *,
        bus: Bus,
        me: Principal,
        channel: SealedChannel,
        courier: KeyCourier,
        ledger: LedgerLink,
        refusals: Refusals,
        pending: PendingFrames | None = None,
    ) -> None:
        self.pending = pending or PendingFrames()
        self._bus = bus
        self._me = me
        self._channel = channel
        self._courier = courier
        self._ledger = ledger
        self._refusals = refusals
        self._rate = RateLimit(burst=FRAME_BURST, refill_ms=FRAME_REFILL_MS)
        self._batcher = TransactionBatcher(self._publish_transactions)
        self._keys_came: asyncio.Queue[str] = asyncio.Queue()
        courier.on_key(self._keys_came.put_nowait)

    async def start(self) -> None:
        """Subscribe to the other members' transactions, blocks and votes.

        Raises:
            BusDenied, BusRefused, BusOffline: as `Bus.subscribe`.
        """
        for kind in ("tx", "block", "vote"):
            await self._bus.subscribe(f"mesh/v1/+/+/{kind}", self._on_message)

    async def run(self) -> None:
        """Send batches, open frames whose keys have come, and give up on those that waited too long."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._batcher.run(), name="transaction batches")
            group.create_task(self._keep_opening(), name="pending frames")
            group.create_task(self._keep_expiring(), name="expiry of pending frames")

    def offer(self, transaction: bytes) -> None:
        """Send a transaction to all members, with others that come within a few milliseconds.

        Raises:
            TransientFault: ``pool_full`` if too many wait already.
        """
        self._batcher.add(transaction)

    async def announce(self, block: bytes) -> None:
        """Send a block that our miner found to all members.

        Raises:
            BusOffline, BusRefused, PayloadTooLarge: as `Bus.publish`; the others find it by our presence, later.
        """
        await self._publish("block", BlockAnnouncement(block=msgspec.Raw(block)))

    async def announce_votes(self, votes: Sequence[msgspec.Raw]) -> None:
        """Send votes of our ledger to all members.

        Raises:
            BusOffline, BusRefused, PayloadTooLarge: as `Bus.publish`; our ledger sends them again.
        """
        await self._publish("vote", VoteBatch(votes=list(votes)))

    async def _publish_transactions(self, batch: Sequence[bytes]) -> None:
        await self._publish("tx", TransactionBatch(transactions=[msgspec.Raw(raw) for raw in batch]))

    async def _publish(self, kind: str, content: Record) -> None:
        topic = mesh(self._me, kind)
        await self._bus.publish(topic, self._channel.seal(content, topic), expiry_s=EXPIRY_S)

    async def _on_message(self, message: Message) -> None:
        topic = parse_topic(message.topic)
        if not isinstance(topic, MeshTopic) or topic.owner in (self._me, ADMISSION):
            return
        if topic.owner.service != PEER:
            self._refusals.count(topic.kind, Code.FRAME_FOREIGN_SENDER, member=topic.owner.member)
        elif not self._rate.allow(topic.owner.member, monotonic_ms()):
            self._refusals.count(topic.kind, Code.RATE_LIMITED, member=topic.owner.member)
        else:
            await self._receive(message, topic)

    async def _receive(self, message: Message, topic: MeshTopic) -> None:
        """Open a frame and hand its content to the ledger; keep it if its key is missing."""
        member = topic.owner.member
        try:
            match topic.kind:
                case "tx":
                    await self._submit(self._channel.open(message, member, TransactionBatch), member)
                case "vote":
                    await self._submit_votes(self._channel.open(message, member, VoteBatch), member)
                case _:
                    await self._deliver(self._channel.open(message, member, BlockAnnouncement), member)
        except KeyMissing as missing:
            await self._keep(message, missing)
        except MinervasError as error:
            self._refusals.note(topic.kind, error, member=member)

    async def _submit(self, batch: TransactionBatch, member: str) -> None:
        body = Submit(transactions=batch.transactions, origin=member)
        await self._ledger.ask("submit", body, SubmitResults)

    async def _submit_votes(self, batch: VoteBatch, member: str) -> None:
        await self._ledger.ask("vote", SubmitVotes(votes=batch.votes, origin=member), VoteResults)

    async def _deliver(self, announcement: BlockAnnouncement, member: str) -> None:
        result = await self._ledger.ask("block", DeliverBlock(block=announcement.block, origin=member), BlockResult)
        fields = {"from_member": member, "block": result.hash, "status": result.status, "code": result.code}
        log.info("block_received", extra={"fields": fields})

    async def _keep(self, message: Message, missing: KeyMissing) -> None:
        self._count_lost(self.pending.add(missing.sender, missing.key_id, message, monotonic_ms()))
        await self._courier.ask(missing.sender, missing.key_id)

    async def _keep_opening(self) -> None:
        while True:
            member = await self._keys_came.get()
            for frame in self.pending.take(member, partial(self._courier.has_key, member)):
                topic = parse_topic(frame.message.topic)
                if isinstance(topic, MeshTopic):
                    await self._receive(frame.message, topic)

    async def _keep_expiring(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            self._count_lost(self.pending.expire(monotonic_ms()))

    def _count_lost(self, frames: Sequence[PendingFrame]) -> None:
        for frame in frames:
            self._refusals.count("pending", Code.FRAME_UNKNOWN_KEY, member=frame.sender)
