"""Meter maps: data files that say where a model keeps its values (format: services/meter-gateway/README.md).

Shipped maps are in ``maps/``; a user adds one by putting a file into the directory that the settings name, or replaces
a shipped one by a file of the same name. The name of the file is the name of the map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from minervas_runtime.settings import SettingsError, load_settings

Parity = Literal["none", "even", "odd"]
Register = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Scale = Annotated[list[int], msgspec.Meta(min_length=2, max_length=2)]

MAX_BLOCK_REGISTERS = 125
"""What one Modbus read can bring."""

WIDTHS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2}
"""Registers that a value of each type takes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}\Z")


class SerialDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model's serial line is set when it leaves the factory."""

    baud: Annotated[int, msgspec.Meta(ge=300, le=4_000_000)]
    parity: Parity
    stop_bits: Literal[1, 2]


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registers that are read at once."""

    function: Literal[3, 4]
    """3 reads holding registers, 4 input registers."""
    start: Register
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_REGISTERS)]

    def holds(self, register: int, width: int) -> bool:
        """Whether `width` registers from `register` on are part of it."""
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
    name: str
    """Of the model, for people."""
    register_step_wh: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    """Step in which the energy register counts."""
    serial: SerialDefaults
    blocks: Annotated[dict[str, Block], msgspec.Meta(min_length=1)]
    inputs: Annotated[dict[str, Input], msgspec.Meta(min_length=1)]


class MeterMap(msgspec.Struct, frozen=True):
    """A checked map."""

    id: str
    """Name of its file, without the ending."""
    content: MapFile

    def block_of(self, field: Field) -> str:
        """Name of the (first) block that holds a field."""
        return next(name for name, block in self.content.blocks.items() if block.holds(field.register, field.width))

    def blocks_of(self, input_name: str) -> tuple[str, ...]:
        """Names of the blocks that one input needs, that of its energy register first."""
        fields = self.content.inputs[input_name].fields()
        ordered = [fields.pop("energy"), *fields.values()]
        return tuple(dict.fromkeys(self.block_of(field) for field in ordered))


def load_map(path: Path) -> MeterMap:
    """Read and check a map file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    if not _NAME.match(path.stem):
        raise SettingsError(
            "the name of a map has 1 to 41 of a-z, 0-9, _ and -", file=path, advice="give the file another name"
        )
    content = load_settings(path, MapFile, environment={})
    for input_name, each in content.inputs.items():
        for quantity, field in each.fields().items():
            key = f"inputs.{input_name}.{quantity}"
            if not any(block.holds(field.register, field.width) for block in content.blocks.values()):
                raise SettingsError(
                    f"register {field.register:#06x} ({field.width} wide) is in no block",
                    file=path,
                    key=key,
                    advice="add or widen a block",
                )
            if field.scale[0] == 0 or field.scale[1] < 1:
                raise SettingsError(
                    f"{field.scale} is no scale", file=path, key=f"{key}.scale", advice="write [numerator, denominator]"
                )
    return MeterMap(path.stem, content)


def load_maps(directory: Path | None = None) -> dict[str, MeterMap]:
    """All maps by id: the shipped ones, and those of a directory, which take precedence.

    Raises:
        SettingsError: for the first file that is unusable, or a directory that does not exist.
    """
    with as_file(files(__package__) / "maps") as shipped:
        maps = {each.id: each for each in _load_all(shipped)}
    if directory is not None:
        if not directory.is_dir():
            raise SettingsError("no such directory", file=directory, key="maps.directory", advice="make it")
        maps.update({each.id: each for each in _load_all(directory)})
    return maps


def _load_all(directory: Path) -> Iterator[MeterMap]:
    return (load_map(path) for path in sorted(directory.glob("*.toml")))
