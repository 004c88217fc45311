"""Readings from the bus: checked and queued until they are stored. What is not stored is never acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidFrame, MinervasError, TransientFault
from minervas_core.identifiers import Principal
from minervas_core.metering import MAX_BATCH_BYTES, Reading, ReadingBatch, ReadingBatchBody, check_batch
from minervas_core.topics import MeshTopic, parse_topic
from minervas_ledger import metrics, refusals
from minervas_ledger.gateways import Gateway, Gateways
from minervas_ledger.store.archive_rows import DAY_MS
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_runtime.bus import Message

KIND = "readings"

MAX_QUEUED_READINGS = 20_000
"""Some 20 MB. What comes beyond them is dropped: its gateway sends it again."""

MAX_OFF_MS = DAY_MS
"""How far a reading may be ahead of our clock, or from before genesis. Every day of readings is a table of its own.

What is further off is put aside and acknowledged as refused: a gateway is not held up by it, and nothing is lost if it
was our clock that was wrong.
"""

LEAST_ROOM = MAX_QUEUED_READINGS // 2
"""Room that what is fetched from other ledgers leaves in the queue for what gateways send."""


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """A checked batch that is not stored yet."""

    sender: Principal
    batch: ReadingBatch
    aside: frozenset[int] = frozenset()
    """Sequence numbers of readings whose time is impossible."""
    strangers: frozenset[int] = frozenset()
    """Sequence numbers of readings of channels that are not registered: they are neither stored nor acknowledged."""

    @property
    def is_whole(self) -> bool:
        """Whether all of its readings are stored where readings belong."""
        return not self.aside and not self.strangers

    @property
    def body(self) -> ReadingBatchBody:
        """What is signed."""
        return self.batch.body

    def received(self, *, aside: bool = False) -> list[ReceivedReading]:
        """Its readings, each with its origin: those with possible times, or the others."""
        body = self.body
        return [
            ReceivedReading(body.member, body.gateway, body.spool, reading)
            for reading in body.readings
            if (reading.sequence in self.aside) == aside and reading.sequence not in self.strangers
        ]


class ReadingsIntake:
    """The queue of batches.

    Args:
        network: network id.
        genesis_ms: when the consortium began.
        gateways: tells who may send readings, by our tip; raises `TransientFault` ``not_ready`` before there is one.
        now_ms: our clock.
    """

    def __init__(
        self, *, network: str, genesis_ms: int, gateways: Callable[[], Gateways], now_ms: Callable[[], int]
    ) -> None:
        self._network = network
        self._genesis_ms = genesis_ms
        self._gateways = gateways
        self._now_ms = now_ms
        self._batches: deque[QueuedBatch] = deque()
        self.queued = 0
        """Readings in the queue."""
        self.refusal: MinervasError | None = None
        """Why no readings are taken at present."""

    def receive(self, message: Message) -> None:
        """Take in a message of a gateway's outbox."""
        origin = message.topic
        try:
            topic = parse_topic(message.topic)
            if not isinstance(topic, MeshTopic) or topic.owner.role != "meter-gateway" or topic.rest:
                raise InvalidFrame(Code.BAD_TOPIC, "Not the outbox of a meter-gateway", topic=message.topic)
            origin = str(topic.owner)
            if self.refusal is not None:
                raise self.refusal
            self._queue(self._checked(topic.owner, message.payload))
        except MinervasError as error:
            refusals.record(KIND, error, origin=origin)

    def take_in(self, member: str, raw: bytes, check: Callable[[ReadingBatchBody], None]) -> ReadingBatchBody:
        """Take in a batch that another ledger showed; the same checks apply as if its gateway had sent it.

        Args:
            member: whose readings they are.
            raw: the signed batch.
            check: judges a good batch before anything of it is kept; raises `PeerFault` for one that is not wanted.

        Raises:
            PeerFault: as for the batches of gateways, or by `check`.
            TransientFault: ``not_ready``, ``rate_limited`` if the queue is half full, or ``disk_low``.
        """
        if self.refusal is not None:
            raise self.refusal
        if not self.has_room:
            raise TransientFault(Code.RATE_LIMITED, "The queue of readings is half full", queued=self.queued)
        batch = self._checked(Principal(member, "meter-gateway"), raw)
        check(batch.body)
        self._queue(batch)
        return batch.body

    @property
    def has_room(self) -> bool:
        """Whether there is room for what is fetched from other ledgers."""
        return self.queued < LEAST_ROOM

    def take(self, max_readings: int) -> list[QueuedBatch]:
        """Remove and return the oldest batches: as many as fit, but at least one if there is any."""
        taken: list[QueuedBatch] = []
        count = 0
        while self._batches and (not taken or count + len(self._batches[0].body.readings) <= max_readings):
            taken.append(self._batches.popleft())
            count += len(taken[-1].body.readings)
        self._count(-count)
        return taken

    def give_back(self, batches: Sequence[QueuedBatch]) -> None:
        """Put batches back to the front, to be stored later."""
        self._batches.extendleft(reversed(batches))
        self._count(sum(len(batch.body.readings) for batch in batches))

    def _checked(self, sender: Principal, payload: bytes) -> QueuedBatch:
        """Check a batch. Readings of meters that are not registered (yet) do not hold up the others.

        Raises:
            PeerFault: a code of `decode` or `check_batch`; ``frame_unknown_sender`` if the key is not registered on
                our tip; ``meter_unknown`` or ``channel_unknown`` if it is not for what it sends.
            TransientFault: ``not_ready``.
        """
        member = sender.member
        batch = decode(payload, ReadingBatch, max_bytes=MAX_BATCH_BYTES)
        gateway = self._gateways().get(batch.body.gateway)
        if gateway is None or gateway.member != member:
            raise InvalidFrame(
                Code.FRAME_UNKNOWN_SENDER, "Not a gateway key of this member on our tip", gateway=batch.body.gateway
            )
        check_batch(batch, network=self._network, member=member)
        for reading in batch.body.readings:
            _check_values(reading)
        earliest_ms, latest_ms = self.possible_times()
        aside = {each.sequence for each in batch.body.readings if not earliest_ms <= each.time_ms <= latest_ms}
        if aside:
            times = "A reading from before the consortium, or from the future; it is put aside"
            fault = InvalidFrame(Code.CLOCK_OFFSET, times, first=min(aside), count=len(aside))
            refusals.record(KIND, fault, origin=str(sender))
        strangers = _strangers(sender, batch.body, gateway)
        return QueuedBatch(sender, batch, frozenset(aside - strangers), strangers)

    def possible_times(self) -> tuple[int, int]:
        """Earliest and latest time of a reading that is stored."""
        return self._genesis_ms - MAX_OFF_MS, self._now_ms() + MAX_OFF_MS

    def _queue(self, batch: QueuedBatch) -> None:
        if self.queued + len(batch.body.readings) > MAX_QUEUED_READINGS:
            raise TransientFault(Code.RATE_LIMITED, "The queue of readings is full", queued=self.queued)
        self._batches.append(batch)
        self._count(len(batch.body.readings))

    def _count(self, step: int) -> None:
        self.queued += step
        metrics.READINGS_QUEUED.set(self.queued)


