"""From the port threads to the spool: samples become readings, are stored, and only then are seen by anybody else."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Iterable, Sequence

from minervas_core.metering import Reading
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.channel_readings import Judged, judge_channel
from minervas_meter_gateway.metrics import FAULTS, REFUSED, SAMPLES, SPOOL_DEPTH, SPOOL_FILL
from minervas_meter_gateway.port_worker import MeterSample
from minervas_meter_gateway.register_watch import RegisterWatch
from minervas_meter_gateway.spool import ALARM_PER_CENT, ChannelKey, Spool, SpoolFull
from minervas_meter_gateway.spool_file import SpoolTrouble
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_meter_gateway.statement_book import StatementBook
from minervas_runtime.clock import Clock, monotonic_ms

log = logging.getLogger(__name__)

MAX_WAITING = 5_000
"""Samples kept while a commit takes long; more than an hour of one meter."""


class Recorder:
    """Records the samples of all ports. Belongs to the event loop, but `offer` may be called from any thread.

    Args:
        ports: what is read.
        book: the channels' states.
        spool: where readings go.
        clock: time of day.
        clock_is_right: whether samples taken now may begin or end a statement.
        on_recorded: called with readings that are on the disk.
    """

    def __init__(
        self,
        *,
        ports: Iterable[PortPlan],
        book: StatementBook,
        spool: SpoolThread,
        clock: Clock,
        clock_is_right: Callable[[], bool],
        on_recorded: Callable[[Sequence[Reading]], None],
    ) -> None:
        self.latest: dict[ChannelKey, Reading] = {}
        """Newest reading of each channel, for people."""
        self.fill_per_cent = 0
        """How full the spool is."""
        self.trouble = ""
        """Why readings are not stored at present; empty while they are."""
        self._book = book
        self._spool = spool
        self._clock_is_right = clock_is_right
        self._on_recorded = on_recorded
        self._waiting: collections.deque[MeterSample] = collections.deque()
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watches = _watches(ports, book, clock)

    def offer(self, samples: list[MeterSample]) -> None:
        """Record samples soon; may be called from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, samples)
        except RuntimeError:  # the loop has ended while a last read was under way
            log.debug("samples_after_end")

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            samples, self._waiting = list(self._waiting), collections.deque()
            judged = [
                judge_channel(sample, channel, self._watches[sample.meter.id, channel.name])
                for sample in samples
                for channel in sample.meter.channels
            ]
            if judged:
                await self._record(judged)

    def _take(self, samples: list[MeterSample]) -> None:
        self._waiting.extend(samples)
        while len(self._waiting) > MAX_WAITING:
            REFUSED.inc(len(self._waiting.popleft().meter.channels))
        self._filled.set()

    async def _record(self, judged: list[Judged]) -> None:
        try:
            readings = await self._book.record(judged, usable=self._clock_is_right())
            self.fill_per_cent = await self._spool.run(Spool.fill_per_cent)
        except (SpoolFull, SpoolTrouble) as error:
            REFUSED.inc(len(judged))
            self._say_trouble(str(error))
            return
        self._say_trouble("")
        SPOOL_DEPTH.set(self._spool.file.depth)
        SPOOL_FILL.set(self.fill_per_cent)
        for reading in readings:
            SAMPLES.labels(reading.meter, reading.channel, reading.quality).inc()
            if isinstance(reading.fault, str):
                FAULTS.labels(reading.meter, reading.fault).inc()
            self.latest[reading.meter, reading.channel] = reading
        self._on_recorded(readings)

    def _say_trouble(self, trouble: str) -> None:
        """Log when recording stops and resumes, and when the spool passes its alarm level."""
        if trouble and not self.trouble:
            log.error("recording_stopped", extra={"fields": {"reason": trouble}})
        elif self.trouble and not trouble:
            log.warning("recording_resumed")
        self.trouble = trouble

    @property
    def is_alarming(self) -> bool:
        """Whether the spool is nearly full, or readings are not stored at all."""
        return bool(self.trouble) or self.fill_per_cent >= ALARM_PER_CENT


def _watches(ports: Iterable[PortPlan], book: StatementBook, clock: Clock) -> dict[ChannelKey, RegisterWatch]:
    """A register watch for each channel, which goes on where an earlier run of the gateway ended."""
    watches = {}
    for meter in (meter for port in ports for meter in port.meters):
        for channel in meter.channels:
            key = meter.id, channel.name
            watches[key] = RegisterWatch(channel.rated_w, meter.register_step_wh)
            state = book.state(key)
            if state.last_energy_mwh >= 0:
                age_ms = max(0, clock.now_ms() - state.last_time_ms)
                watches[key].resume(state.last_energy_mwh, monotonic_ms() - age_ms)
    return watches
