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
from minervas_ledger.store.readings_writes import DAY_MS, ReceivedReading
from minervas_runtime.bus import Message

KIND = "readings"

MAX_QUEUED_READINGS = 20_000
"""Some 20 MB. What comes beyond them is dropped: its gateway sends it again."""

MAX_OFF_MS = DAY_MS
"""How far a reading may be ahead of our clock, or from before genesis. Every day of readings is a table of its own."""


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """A checked batch that is not stored yet."""

    sender: Principal
    body: ReadingBatchBody

    def received(self) -> list[ReceivedReading]:
        """Its readings, each with its origin."""
        body = self.body
        return [ReceivedReading(body.member, body.gateway, body.spool, reading) for reading in body.readings]


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

    def receive(self, message: Message) -> None:
        """Take in a message of a gateway's outbox."""
        origin = message.topic
        try:
            topic = parse_topic(message.topic)
            if not isinstance(topic, MeshTopic) or topic.owner.role != "meter-gateway" or topic.rest:
                raise InvalidFrame(Code.BAD_TOPIC, "Not the outbox of a meter-gateway", topic=message.topic)
            origin = str(topic.owner)
            self._queue(QueuedBatch(topic.owner, self._checked(topic.owner, message.payload)))
        except MinervasError as error:
            refusals.record(KIND, error, origin=origin)

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

    def _checked(self, sender: Principal, payload: bytes) -> ReadingBatchBody:
        """Check a batch. Readings of meters that are not registered (yet) do not hold up the others.

        Returns:
            It, with the readings of registered channels.

        Raises:
            PeerFault: a code of `decode` or `check_batch`; ``frame_unknown_sender`` if the key is not registered on
                our tip; ``meter_unknown`` or ``channel_unknown`` if it is not for what it sends; ``clock_offset``.
            TransientFault: ``not_ready``.
        """
        batch = decode(payload, ReadingBatch, max_bytes=MAX_BATCH_BYTES)
        member = sender.member
        gateway = self._gateways().get(batch.body.gateway)
        if gateway is None or gateway.member != member:
            raise InvalidFrame(
                Code.FRAME_UNKNOWN_SENDER, "Not a gateway key of this member on our tip", gateway=batch.body.gateway
            )
        check_batch(batch, network=self._network, member=member)
        latest_ms = self._now_ms() + MAX_OFF_MS
        for reading in batch.body.readings:
            _check_values(reading)
            if not self._genesis_ms - MAX_OFF_MS <= reading.time_ms <= latest_ms:
                raise InvalidFrame(
                    Code.CLOCK_OFFSET,
                    "A reading from before the consortium, or from the future",
                    time_ms=reading.time_ms,
                )
        return self._registered(sender, batch.body, gateway)

    def _registered(self, sender: Principal, body: ReadingBatchBody, gateway: Gateway) -> ReadingBatchBody:
        """Leave out the readings of channels that are not registered; they are not acknowledged.

        Raises:
            InvalidFrame: ``meter_unknown`` or ``channel_unknown`` if no reading is left.
        """
        welcome: list[Reading] = []
        refusal: InvalidFrame | None = None
        for reading in body.readings:
            try:
                _check_channel(reading, gateway)
                welcome.append(reading)
            except InvalidFrame as error:
                refusal = refusal or error
        if refusal is None:
            return body
        if not welcome:
            raise refusal
        refusals.record(KIND, refusal, origin=str(sender))
        return msgspec.structs.replace(body, readings=welcome)

    def _queue(self, batch: QueuedBatch) -> None:
        if self.queued + len(batch.body.readings) > MAX_QUEUED_READINGS:
            raise TransientFault(Code.RATE_LIMITED, "The queue of readings is full", queued=self.queued)
        self._batches.append(batch)
        self._count(len(batch.body.readings))

    def _count(self, step: int) -> None:
        self.queued += step
        metrics.READINGS_QUEUED.set(self.queued)


def _check_channel(reading: Reading, gateway: Gateway) -> None:
    if (reading.meter, reading.channel) in gateway.channels:
        return
    if gateway.has_meter(reading.meter):
        raise InvalidFrame(Code.CHANNEL_UNKNOWN, "The meter has no such channel", channel=reading.channel)
    raise InvalidFrame(Code.METER_UNKNOWN, "Not a meter of this gateway", meter=reading.meter)


def _check_values(reading: Reading) -> None:
    """A missing reading says why and has no values; one that was measured has no fault."""
    values = (reading.power_mw, reading.voltage_mv, reading.current_ma, reading.energy_mwh)
    has_values = any(not isinstance(value, msgspec.UnsetType) for value in values)
    has_fault = not isinstance(reading.fault, msgspec.UnsetType)
    if (has_values, has_fault) != ((True, False) if reading.quality == "measured" else (False, True)):
        raise InvalidFrame(
            Code.WRONG_SHAPE,
            "Values and fault do not fit the quality",
            quality=reading.quality,
            sequence=reading.sequence,
        )