def _strangers(sender: Principal, body: ReadingBatchBody, gateway: Gateway) -> frozenset[int]:
    """Sequence numbers of readings of channels that are not registered.

    Raises:
        InvalidFrame: ``meter_unknown`` or ``channel_unknown`` if these are all.
    """
    found: set[int] = set()
    refusal: InvalidFrame | None = None
    for reading in body.readings:
        try:
            _check_channel(reading, gateway)
        except InvalidFrame as error:
            refusal = refusal or error
            found.add(reading.sequence)
    if refusal is not None and len(found) == len(body.readings):
        raise refusal
    if refusal is not None:
        refusals.record(KIND, refusal, origin=str(sender))
    return frozenset(found)


def _check_channel(reading: Reading, gateway: Gateway) -> None:
    if (reading.meter, reading.channel) in gateway.channels:
        return
    if gateway.has_meter(reading.meter):
        raise InvalidFrame(Code.CHANNEL_UNKNOWN, "The meter has no such channel", channel=reading.channel)
    raise InvalidFrame(Code.METER_UNKNOWN, "Not a meter of this gateway", meter=reading.meter)


def _check_values(reading: Reading) -> None:
    """A missing reading says why and has no values; one that was measured has no fault, a substituted one has both."""
    values = (reading.power_mw, reading.voltage_mv, reading.current_ma, reading.energy_mwh)
    has_values = any(not isinstance(value, msgspec.UnsetType) for value in values)
    has_fault = not isinstance(reading.fault, msgspec.UnsetType)
    if (has_values, has_fault) != (reading.quality != "missing", reading.quality != "measured"):
        raise InvalidFrame(
            Code.WRONG_SHAPE,
            "Values and fault do not fit the quality",
            quality=reading.quality,
            sequence=reading.sequence,
        )
