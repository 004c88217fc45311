"""What is to be read where: settings and maps put together, with everything decided that a port's thread needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from minervas_core.meter_maps.meter_map import Block, Input, MeterMap, Parity
from minervas_core.meter_maps.modbus_frames import REQUEST_BYTES, reply_bytes
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
    """The longest of its meters."""
    local_echo: bool

    @property
    def line(self) -> str:
        """As people write it: ``9600 8N2``."""
        return line_text(self.baud, self.parity, self.stop_bits)

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
    pause_ms: int
    """Silence that it needs after traffic with another meter."""
    timeout_ms: int
    """How long it may take for its whole reply."""
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
        """Estimated time to read every meter once: on the wire, for the replies to begin, and pauses."""
        exchanges = [block for meter in self.meters for block in meter.blocks.values()]
        characters = sum(REQUEST_BYTES + reply_bytes(block.count) + 2 * SILENT_CHARACTERS for block in exchanges)
        pauses_ms = sum(meter.pause_ms for meter in self.meters) if len(self.meters) > 1 else 0
        return round(characters * self.serial.character_ms + TURNAROUND_MS * len(exchanges)) + pauses_ms


def line_text(baud: int, parity: Parity, stop_bits: int) -> str:
    """Serial settings as people write them: ``9600 8N2``."""
    return f"{baud} 8{parity[0].upper()}{stop_bits}"


def plan_ports(settings: GatewaySettings, maps: Mapping[str, MeterMap], file: Path) -> tuple[PortPlan, ...]:
    """Put settings and maps together.

    Args:
        settings: of the gateway.
        maps: by id.
        file: of the settings, for messages.

    Raises:
        SettingsError: for an unknown map or input, or serial settings that contradict each other; the first one.
    """
    planner = Planner(settings, maps, file)
    ports = planner.plan()
    if planner.problems:
        raise planner.problems[0]
    return ports


class Planner:
    """Puts settings and maps together, and collects whatever does not fit.

    Args:
        settings: of the gateway.
        maps: by id.
        file: of the settings, for messages.
        broken_maps: maps whose files are unusable, which is said elsewhere.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        maps: Mapping[str, MeterMap],
        file: Path,
        broken_maps: Collection[str] = (),
    ) -> None:
        self.problems: list[SettingsError] = []
        """What is wrong; what has a problem is missing in the plan."""
        self._settings = settings
        self._maps = maps
        self._file = file
        self._broken_maps = broken_maps

    def plan(self) -> tuple[PortPlan, ...]:
        """The plan of everything that fits."""
        plans = []
        for port in self._settings.ports:
            wanted = [meter for meter in self._settings.meters if meter.port == port.name]
            if not wanted:
                self._note(f"port {port.name} has no meter", "ports", "remove it or add a meter")
            meters = tuple(plan for plan in (self._meter(meter, port) for meter in wanted) if plan is not None)
            if meters:
                plans.append(PortPlan(port.name, self._serial(port, meters), meters))
        return tuple(plans)

    def _meter(self, meter: MeterSettings, port: PortSettings) -> MeterPlan | None:
        used = self._maps.get(meter.map)
        if used is None and meter.map in self._broken_maps:
            return None
        if used is None:
            self._note(f"there is no map {meter.map}", f"meters.map of {meter.id}", _known(self._maps))
            return None
        found = (self._channel(channel, meter, used) for channel in meter.channels)
        channels = tuple(channel for channel in found if channel is not None)
        needed = {name for channel in channels for name in channel.blocks}
        manners = used.content.bus
        return MeterPlan(
            id=meter.id,
            address=meter.address,
            map=used,
            register_step_wh=meter.register_step_wh or used.content.register_step_wh,
            pause_ms=manners.pause_ms if meter.pause_ms is None else meter.pause_ms,
            timeout_ms=port.timeout_ms or manners.timeout_ms,
            blocks={name: block for name, block in used.content.blocks.items() if name in needed},
            channels=channels,
        )

    def _channel(self, channel: ChannelSettings, meter: MeterSettings, used: MeterMap) -> ChannelPlan | None:
        inputs = used.content.inputs
        name = channel.input or (next(iter(inputs)) if len(inputs) == 1 else "")
        if name not in inputs:
            problem = f"map {used.id} has no input {name}" if name else f"map {used.id} has several inputs"
            self._note(problem, f"meters.channels.input of {meter.id}.{channel.name}", _known(inputs))
            return None
        return ChannelPlan(channel.name, name, inputs[name], used.blocks_of(name), channel.rated_w, channel.sign)

    def _serial(self, port: PortSettings, meters: tuple[MeterPlan, ...]) -> SerialPlan:
        made_for = [meter.map.content.serial for meter in meters]
        return SerialPlan(
            device=port.device,
            baud=self._agreed(port, "baud", port.baud, [each.baud for each in made_for]),
            parity=self._agreed(port, "parity", port.parity, [each.parity for each in made_for]),
            stop_bits=self._agreed(port, "stop_bits", port.stop_bits, [int(each.stop_bits) for each in made_for]),
            timeout_ms=max(meter.timeout_ms for meter in meters),
            local_echo=port.local_echo,
        )

    def _agreed(self, port: PortSettings, key: str, given: T | None, defaults: list[T]) -> T:
        """What the settings say, or what all meters are made for."""
        if given is None and len(set(defaults)) > 1:
            self._note(
                f"the meters of port {port.name} are made for different ones: {sorted(set(map(str, defaults)))}",
                f"ports.{key}",
                "set all meters to the same and write it here",
            )
        return defaults[0] if given is None else given

    def _note(self, problem: str, key: str, advice: str) -> None:
        self.problems.append(SettingsError(problem, file=self._file, key=key, advice=advice))


def _known(names: Mapping[str, object]) -> str:
    return f"known are: {', '.join(sorted(names))}"
