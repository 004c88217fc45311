"""A statement against the readings that it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from minervas_core.errors import Code, InvalidProof
from minervas_core.metering import Generation, Reading, RegisterPoint, readings_root


def check_readings(statement: Generation, readings: Sequence[Reading]) -> None:
    """Check that readings are those under a statement's root, and say what it says.

    Args:
        statement: with its root.
        readings: from its start to its end, both inclusive, in the order of their numbers.

    Raises:
        InvalidProof: ``readings_wrong``.
    """
    if not readings:
        raise _wrong("There are no readings")
    for reading in readings:
        if (reading.meter, reading.channel) != (statement.meter, statement.channel):
            raise _wrong("A reading of another channel", sequence=reading.sequence)
    if readings_root(readings) != statement.readings_root:
        raise _wrong("Not the readings that the gateway signed for", readings=len(readings))
    _check_point("first", readings[0], statement.start)
    _check_point("last", readings[-1], statement.end)
    after = [each for each in readings if each.time_ms > statement.start.time_ms]
    found = Counter(each.quality for each in after)
    stated = {"measured": statement.measured, "substituted": statement.substituted, "missing": statement.missing}
    if found != Counter(stated):
        raise _wrong(
            "Not as many readings as the statement counts", **{str(quality): count for quality, count in found.items()}
        )


def _check_point(which: str, reading: Reading, point: RegisterPoint) -> None:
    register = reading.energy_mwh
    register_wh = None if isinstance(register, msgspec.UnsetType) else register // 1_000
    if (reading.time_ms, register_wh) != (point.time_ms, point.register_wh):
        raise _wrong(f"The {which} reading is not where the statement says", sequence=reading.sequence)


def _wrong(message: str, **values: str | int) -> InvalidProof:
    return InvalidProof(Code.READINGS_WRONG, message, **values)
