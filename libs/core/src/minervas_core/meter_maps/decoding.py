"""From raw registers to integers with units. Pure; the one place where floats of a meter become integers (design 4).

Rounding rule: raw value x scale is computed exactly, as a fraction; a float32 is an exact fraction too. Power, voltage
and current are rounded to the nearest integer, half to even. Energy is rounded down: a register never shows more than
the meter counted, and a register that never falls never falls after rounding either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from minervas_core.encoding import MAX_INTEGER
from minervas_core.meter_maps.meter_map import Field, Input

MAX_EXPONENT = 10
"""SunSpec's powers of ten are from -10 to 10; -32768 (0x8000) says that there is none."""


@dataclass(frozen=True, slots=True)
class Values:
    """What one input shows."""

    power_mw: int
    energy_mwh: int
    voltage_mv: int | None = None
    """None if the meter has or shows none."""
    current_ma: int | None = None

    def as_json(self) -> dict[str, int | None]:
        """By name, for programs."""
        return dataclasses.asdict(self)


class NoValue(Exception):
    """The registers hold no usable value."""

    def __init__(self, fault: Literal["sentinel", "implausible"], quantity: str) -> None:
        super().__init__(f"{quantity}: {fault}")
        self.fault: Literal["sentinel", "implausible"] = fault
        """``sentinel``: the meter says that it has none. ``implausible``: nobody can have measured that."""


def decode_input(
    of: Input, registers: Mapping[int, int], *, sign: Literal[1, -1] = 1, register_end_wh: int | None = None
) -> Values:
    """Decode one input.

    Args:
        of: where its values are.
        registers: contents by wire address.
        sign: -1 turns the power's sign around.
        register_end_wh: the most that the energy register can show; None if that is not known.

    Raises:
        NoValue: if power or energy have none. A missing voltage or current is only left out.
    """
    return Values(
        power_mw=sign * _rounded(_required(of.power, registers, "power"), "power"),
        energy_mwh=_energy(_required(of.energy, registers, "energy"), register_end_wh),
        voltage_mv=_optional(of.voltage, registers, "voltage"),
        current_ma=_optional(of.current, registers, "current"),
    )


def field_value(field: Field, registers: Sequence[int]) -> Fraction | None:
    """Exact value of one field in its unit; None for a sentinel.

    Args:
        field: what the registers mean.
        registers: its registers in the order of the wire.
    """
    words = registers if field.words == "high_first" else tuple(reversed(registers))
    raw = b"".join(word.to_bytes(2, "big") for word in words)
    if int.from_bytes(raw, "big") in field.sentinels:
        return None
    if field.type == "f32":
        exact = exact_float32(int.from_bytes(raw, "big"))
        if exact is None:
            return None
        value = exact
    else:
        value = Fraction(int.from_bytes(raw, "big", signed=field.type.startswith("i")))
    return value * Fraction(field.scale[0], field.scale[1])


def exact_float32(bits: int) -> Fraction | None:
    """The number that the 32 bits of IEEE 754 stand for, exactly; None for an infinity and for what is no number."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7F_FFFF
    if exponent == 0xFF:
        return None
    significand = fraction | 0x80_0000 if exponent else fraction
    shift = max(exponent, 1) - 150
    number = Fraction(significand << shift) if shift >= 0 else Fraction(significand, 1 << -shift)
    return -number if bits >> 31 else number


def value_in(field: Field, registers: Mapping[int, int]) -> Fraction | None:
    """Value of a field, with the power of ten that the meter keeps beside it; None if either says "no value"."""
    value = field_value(field, tuple(registers[field.register + offset] for offset in range(field.width)))
    if value is None or field.scale_register is None:
        return value
    exponent = registers[field.scale_register]
    exponent -= 0x10000 if exponent >= 0x8000 else 0
    return value * Fraction(10) ** exponent if abs(exponent) <= MAX_EXPONENT else None


def _required(field: Field, registers: Mapping[int, int], quantity: str) -> Fraction:
    value = value_in(field, registers)
    if value is None:
        raise NoValue("sentinel", quantity)
    return value


def _optional(field: Field | None, registers: Mapping[int, int], quantity: str) -> int | None:
    value = None if field is None else value_in(field, registers)
    return None if value is None else _rounded(value, quantity)


def _rounded(value: Fraction, quantity: str) -> int:
    number = round(value)
    if abs(number) > MAX_INTEGER:
        raise NoValue("implausible", quantity)
    return number


def _energy(value: Fraction, register_end_wh: int | None) -> int:
    number = value.numerator // value.denominator
    end_mwh = MAX_INTEGER if register_end_wh is None else register_end_wh * 1_000
    if not 0 <= number <= end_mwh:
        raise NoValue("implausible", "energy")
    return number
