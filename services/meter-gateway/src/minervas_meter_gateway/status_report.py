"""What /healthz shows of a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from minervas_core.metering import Reading
from minervas_meter_gateway.metrics import MISSED_TICKS, READ_FAULTS
from minervas_meter_gateway.port_worker import PortWorker
from minervas_meter_gateway.recorder import Recorder
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.statement_book import StatementBook
from minervas_meter_gateway.statement_sender import StatementSender
from minervas_runtime.bus import Bus


class StatusReport:
    """Describes a running gateway.

    Args:
        bus: the connection.
        workers: of all ports.
        recorder: what was read.
        spool: what waits.
        book: the channels.
        sender: the statements.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        workers: Sequence[PortWorker],
        recorder: Recorder,
        spool: Spool,
        book: StatementBook,
        sender: StatementSender,
    ) -> None:
        self._bus = bus
        self._workers = workers
        self._recorder = recorder
        self._spool = spool
        self._book = book
        self._sender = sender
        self._counted_missed = dict.fromkeys((worker.plan.name for worker in workers), 0)
        self._counted_faults: dict[tuple[str, str], int] = {}

    def describe(self) -> dict[str, Any]:
        """The status now. Failing: not connected, nothing stored, or no port at all."""
        blind = all(worker.lost for worker in self._workers)
        failing = not self._bus.connected or self._recorder.is_alarming or blind
        return {
            "status": "failing" if failing else "ok",
            "connected": self._bus.connected,
            "clock": self._sender.clock_problem or "trusted",
            "spool": {
                "id": self._spool.id,
                "next_sequence": self._spool.next_sequence,
                "unacknowledged": self._spool.depth,
                "fill_per_cent": self._recorder.fill_per_cent,
                "trouble": self._recorder.trouble,
            },
            "statements_pending": self._book.pending_count(),
            "ports": {worker.plan.name: self._port(worker) for worker in self._workers},
            "channels": {
                f"{key[0]}.{key[1]}": {
                    "registered": key in self._sender.registered,
                    **_values(self._recorder.latest.get(key)),
                }
                for key in self._book.channels
            },
        }

    def carry_counters(self) -> None:
        """Carry what the port threads counted into the metrics."""
        for worker in self._workers:
            name = worker.plan.name
            MISSED_TICKS.labels(name).inc(worker.missed_ticks - self._counted_missed[name])
            self._counted_missed[name] = worker.missed_ticks
            for key, count in worker.fault_counts().items():
                READ_FAULTS.labels(*key).inc(count - self._counted_faults.get(key, 0))
                self._counted_faults[key] = count

    def _port(self, worker: PortWorker) -> dict[str, Any]:
        faults: dict[str, dict[str, int]] = {}
        for (meter, kind), count in worker.fault_counts().items():
            faults.setdefault(meter, {})[kind] = count
        return {
            "lost": worker.lost,
            "missed_ticks": worker.missed_ticks,
            "silent_meters": worker.dead_meters(),
            "faults": faults,
        }


def _values(reading: Reading | None) -> dict[str, Any]:
    """The newest reading without its raw bytes."""
    if reading is None:
        return {}
    fields = ("time_ms", "quality", "power_mw", "voltage_mv", "current_ma", "energy_mwh", "fault")
    values = {name: getattr(reading, name) for name in fields}
    return {name: value for name, value in values.items() if not isinstance(value, msgspec.UnsetType)}
