"""What is to be read where: settings and maps put together, with everything decided that a port's thread needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from minervas_meter_gateway.meter_map import Block, Input, MeterMap, Parity
from minervas_meter_gateway.modbus_frames import REQUEST_BYTES, reply_bytes
from minervas_meter_gateway.settings import ChannelSettings, GatewaySettings, MeterSettings, PortSettings
from minervas_runtime.settings import SettingsError

T = TypeVar("T")

SILENT_CHARACTERS = 3.5
"""Silence between two frames (Modbus over serial line, V1.02, 2.5.1.1)."""
TURNAROUND_MS = 10
"""What a meter usually takes to begin its reply; used only to estimate."""


@dataclass(frozen=True, slots=True)
class SerialPlan:
    """How a port is opened."""

    device: str
    baud: int
    parity: Parity
    stop_bits: int
    timeout_ms: int
    local_echo: bool

    @property
    def character_ms(self) -> float:
        """Time of one character on the wire: start bit, 8 data bits, parity bit if any, stop bits."""
        bits = 9 + (self.parity != "none") + self.stop_bits
        return bits * 1000 / self.baud


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One channel of a meter."""

    name: str
    input_name: str
    values: Input
    blocks: tuple[str, ...]
    """Blocks it needs, that of the energy register first."""
    rated_w: int
    sign: Literal[1, -1]


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """One meter on a port."""

    id: str
    address: int
    map: MeterMap
    register_step_wh: int
    blocks: Mapping[str, Block]
    """Blocks that at least one channel needs."""
    channels: tuple[ChannelPlan, ...]


@dataclass(frozen=True, slots=True)
class PortPlan:
    """One port and its meters."""

    name: str
    serial: SerialPlan
    meters: tuple[MeterPlan, ...]

    @property
    def wire_ms(self) -> int:
        """Estimated time on the wire to read every meter once."""
        exchanges = [block for meter in self.meters for block in meter.blocks.values()]
        characters = sum(REQUEST_BYTES + reply_bytes(block.count) + 2 * SILENT_CHARACTERS for block in exchanges)
        return round(characters * self.serial.character_ms + TURNAROUND_MS * len(exchanges))


def plan_ports(settings: GatewaySettings, maps: Mapping[str, MeterMap], file: Path) -> tuple[PortPlan, ...]:
    """Put settings and maps together.

    Args:
        settings: of the gateway.
        maps: by id.
        file: of the settings, for messages.

    Raises:
        SettingsError: for an unknown map or input, or serial settings that contradict each other.
    """
    plans = []
    for port in settings.ports:
        meters = tuple(_plan_meter(meter, maps, file) for meter in settings.meters if meter.port == port.name)
        if not meters:
            raise SettingsError(
                f"port {port.name} has no meter", file=file, key="ports", advice="remove it or add a meter"
            )
        plans.append(PortPlan(port.name, _plan_serial(port, meters, file), meters))
    return tuple(plans)


def _plan_meter(meter: MeterSettings, maps: Mapping[str, MeterMap], file: Path) -> MeterPlan:
    used = maps.get(meter.map)
    if used is None:
        raise SettingsError(
            f"there is no map {meter.map}", file=file, key=f"meters.map of {meter.id}", advice=_known(maps)
        )
    channels = tuple(_plan_channel(channel, meter, used, file) for channel in meter.channels)
    needed = {name for channel in channels for name in channel.blocks}
    return MeterPlan(
        id=meter.id,
        address=meter.address,
        map=used,
        register_step_wh=meter.register_step_wh or used.content.register_step_wh,
        blocks={name: block for name, block in used.content.blocks.items() if name in needed},
        channels=channels,
    )


def _plan_channel(channel: ChannelSettings, meter: MeterSettings, used: MeterMap, file: Path) -> ChannelPlan:
    inputs = used.content.inputs
    name = channel.input or (next(iter(inputs)) if len(inputs) == 1 else "")
    if name not in inputs:
        problem = f"map {used.id} has no input {name}" if name else f"map {used.id} has several inputs"
        raise SettingsError(
            problem, file=file, key=f"meters.channels.input of {meter.id}.{channel.name}", advice=_known(inputs)
        )
    return ChannelPlan(channel.name, name, inputs[name], used.blocks_of(name), channel.rated_w, channel.sign)


def _plan_serial(port: PortSettings, meters: tuple[MeterPlan, ...], file: Path) -> SerialPlan:
    def agreed(key: str, given: T | None, defaults: set[T]) -> T:
        if given is not None:
            return given
        if len(defaults) > 1:
            raise SettingsError(
                f"the meters of port {port.name} are made for different ones: {sorted(map(str, defaults))}",
                file=file,
                key=f"ports.{key}",
                advice="set all meters to the same and write it here",
            )
        return defaults.pop()

    made_for = [meter.map.content.serial for meter in meters]
    return SerialPlan(
        device=port.device,
        baud=agreed("baud", port.baud, {each.baud for each in made_for}),
        parity=agreed("parity", port.parity, {each.parity for each in made_for}),
        stop_bits=agreed("stop_bits", port.stop_bits, {int(each.stop_bits) for each in made_for}),
        timeout_ms=port.timeout_ms,
        local_echo=port.local_echo,
    )


def _known(names: Mapping[str, object]) -> str:
    return f"known are: {', '.join(sorted(names))}"
