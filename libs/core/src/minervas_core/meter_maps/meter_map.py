"""Meter maps: data files that say where a model keeps its values (format: services/meter-gateway/README.md).

What a map must hold beyond the shape of its file is checked in the gateway's ``map_files.py``.

Shipped maps are in ``minervas_runtime/meter_maps/``; a user adds one by putting a file into the directory that the
settings name, or replaces a shipped one by a file of the same name. The name of the file is the name of the map.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Parity = Literal["none", "even", "odd"]
Register = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Scale = Annotated[list[int], msgspec.Meta(min_length=2, max_length=2)]

MAX_BLOCK_REGISTERS = 125
"""What one Modbus read can bring."""

WIDTHS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2}
"""Registers that a value of each type takes."""


class SerialDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model's serial line is set when it leaves the factory."""

    baud: Annotated[int, msgspec.Meta(ge=300, le=4_000_000)]
    parity: Parity
    stop_bits: Literal[1, 2]


class BusManners(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model needs from whoever shares a bus with it."""

    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=2_000)] = 0
    """Silence on the bus before it is asked, when another meter was asked before it."""
    connect_pause_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """Silence after the port was opened."""
    timeout_ms: Annotated[int, msgspec.Meta(ge=20, le=15_000)] = 200
    """How long it may take for its whole reply."""
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_REGISTERS)] = MAX_BLOCK_REGISTERS
    """The most that it gives in one read."""


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registers that are read at once."""

    function: Literal[3, 4]
    """3 reads holding registers, 4 input registers."""
    start: Register
    """Wire address, counted from 0; with `models`, counted from the model's first register."""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_REGISTERS)]
    models: list[Annotated[int, msgspec.Meta(ge=1, le=0xFFFE)]] = []
    """SunSpec models of which the first that the meter has is read; empty for a meter with fixed addresses."""

    def holds(self, field: Field) -> bool:
        """Whether a field, with its power of ten if it has one, is part of it."""
        return self._holds(field.register, field.width) and (
            field.scale_register is None or self._holds(field.scale_register, 1)
        )

    def _holds(self, register: int, width: int) -> bool:
        return self.start <= register and register + width <= self.start + self.count


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value."""

    register: Register
    """Wire address, counted from 0."""
    type: Literal["u16", "i16", "u32", "i32", "f32"]
    words: Literal["high_first", "low_first"] = "high_first"
    """Which of two registers comes first."""
    scale: Scale
    """Numerator and denominator: raw value x scale is in mW, mV, mA or mWh."""
    scale_register: Register | None = None
    """Where the meter itself keeps a power of ten (i16; 0x8000: none) that the value is multiplied with as well."""
    sentinels: list[Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]] = []
    """Raw register contents that mean "no value". A float that is no number always means that."""

    @property
    def width(self) -> int:
        """Registers it takes."""
        return WIDTHS[self.type]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured of one panel, string, phase or direction; a channel of the settings is one input."""

    power: Field
    energy: Field
    voltage: Field | None = None
    current: Field | None = None

    def fields(self) -> dict[str, Field]:
        """Its fields by quantity."""
        named = {"power": self.power, "energy": self.energy, "voltage": self.voltage, "current": self.current}
        return {quantity: field for quantity, field in named.items() if field is not None}


class MapFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of a map file."""

    format: Literal[1]
    name: Annotated[str, msgspec.Meta(min_length=1)]
    """Of the model, for people."""
    source: Annotated[str, msgspec.Meta(min_length=1)]
    """Where the registers are documented."""
    register_step_wh: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    """Step in which the energy register counts."""
    register_end_wh: Annotated[int, msgspec.Meta(ge=1, le=10**13)] | None = None
    """The most that the energy register can show before it starts anew at 0; more was not counted but garbled."""
    serial: SerialDefaults
    bus: BusManners = BusManners()
    blocks: Annotated[dict[str, Block], msgspec.Meta(min_length=1)]
    inputs: Annotated[dict[str, Input], msgspec.Meta(min_length=1)]


class MeterMap(msgspec.Struct, frozen=True):
    """A checked map."""

    id: str
    """Name of its file, without the ending."""
    content: MapFile

    shipped: bool = False
    """Whether it comes with the gateway, and not from the user's directory."""

    def block_of(self, field: Field) -> str:
        """Name of the (first) block that holds a field."""
        return next(name for name, block in self.content.blocks.items() if block.holds(field))

    def blocks_of(self, input_name: str) -> tuple[str, ...]:
        """Names of the blocks that one input needs, that of its energy register first."""
        fields = self.content.inputs[input_name].fields()
        ordered = [fields.pop("energy"), *fields.values()]
        return tuple(dict.fromkeys(self.block_of(field) for field in ordered))
