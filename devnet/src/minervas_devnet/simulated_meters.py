"""A member's RS-485 bus and meters as a process of their own, and what its meter-gateway is told about them.

The gateway gets a serial device and the meters' addresses, as on any roof; it cannot tell that they are simulated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from minervas_devnet.processes import ManagedProcess
from minervas_devnet.simulated_bus.control import Appear, BusControl, Order, Speak
from minervas_devnet.site import MeteredChannel, Site
from minervas_devnet.toml_text import Value, as_toml

BUS = "roof"
READ_TIMEOUT_MS = 300
"""How long the gateway waits for a reply: longer than on a real bus, because the simulated slave shares our cores."""
START_TIMEOUT_S = 60.0

INPUTS = {"pzem-003": "dc", "sdm630": "export"}
"""Input of the meter map on which a model counts what panels deliver."""


class SimulatedMeters:
    """One member's bus below its node's directory.

    Args:
        member: whose.
        directory: for settings, device and socket; made by `write_settings`.
        log_dir: where the process gets its log file.
        site: what is metered.
    """

    def __init__(self, member: str, directory: Path, log_dir: Path, site: Site) -> None:
        self.site = site
        self.process = ManagedProcess(
            f"{member}.meters",
            [sys.executable, "-m", "minervas_devnet.simulated_bus", "--config", directory / "buses.toml"],
            log_dir / f"{member}.meters.log",
            directory=log_dir,
        )
        self._directory = directory
        self._control = BusControl(directory / "bus.sock")

    @property
    def device(self) -> Path:
        """What the gateway opens."""
        return self._directory / f"{BUS}.tty"

    def write_settings(self) -> None:
        """Make the directory and the settings of the simulation."""
        self._directory.mkdir(mode=0o700)
        bus: dict[str, Value] = {
            "name": BUS,
            "link": self.device.name,
            "baud": self.site.baud,
            "drop_per_mille": self.site.drop_per_mille,
            "bad_crc_per_mille": self.site.bad_crc_per_mille,
            "devices": [
                {"model": each.model, "address": each.address, "rated_w": each.rated_w, "start_wh": each.start_wh}
                for each in self.site.channels
            ],
        }
        text = as_toml({"start_time": self.site.start_time, "control": "bus.sock", "buses": [bus]})
        (self._directory / "buses.toml").write_text(text, encoding="utf-8")

    def wait_ready(self) -> None:
        """Wait until the device is there and orders are taken."""
        self.process.wait_for(
            (self._directory / "bus.sock").exists, timeout_s=START_TIMEOUT_S, awaited="its control socket"
        )

    def gateway_settings(self) -> dict[str, Value]:
        """Ports and meters for the gateway's settings file."""
        return {
            "ports": [{"name": BUS, "device": self.device, "baud": self.site.baud, "timeout_ms": READ_TIMEOUT_MS}],
            "meters": [_meter_settings(each) for each in self.site.channels],
            "sampling": {"interval_ms": self.site.interval_ms},
            "clock": {"require_ntp": False},  # one machine, one clock
        }

    def give(self, order: Order) -> None:
        """Give the simulation an order: inject a fault, take the device away, ..."""
        self._control.give(order)

    def repair(self) -> None:
        """Put the device back and let all slaves speak, whatever orders came before."""
        self.give(Appear(bus=BUS))
        for each in self.site.channels:
            self.give(Speak(bus=BUS, address=each.address))

    def registers_wh(self) -> dict[tuple[str, str], float]:
        """What the energy registers show now, by meter and channel; finer than the meters' resolution."""
        shown = self._meters()
        return {each.key: shown[str(each.address)]["export_wh"] for each in self.site.channels}

    def answered(self) -> dict[tuple[str, str], int]:
        """Replies that went out unharmed, by meter and channel."""
        shown = self._meters()
        return {each.key: shown[str(each.address)]["answered"] for each in self.site.channels}

    def injected(self) -> dict[str, int]:
        """Replies that suffered a fault, by kind."""
        return dict(self._control.status(BUS)["injected"])

    def _meters(self) -> dict[str, Any]:
        meters: dict[str, Any] = self._control.status(BUS)["meters"]
        return meters


def _meter_settings(each: MeteredChannel) -> dict[str, Value]:
    channel: dict[str, Value] = {"name": each.channel, "input": INPUTS[each.model], "rated_w": each.rated_w}
    return {"id": each.meter, "port": BUS, "address": each.address, "map": each.model, "channels": [channel]}
