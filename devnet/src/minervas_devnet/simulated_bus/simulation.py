"""The simulation as a running process: all buses of its settings, and the socket that takes orders."""

from __future__ import annotations

import asyncio
import logging

from minervas_devnet.simulated_bus.bus import Bus
from minervas_devnet.simulated_bus.control import ControlServer
from minervas_devnet.simulated_bus.settings import SimulationSettings
from minervas_devnet.simulated_bus.solar_day import measured_day, second_of_day
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)


async def run_simulation(context: ServiceContext[SimulationSettings]) -> None:
    """Simulate until cancelled."""
    logging.getLogger("pymodbus").setLevel(logging.ERROR)  # it notes every request
    settings = context.settings
    day = measured_day()
    start_second = second_of_day(settings.start_time)
    buses = {
        each.name: Bus(each, day=day, start_second=start_second, speed=settings.speed, seed=settings.seed)
        for each in settings.buses
    }
    control = ControlServer(settings.control, buses) if settings.control else None
    try:
        for bus in buses.values():
            await bus.start()
        if control:
            await control.start()
        context.status["status"] = "ok"
        log.info("buses_ready", extra={"fields": {"buses": sorted(buses)}})
        await asyncio.Event().wait()
    finally:
        if control:
            await control.stop()
        for bus in buses.values():
            await bus.stop()
