"""One bus: the cable, the slaves on it, and what goes wrong."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from minervas_devnet.simulated_bus.converter import Converter
from minervas_devnet.simulated_bus.faults import Faults
from minervas_devnet.simulated_bus.meters import INPUT_REGISTERS, Meter
from minervas_devnet.simulated_bus.settings import BusSettings
from minervas_devnet.simulated_bus.solar_day import SolarDay
from minervas_devnet.simulated_bus.wire import Wire

REQUEST_BYTES = 8
"""Of the functions that read registers."""


class Bus:
    """A running bus; made on the event loop.

    Args:
        settings: of this bus.
        day: what the sun does.
        start_second: second of that day at which the bus starts.
        speed: how many seconds of the day pass in one real second.
        seed: of the faults that come by chance.
    """

    def __init__(self, settings: BusSettings, *, day: SolarDay, start_second: float, speed: float, seed: int) -> None:
        began_s = time.monotonic()
        self.name = settings.name
        self.wire = Wire(settings.link, settings.baud)
        chance = random.Random(f"{seed}/{settings.name}")  # noqa: S311  # noise on a wire, not a key
        self.converter = Converter(settings.link, settings.listen) if settings.listen else None
        self.faults = Faults(settings.fault_shares(), chance)
        self.meters = {
            device.address: Meter(
                address=device.address,
                model=device.model,
                rated_w=device.rated_w,
                start_wh=device.start_wh,
                day=day,
                start_second=start_second,
                speed=speed,
            )
            for device in settings.devices
        }
        self._heard = b""
        self._now_s: Callable[[], float] = lambda: time.monotonic() - began_s
        self._server = ModbusSerialServer(
            [_nobody(), *(_slave(meter, self._now_s) for meter in self.meters.values())],
            port=self.wire.slave_device,
            baudrate=settings.baud,
            trace_packet=self._trace,
        )

    async def start(self) -> None:
        """Answer from now on."""
        await self._server.serve_forever(background=True)
        if self.converter:
            await self.converter.start()

    async def stop(self) -> None:
        """Take the bus away."""
        if self.converter:
            await self.converter.stop()
        await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has no annotation here
        self.wire.close()

    def status(self) -> dict[str, Any]:
        """What the meters show and what happened so far, for tests and people."""
        return {
            "present": self.wire.present,
            "injected": dict(self.faults.injected),
            "meters": {str(address): self._meter_status(meter) for address, meter in self.meters.items()},
        }

    def _meter_status(self, meter: Meter) -> dict[str, Any]:
        shown = meter.measure(self._now_s())
        return {
            "model": meter.model,
            "power_w": round(shown.power_w, 3),
            "import_wh": round(shown.import_wh, 3),
            "export_wh": round(shown.export_wh, 3),
            "answered": self.faults.answered.get(meter.address, 0),
            "silent": meter.address in self.faults.silent,
        }

    def _trace(self, sending: bool, frame: bytes) -> bytes:  # noqa: FBT001  # pymodbus calls it by position
        """Let the faults have their way with what a slave sends; an address without a slave stays silent."""
        if not sending:
            self._heard = (self._heard + frame)[-REQUEST_BYTES:]
            return frame
        return self.faults.apply(frame, self._heard) if frame and frame[0] in self.meters else b""


def _slave(meter: Meter, now_s: Callable[[], float]) -> SimDevice:
    """The Modbus slave of a meter: its registers are made afresh for each request."""

    async def refresh(
        function: int, first: int, _address: int, _count: int, registers: list[int], _values: object
    ) -> ExcCodes | None:
        if function != INPUT_REGISTERS:
            return ExcCodes.ILLEGAL_FUNCTION
        for address, value in meter.registers(now_s()).items():
            registers[address - first] = value
        return None

    blocks = [
        SimData(first, count=count, values=0, datatype=DataType.REGISTERS) for first, count in meter.layout.ranges
    ]
    return SimDevice(meter.address, simdata=blocks, action=refresh)


def _nobody() -> SimDevice:
    """What pymodbus asks when there is no slave with an address; nothing of its answers reaches the wire."""
    return SimDevice(0, simdata=[SimData(0, count=1, values=0, datatype=DataType.REGISTERS)])
