"""The one thread that owns a serial port: reads all its meters at every tick, and opens the port again when it is lost.

Theory of operation. At each tick of the schedule every meter of the port is read once, one after another, and what came
of it is handed over as one list. A meter that keeps failing is tried less and less often, so that it does not eat the
time of the others; a port that cannot be opened likewise. Nothing is tried twice within a tick: the next tick is the
retry, and energy is settled on registers, which lose nothing by a missing sample.

Only this thread touches the port. Other threads read its counters and wait for its lists.
"""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minervas_meter_gateway.block_read import NO_PORT, BlockRead
from minervas_meter_gateway.bus_plan import MeterPlan, PortPlan, SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.schedule import BackOff, TickSchedule
from minervas_meter_gateway.serial_port import PortLost, RecordingPort, open_port
from minervas_runtime.clock import Clock, monotonic_ms

log = logging.getLogger(__name__)

METER_FAILURES_TOLERATED = 2
METER_FIRST_PAUSE_MS = 2_000
METER_LONGEST_PAUSE_MS = 30_000
"""A meter without supply at night is back within this time after sunrise."""
PORT_FIRST_PAUSE_MS = 1_000
PORT_LONGEST_PAUSE_MS = 10_000


@dataclass(frozen=True, slots=True)
class MeterSample:
    """What came of reading one meter once."""

    meter: MeterPlan
    time_ms: int
    """Time of day when its last reply was here (or did not come)."""
    monotonic_ms: int
    blocks: Mapping[str, BlockRead]
    """By name of the block."""


class PortWorker:
    """Reads one port on a thread of its own.

    Args:
        plan: of the port.
        interval_ms: distance between two ticks.
        clock: time of day, for the samples.
        on_samples: called on the port's thread with what one tick brought.
        opener: opens the port.
    """

    def __init__(
        self,
        plan: PortPlan,
        *,
        interval_ms: int,
        clock: Clock,
        on_samples: Callable[[list[MeterSample]], None],
        opener: Callable[[SerialPlan], RecordingPort] = open_port,
    ) -> None:
        self.plan = plan
        self.missed_ticks = 0
        """Ticks at which nothing was read because the one before took too long."""
        self.lost = "not opened yet"
        """Why there is no port at present; empty while there is one."""
        self._interval_ms = interval_ms
        self._clock = clock
        self._on_samples = on_samples
        self._opener = opener
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"port {plan.name}", daemon=True)
        self._faults: collections.Counter[tuple[str, str]] = collections.Counter()
        self._reader: BusReader | None = None
        self._port_pause = BackOff(tolerated=0, first_ms=PORT_FIRST_PAUSE_MS, longest_ms=PORT_LONGEST_PAUSE_MS)
        self._meter_pauses = {
            meter.id: BackOff(
                tolerated=METER_FAILURES_TOLERATED,
                first_ms=METER_FIRST_PAUSE_MS,
                longest_ms=METER_LONGEST_PAUSE_MS,
            )
            for meter in plan.meters
        }

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def stop_soon(self) -> None:
        """Stop after the read that is under way."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until it has stopped, but not longer than this."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def read_once(self) -> tuple[list[MeterSample], str]:
        """Open the port, read every meter once and close it again, without the thread.

        Returns:
            What it brought, and why the port is lost; empty if it is not.
        """
        samples = self._read_all()
        problem = self.lost
        self._close("stopped")
        return samples, problem

    def fault_counts(self) -> dict[tuple[str, str], int]:
        """Block reads that failed so far, by meter and kind; an exception's kind has its code."""
        return dict(self._faults)

    def dead_meters(self) -> list[str]:
        """Meters that fail so often that they are left alone between two tries."""
        return [name for name, pause in self._meter_pauses.items() if pause.active]

    def _run(self) -> None:
        schedule = TickSchedule(monotonic_ms(), self._interval_ms)
        while not self._stopping.wait(schedule.wait_ms(monotonic_ms()) / 1000):
            self.missed_ticks += schedule.take(monotonic_ms())
            try:
                samples = self._read_all()
                if samples:
                    self._on_samples(samples)
            except Exception:  # a mistake in here must not end the sampling of this port for ever
                log.exception("port_worker_failed", extra={"fields": {"port": self.plan.name}})
        self._close("stopped")

    def _read_all(self) -> list[MeterSample]:
        """Read every meter whose turn it is; without a port all of them fail together."""
        if self._reader is None and not self._open():
            return []
        samples = []
        for meter in self.plan.meters:
            if self._stopping.is_set():
                break
            if self._meter_pauses[meter.id].is_due(monotonic_ms()):
                samples.append(self._read(meter))
        return samples

    def _open(self) -> bool:
        """Try to open the port if it is time to.

        Returns:
            Whether an attempt was made: if it failed, the samples of this tick say so.
        """
        if not self._port_pause.is_due(monotonic_ms()):
            return False
        serial = self.plan.serial
        try:
            port = self._opener(serial)
        except PortLost as error:
            self._fail(str(error))
            return True
        self._port_pause.succeeded()
        self.lost = ""
        self._reader = BusReader(port, serial, wait_ms=self._wait_ms, now_ms=monotonic_ms)
        log.info("port_opened", extra={"fields": {"port": self.plan.name, "device": serial.device}})
        self._wait_ms(max(meter.map.content.bus.connect_pause_ms for meter in self.plan.meters))
        return True

    def _read(self, meter: MeterPlan) -> MeterSample:
        blocks = dict.fromkeys(meter.blocks, NO_PORT)
        for name, block in meter.blocks.items():
            if self._reader is None:
                break
            try:
                blocks[name] = self._reader.read(
                    meter.address, block, pause_ms=meter.pause_ms, timeout_ms=meter.timeout_ms
                )
            except PortLost as error:
                self._fail(str(error))
        self._note(meter, blocks)
        return MeterSample(meter, self._clock.now_ms(), monotonic_ms(), blocks)

    def _note(self, meter: MeterPlan, blocks: Mapping[str, BlockRead]) -> None:
        """Remember how a meter behaves; a lost port is not its fault."""
        faults = [block.kind for block in blocks.values() if block.kind]
        self._faults.update((meter.id, kind) for kind in faults)
        pause = self._meter_pauses[meter.id]
        if "port" in faults:
            return
        was_active = pause.active
        if faults:
            pause.failed(monotonic_ms())
        else:
            pause.succeeded()
        if pause.active != was_active:
            event = "meter_silent" if pause.active else "meter_back"
            fields = {"meter": meter.id, "port": self.plan.name, "faults": sorted(set(faults))}
            log.warning(event, extra={"fields": fields})

    def _wait_ms(self, time_ms: int) -> None:
        """Wait, but not longer than until the gateway stops."""
        self._stopping.wait(time_ms / 1000)

    def _fail(self, reason: str) -> None:
        """Give the port up until its pause is over."""
        if not self.lost or self.lost != reason:
            log.warning("port_lost", extra={"fields": {"port": self.plan.name, "reason": reason}})
        self._close(reason)
        self._port_pause.failed(monotonic_ms())

    def _close(self, reason: str) -> None:
        self.lost = reason
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                reader.close()
            except PortLost as error:
                log.debug("port_close_failed", extra={"fields": {"port": self.plan.name, "reason": str(error)}})
