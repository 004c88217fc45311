"""Settings of the meter-gateway (example: services/meter-gateway/README.md)."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.identifiers import check_member_id
from minervas_core.meter_maps.meter_map import Parity
from minervas_core.metering import Name
from minervas_meter_gateway.usb_adapters import PREFIX, is_usb_ids
from minervas_runtime.settings import NodeSettings, SettingsError, load_settings


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections below."""


class PortSettings(Section, frozen=True, kw_only=True):
    """One RS-485 bus. What is not given is taken from the maps of its meters."""

    name: Name
    device: str
    """Absolute path of a device, ids of its USB adapter like ``usb:1a86:7523`` (with ``:serial-number`` if there are
    several), or a pyserial URL such as ``socket://10.0.0.7:8899``."""
    baud: Annotated[int, msgspec.Meta(ge=300, le=4_000_000)] | None = None
    parity: Parity | None = None
    stop_bits: Literal[1, 2] | None = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=20, le=15_000)] | None = None
    """How long a meter may take for its whole reply."""
    local_echo: bool = False
    """Whether the adapter hears what it sends."""


class ChannelSettings(Section, frozen=True, kw_only=True):
    """One measured panel, string or phase."""

    name: Name
    input: str = ""
    """Which input of the map; not needed if the map has only one."""
    rated_w: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    """Rated power: what the channel can deliver at most."""
    sign: Literal[1, -1] = 1
    """-1 turns the power's sign around, for a meter that is wired the other way."""


class MeterSettings(Section, frozen=True, kw_only=True):
    """One meter."""

    id: Name
    port: Name
    address: Annotated[int, msgspec.Meta(ge=1, le=247)]
    map: str
    register_step_wh: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    """Step of the energy register, if it is another than the map says."""
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=2_000)] | None = None
    """Silence before it is asked after another meter, if it is another than the map says."""
    channels: Annotated[list[ChannelSettings], msgspec.Meta(min_length=1)]


class SamplingSettings(Section, frozen=True, kw_only=True):
    """How often meters are read."""

    interval_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 1_000


class MapSettings(Section, frozen=True, kw_only=True):
    """Where further maps are."""

    directory: Path | None = None


class SpoolSettings(Section, frozen=True, kw_only=True):
    """How many readings wait for the ledger."""

    max_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 512
    """Size of the spool at which new readings are refused; a channel has about 30 MB a day."""
    max_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 60
    """Age of the oldest reading in the spool at which new ones are refused."""


class ClockSettings(Section, frozen=True, kw_only=True):
    """When the clock counts as right."""

    require_ntp: bool = True
    """Whether the kernel must say that its clock is synchronised. The ledger's tip is looked at in any case."""


class HomeAssistantSettings(Section, frozen=True, kw_only=True):
    """What Home Assistant finds by itself."""

    discovery: bool = True
    """Whether every channel is announced; switched off, what was announced is taken back."""


class GatewaySettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a meter-gateway is told from outside."""

    service: Annotated[str, msgspec.Meta(pattern=r"^meter-gateway(-[1-9][0-9]{0,2})?\Z")] = "meter-gateway"
    """Which of the member's gateways it is: ``meter-gateway``, ``meter-gateway-2``, ..."""
    ports: Annotated[list[PortSettings], msgspec.Meta(min_length=1)]
    meters: Annotated[list[MeterSettings], msgspec.Meta(min_length=1)]
    sampling: SamplingSettings = SamplingSettings()
    maps: MapSettings = MapSettings()
    spool: SpoolSettings = SpoolSettings()
    clock: ClockSettings = ClockSettings()
    home_assistant: HomeAssistantSettings = HomeAssistantSettings()


def load_gateway_settings(path: Path) -> GatewaySettings:
    """Read and check the settings file; what concerns maps is checked by `bus_plan.plan_ports`.

    Raises:
        SettingsError: for the first mistake, naming file, key and what to do.
    """
    settings = load_settings(path, GatewaySettings)
    for problem in settings_problems(settings, path):
        raise problem
    return settings


def settings_problems(settings: GatewaySettings, path: Path) -> Iterator[SettingsError]:
    """What is wrong with settings of the right shape, apart from maps.

    Args:
        settings: of the gateway.
        path: of the file, for messages.
    """
    try:
        check_member_id(settings.member)
    except MinervasError as error:
        yield SettingsError(error.message, file=path, key="member", advice="use the id you applied with")
    yield from _repeated(path, "ports.name", (port.name for port in settings.ports))
    yield from _repeated(path, "ports.device", (port.device for port in settings.ports))
    yield from _repeated(path, "meters.id", (meter.id for meter in settings.meters))
    yield from _repeated(path, "meters.address", (f"{meter.address} on {meter.port}" for meter in settings.meters))
    for port in settings.ports:
        yield from _device_problems(path, port)
    for meter in settings.meters:
        yield from _repeated(path, f"meters.channels.name of {meter.id}", (channel.name for channel in meter.channels))
        if meter.port not in {port.name for port in settings.ports}:
            yield SettingsError(
                f"meter {meter.id} is on a port {meter.port} that does not exist",
                file=path,
                key="meters.port",
                advice="add it to [[ports]]",
            )


def _device_problems(path: Path, port: PortSettings) -> Iterator[SettingsError]:
    key = f"ports.device of {port.name}"
    if port.device.startswith(PREFIX):
        if not is_usb_ids(port.device):
            advice = "write it like usb:1a86:7523 or usb:0403:6001:A50285BI"
            yield SettingsError(f"{port.device} are no USB ids", file=path, key=key, advice=advice)
    elif not port.device.startswith("/") and "://" not in port.device:
        yield SettingsError(
            f"{port.device} is neither an absolute path nor a URL",
            file=path,
            key=key,
            advice="write it like /dev/ttyUSB0, usb:1a86:7523 or socket://10.0.0.7:8899",
        )


def _repeated(path: Path, key: str, names: Iterable[str]) -> Iterator[SettingsError]:
    for name, count in collections.Counter(names).items():
        if count > 1:
            yield SettingsError(f"{name} stands there twice", file=path, key=key, advice="give each its own")
