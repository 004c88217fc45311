"""Settings of a process that simulates buses (example: devnet/src/minervas_devnet/simulated_bus/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from minervas_devnet.simulated_bus.faults import Fault
from minervas_devnet.simulated_bus.meters import Model
from minervas_devnet.simulated_bus.solar_day import second_of_day
from minervas_runtime.settings import HealthSettings, LogSettings, SettingsError, load_settings

PerMille = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One meter on a bus."""

    model: Model
    address: Annotated[int, msgspec.Meta(ge=1, le=247)]
    rated_w: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    """Power at a share of 1 of the measured day."""
    start_wh: Annotated[int, msgspec.Meta(ge=0, le=9_000_000)] = 0
    """What its energy register shows at the start."""


class BusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bus."""

    name: str
    link: Path
    """Where the gateway finds its device: a symbolic link to a pseudo terminal."""
    listen: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.:-]*:[0-9]{1,5}\Z")] | None = None
    """``host:port`` where it is reached by TCP too, as through an RS-485/Ethernet converter."""
    devices: Annotated[list[DeviceSettings], msgspec.Meta(min_length=1)]
    baud: Annotated[int, msgspec.Meta(ge=300, le=4_000_000)] = 9_600
    """Speed at which characters travel."""
    drop_per_mille: PerMille = 0
    bad_crc_per_mille: PerMille = 0

    def fault_shares(self) -> dict[Fault, int]:
        """Share of the replies that suffer each kind of fault by chance, in per mille."""
        return {"drop": self.drop_per_mille, "bad_crc": self.bad_crc_per_mille}


class SimulationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the process is told."""

    start_time: str = "10:00"
    """Time of the measured day at which it begins; 10:00 is bright."""
    speed: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Seconds of the measured day in one real second. Energy is always integrated over real seconds."""
    seed: int = 0
    """Of the faults that come by chance."""
    control: Path | None = None
    """Unix socket that takes orders; none if not given."""
    buses: Annotated[list[BusSettings], msgspec.Meta(min_length=1)]
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()


def load_simulation_settings(path: Path) -> SimulationSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    settings = load_settings(path, SimulationSettings)
    try:
        second_of_day(settings.start_time)
    except ValueError as error:
        raise SettingsError(str(error), file=path, key="start_time", advice="write it like 10:00") from error
    if len({bus.name for bus in settings.buses}) != len(settings.buses):
        raise SettingsError("two buses have the same name", file=path, key="buses", advice="give each its own")
    for bus in settings.buses:
        if len({device.address for device in bus.devices}) != len(bus.devices):
            raise SettingsError(
                f"two devices of bus {bus.name} have the same address",
                file=path,
                key="buses.devices.address",
                advice="give each its own",
            )
    return settings
