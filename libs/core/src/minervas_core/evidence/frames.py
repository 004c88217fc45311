"""Readings against the raw frames that they came from: checksums, and values decoded again with the meter's map.

The chain names a meter's model, and so its map; which input of the map a channel is, the gateway's settings say. So
every input is tried, and one of them must explain all readings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from minervas_core.errors import Code, InvalidProof
from minervas_core.meter_maps.decoding import value_in
from minervas_core.meter_maps.meter_map import Block, Field, Input, MapFile
from minervas_core.meter_maps.modbus_frames import REQUEST_BYTES, crc16, judge_reply, registers_of
from minervas_core.metering import Reading

ON_THE_WIRE = frozenset({"timeout", "crc", "short", "wrong_slave", "exception", "echo"})
"""Faults that the raw bytes show; the others are judgements about values, or say that there was no port."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An input, and whether the settings turn the sign of its power around."""

    name: str
    input: Input
    sign: int


class FrameCheck:
    """Checks the readings of one channel, one after the other.

    Args:
        map_file: the meter's map.
    """

    def __init__(self, map_file: MapFile) -> None:
        self._blocks = tuple(map_file.blocks.values())
        self._left = [_Candidate(name, each, sign) for name, each in map_file.inputs.items() for sign in (1, -1)]
        self.measured = 0
        """Frames decoded so far."""
        self.silent = 0
        """Samples without values whose bytes show why."""
        self.by_hand = 0
        """Substituted readings: no frame stands behind their values."""

    @property
    def inputs(self) -> list[str]:
        """Inputs of the map that explain everything so far."""
        return list(dict.fromkeys(each.name for each in self._left))

    def add(self, reading: Reading) -> None:
        """Check one reading.

        Raises:
            InvalidProof: ``frame_wrong``.
        """
        request, reply = bytes.fromhex(reading.request), bytes.fromhex(reading.reply)
        if reading.quality == "substituted":
            self.by_hand += 1
            return
        if reading.quality == "missing":
            shown = judge_reply(request.ljust(REQUEST_BYTES, b"\0"), reply) or "short"
            if reading.fault in ON_THE_WIRE and shown != reading.fault:
                raise _wrong("The bytes do not show the fault", reading)
            self.silent += 1
            return
        if len(request) != REQUEST_BYTES or crc16(request[:-2]) != request[-2:]:
            raise _wrong("The request's checksum is wrong", reading)
        fault = judge_reply(request, reply)
        if fault is not None:
            raise _wrong(f"The reply is not a good one: {fault}", reading)
        self._left = [each for each in self._left if self._explains(each, reading, request, registers_of(reply))]
        if not self._left:
            raise _wrong("The values are not those of the frame", reading)
        self.measured += 1

    def _explains(self, candidate: _Candidate, reading: Reading, request: bytes, contents: tuple[int, ...]) -> bool:
        """Whether the frame, read as this input, has just the reading's values."""
        for block in self._blocks:
            if not block.holds(candidate.input.energy):
                continue
            registers = _registers(block, request, contents)
            if registers is not None and all(is_so for is_so in _comparisons(candidate, reading, registers, block)):
                return True
        return False


def _comparisons(candidate: _Candidate, reading: Reading, registers: Mapping[int, int], block: Block) -> Iterator[bool]:
    """For each of the reading's values that the block holds, whether it is that of the registers."""
    energy = value_in(candidate.input.energy, registers)
    yield energy is not None and energy.numerator // energy.denominator == reading.energy_mwh
    if block.holds(candidate.input.power):
        power = value_in(candidate.input.power, registers)
        yield power is not None and candidate.sign * round(power) == reading.power_mw
    for field, value in (
        (candidate.input.voltage, reading.voltage_mv),
        (candidate.input.current, reading.current_ma),
    ):
        if field is None:
            yield isinstance(value, msgspec.UnsetType)
        elif block.holds(field):
            yield _rounded(field, registers) == (None if isinstance(value, msgspec.UnsetType) else value)


def _rounded(field: Field, registers: Mapping[int, int]) -> int | None:
    value: Fraction | None = value_in(field, registers)
    return None if value is None else round(value)


def _registers(block: Block, request: bytes, contents: tuple[int, ...]) -> dict[int, int] | None:
    """Contents by the addresses that the map uses; None if another block was read.

    A block of a SunSpec model is read where the meter has the model, and the map counts from the model's beginning.
    """
    start, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
    if (request[1], count) != (block.function, block.count) or (not block.models and start != block.start):
        return None
    if block.models and contents[0] not in block.models:
        return None
    return dict(enumerate(contents, start=block.start))


def _wrong(message: str, reading: Reading) -> InvalidProof:
    return InvalidProof(
        Code.FRAME_WRONG,
        message,
        meter=reading.meter,
        channel=reading.channel,
        sequence=reading.sequence,
        time_ms=reading.time_ms,
    )
