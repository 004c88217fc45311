"""Verb ``read``: read every meter once and show what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.channel_readings import Judged, judge_channel
from minervas_meter_gateway.port_worker import MeterSample, PortWorker
from minervas_meter_gateway.register_watch import RegisterWatch
from minervas_meter_gateway.tables import as_table, milli
from minervas_runtime.clock import SystemClock

HEADS = ("meter", "channel", "input", "power W", "voltage V", "current A", "energy Wh", "fault")
FAULT_HINTS = {"echo": "echo: set local_echo = true", "exception_2": "exception 2: registers that it does not have"}
FRAME_HEADS = ("meter", "channel", "request", "reply")


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of what was read."""

    input_name: str
    judged: Judged


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What reading every meter once brought."""

    lines: tuple[Shown, ...]
    problems: tuple[str, ...]
    """Ports that could not be opened, or were lost on the way."""

    @property
    def complete(self) -> bool:
        """Whether every channel has values."""
        return not self.problems and all(line.judged.values is not None for line in self.lines)

    def values_table(self) -> str:
        """Values and faults of every channel."""
        return as_table(HEADS, [_values_row(line) for line in self.lines])

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "problems": list(self.problems),
            "channels": [
                {
                    "meter": line.judged.meter,
                    "channel": line.judged.channel,
                    "input": line.input_name,
                    "time_ms": line.judged.time_ms,
                    "values": line.judged.values.as_json() if line.judged.values else None,
                    "fault": line.judged.fault,
                    "request": line.judged.block.request.hex(),
                    "reply": line.judged.block.reply.hex(),
                }
                for line in self.lines
            ],
        }

    def frames_table(self) -> str:
        """Raw request and reply of every channel."""
        rows = [
            (each.meter, each.channel, each.block.request.hex(" "), each.block.reply.hex(" "))
            for each in (line.judged for line in self.lines)
        ]
        return as_table(FRAME_HEADS, rows)


def read_ports(ports: Sequence[PortPlan]) -> ReadReport:
    """Read all meters of all ports once."""
    lines: list[Shown] = []
    problems: list[str] = []
    for port in ports:
        worker = PortWorker(port, interval_ms=1_000, clock=SystemClock(), on_samples=lambda _: None)
        samples, problem = worker.read_once()
        if problem:
            problems.append(f"port {port.name} ({port.serial.device}): {problem}")
        lines += [line for sample in samples for line in _lines(sample)]
    return ReadReport(tuple(lines), tuple(problems))


def _lines(sample: MeterSample) -> list[Shown]:
    step_wh = sample.meter.register_step_wh
    return [
        Shown(channel.input_name, judge_channel(sample, channel, RegisterWatch(channel.rated_w, step_wh)))
        for channel in sample.meter.channels
    ]


def _values_row(line: Shown) -> tuple[str, ...]:
    judged, values = line.judged, line.judged.values
    return (
        judged.meter,
        judged.channel,
        line.input_name,
        milli(values.power_mw if values else None, 1),
        milli(values.voltage_mv if values else None, 2),
        milli(values.current_ma if values else None, 2),
        milli(values.energy_mwh if values else None, 0),
        FAULT_HINTS.get(judged.block.kind or "", judged.block.kind) or judged.fault or "",
    )
