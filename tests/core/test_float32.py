"""Floats of meters are decoded exactly and without floats (minervas_core.meter_maps.decoding)."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from minervas_core.meter_maps.decoding import exact_float32
from tests.support.examples import examples


@given(st.integers(0, 2**32 - 1))
@example(0x0000_0001)
@example(0x007F_FFFF)
@example(0x0080_0000)
@example(0x7F80_0000)
@example(0xFF80_0000)
@example(0x7FC0_0000)
@example(0x8000_0000)
@settings(max_examples=examples(500))
def test_every_float_is_the_number_that_the_machine_reads(bits: int) -> None:
    (number,) = struct.unpack(">f", bits.to_bytes(4, "big"))
    assert exact_float32(bits) == (Fraction(number) if math.isfinite(number) else None)
