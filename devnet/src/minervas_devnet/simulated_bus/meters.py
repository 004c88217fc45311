"""What the simulated meters measure and how their models put it into registers.

Physics holds: the energy registers integrate the power over the seconds that really pass, and voltage times current is
the power. Register layouts are those of the real meters (Eastron SDM630, Peacefair PZEM-003).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from minervas_devnet.simulated_bus.solar_day import SolarDay

Model = Literal["pzem-003", "sdm630"]

INPUT_REGISTERS = 4
"""Modbus function that reads what a meter measures."""

LONGEST_STEP_S = 1.0
"""Energy is integrated in steps of at most this; between two minutes of the day power is a straight line."""

POWER_FACTOR = 0.99


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a meter shows at one moment."""

    power_w: float
    import_wh: float
    """Energy drawn (of a DC panel: delivered; a DC meter has one direction)."""
    export_wh: float
    """Energy delivered."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The input registers of one model."""

    ranges: tuple[tuple[int, int], ...]
    """First register and number of registers of every range that exists."""
    fill: Callable[[Measurement, float], dict[int, int]]
    """Register values by address, from a measurement and the rated power."""


class Meter:
    """One meter on the bus.

    Args:
        address: slave address.
        model: which registers it has.
        rated_w: rated power of what is connected to it.
        start_wh: what the energy register shows at the start.
        day: what the sun does.
        start_second: second of that day at which time `now_s` = 0 begins.
        speed: how many seconds of the day pass in one real second; energy always takes real seconds.
    """

    def __init__(
        self,
        *,
        address: int,
        model: Model,
        rated_w: int,
        start_wh: int,
        day: SolarDay,
        start_second: float,
        speed: float = 1.0,
    ) -> None:
        self.address = address
        self.model = model
        self.rated_w = rated_w
        self.layout = LAYOUTS[model]
        self._day = day
        self._start_second = start_second
        self._speed = speed
        self._now_s = 0.0
        self._delivered_ws = start_wh * 3600.0
        self._drawn_ws = 0.0

    def power_w(self, now_s: float) -> float:
        """Power at a time; a panel on a DC meter never draws any."""
        share = self._day.share(self._start_second + now_s * self._speed)
        return self.rated_w * (max(share, 0.0) if self.model == "pzem-003" else share)

    def reset_energy(self) -> None:
        """Set the energy registers to zero, as anybody on the bus can (PZEM: function 0x42)."""
        self._delivered_ws = self._drawn_ws = 0.0

    def measure(self, now_s: float) -> Measurement:
        """Let the energy registers follow the power until now, and return what the meter shows."""
        while self._now_s < now_s:
            until_s = min(now_s, self._now_s + LONGEST_STEP_S)
            mean_w = (self.power_w(self._now_s) + self.power_w(until_s)) / 2
            worked_ws = mean_w * (until_s - self._now_s)
            if worked_ws >= 0:
                self._delivered_ws += worked_ws
            else:
                self._drawn_ws -= worked_ws
            self._now_s = until_s
        return Measurement(self.power_w(self._now_s), self._drawn_ws / 3600, self._delivered_ws / 3600)

    def registers(self, now_s: float) -> dict[int, int]:
        """The input registers by address as they are now; those that are not listed are 0."""
        return self.layout.fill(self.measure(now_s), float(self.rated_w))


def _low_word_first(value: int) -> tuple[int, int]:
    return value & 0xFFFF, value >> 16


def _float_registers(value: float) -> tuple[int, int]:
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def _fill_pzem_003(shown: Measurement, rated_w: float) -> dict[int, int]:
    """Eight registers: 0.01 V, 0.01 A, 0.1 W and 1 Wh (32 bits, low word first), two alarms that never sound."""
    voltage_v = 17.0 + 1.5 * shown.power_w / rated_w  # a 12 V panel at its maximum power point
    values = [
        round(voltage_v * 100),
        round(shown.power_w / voltage_v * 100),
        *_low_word_first(round(shown.power_w * 10)),
        *_low_word_first(int(shown.export_wh)),
    ]
    return dict(enumerate(values))


def _fill_sdm630(shown: Measurement, rated_w: float) -> dict[int, int]:
    """Three equal phases; produced power is negative and counted as export; energy in steps of 10 Wh."""
    phase_w = -shown.power_w / 3
    voltage_v = 230.0 + 3.0 * shown.power_w / rated_w
    current_a = abs(phase_w) / (voltage_v * POWER_FACTOR)
    values: dict[int, float] = {
        **dict.fromkeys((0x00, 0x02, 0x04, 0x2A), voltage_v),
        **dict.fromkeys((0x06, 0x08, 0x0A, 0x2E), current_a),
        **dict.fromkeys((0x0C, 0x0E, 0x10), phase_w),
        0x30: 3 * current_a,
        0x34: -shown.power_w,
        0x46: 50.0,
        0x48: _kwh(shown.import_wh),
        0x4A: _kwh(shown.export_wh),
        **dict.fromkeys((0x15A, 0x15C, 0x15E), _kwh(shown.import_wh / 3)),
        **dict.fromkeys((0x160, 0x162, 0x164), _kwh(shown.export_wh / 3)),
    }
    registers: dict[int, int] = {}
    for address, value in values.items():
        registers[address], registers[address + 1] = _float_registers(value)
    return registers


def _kwh(energy_wh: float) -> float:
    return int(energy_wh / 10) / 100


LAYOUTS: dict[Model, Layout] = {
    "pzem-003": Layout(((0x0000, 8),), _fill_pzem_003),
    "sdm630": Layout(((0x0000, 0x50), (0x0156, 0x16)), _fill_sdm630),
}
"""Models by name."""
