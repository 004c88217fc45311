"""Fixture `bus_rack`: RS-485 buses on pseudo terminals, on the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from minervas_devnet.simulated_bus.bus import Bus
from minervas_devnet.simulated_bus.meters import Model
from minervas_devnet.simulated_bus.settings import BusSettings, DeviceSettings
from minervas_devnet.simulated_bus.solar_day import measured_day
from tests.support.seed import SEED

NOON_S = 12 * 3600
FAST_BAUD = 115_200


class BusRack:
    """Makes buses and takes them away at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._buses: list[Bus] = []

    async def add(
        self, name: str, devices: dict[int, tuple[Model, int]], *, start_wh: int = 0, baud: int = FAST_BAUD
    ) -> Bus:
        """Start a bus at noon of the measured day.

        Args:
            name: of the bus; its device is ``<name>.tty`` in the test's directory.
            devices: model and rated power in W, by slave address.
            start_wh: what the energy registers show at the start.
            baud: speed of the wire.
        """
        settings = BusSettings(
            name=name,
            link=self.device(name),
            baud=baud,
            devices=[
                DeviceSettings(model=model, address=address, rated_w=rated_w, start_wh=start_wh)
                for address, (model, rated_w) in devices.items()
            ],
        )
        bus = Bus(settings, day=measured_day(), start_second=NOON_S, speed=1.0, seed=SEED)
        await bus.start()
        self._buses.append(bus)
        return bus

    def device(self, name: str) -> Path:
        """What the gateway opens."""
        return self._directory / f"{name}.tty"

    def bus(self, name: str) -> Bus:
        """A running bus by name."""
        return next(bus for bus in self._buses if bus.name == name)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.stop()


@pytest_asyncio.fixture
async def bus_rack(tmp_path: Path) -> AsyncIterator[BusRack]:
    """Buses for one test."""
    rack = BusRack(tmp_path)
    yield rack
    await rack.close()
