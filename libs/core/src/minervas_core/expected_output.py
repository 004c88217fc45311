"""Expected output of solar panels: what a job computes and a ledger stores beside the readings, for people to compare.

Nothing on the chain rests on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import Count, Record, TimeMs, decode
from minervas_core.errors import Code, InvalidEncoding
from minervas_core.identifiers import PRINTABLE, MemberId
from minervas_core.metering import Name

MAX_EXPECTED_BYTES = 16_000_000
"""A file: a year of quarters of an hour of 40 channels has about 10 MB."""
MAX_EXPECTED_STEPS = 40_000
"""Steps of one channel: a year of quarters of an hour."""
MAX_EXPECTED_CHANNELS = 256


class ExpectedChannel(Record, frozen=True, kw_only=True):
    """One channel."""

    meter: Name
    channel: Name
    rated_w: Count
    """Rated power of the panels behind it."""
    power_mw: Annotated[list[Count], msgspec.Meta(min_length=1, max_length=MAX_EXPECTED_STEPS)]
    """Mean power expected in each step, from the start on."""


class ExpectedOutput(Record, frozen=True, kw_only=True):
    """What one member's panels are expected to give."""

    format: Literal[1]
    member: MemberId
    made_ms: TimeMs
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
    """How it was computed."""
    start_ms: TimeMs
    step_ms: Annotated[int, msgspec.Meta(ge=60_000, le=3_600_000)]
    channels: Annotated[list[ExpectedChannel], msgspec.Meta(min_length=1, max_length=MAX_EXPECTED_CHANNELS)]


def decode_expected_output(raw: bytes) -> ExpectedOutput:
    """Decode and check a file.

    Raises:
        InvalidEncoding: if it has another shape, names a channel twice, or gives channels unequal numbers of steps.
    """
    expected = decode(raw, ExpectedOutput, max_bytes=MAX_EXPECTED_BYTES)
    names = [(each.meter, each.channel) for each in expected.channels]
    if len(set(names)) != len(names):
        raise InvalidEncoding(Code.WRONG_SHAPE, "A channel stands there twice")
    if len({len(each.power_mw) for each in expected.channels}) != 1:
        raise InvalidEncoding(Code.WRONG_SHAPE, "Channels have unequal numbers of steps")
    return expected
