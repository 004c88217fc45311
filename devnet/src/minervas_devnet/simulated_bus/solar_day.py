"""The output of a photovoltaic system over one measured day, as a share of its rated power."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files

DAY_FILE = "serf_east_2022-03-19.csv"
"""Source and licence: data/README.md."""

FULL_SCALE_W = 5_000
"""What counts as rated power of the measured system: its best minute on that day had 4,610 W."""

MINUTES = 1_440
SECONDS = 86_400


class SolarDay:
    """Minute means of one day, joined by straight lines.

    Args:
        minute_watts: one mean per minute from midnight on, in W.
        full_scale_w: the power that counts as 1.
    """

    def __init__(self, minute_watts: Sequence[float], full_scale_w: float = FULL_SCALE_W) -> None:
        if len(minute_watts) != MINUTES:
            raise ValueError(f"a day has {MINUTES} minutes, not {len(minute_watts)}")
        self._shares = [watts / full_scale_w for watts in minute_watts]

    def share(self, second: float) -> float:
        """Power at a second after midnight as a share of rated power; the day after is the same day again."""
        minute, rest = divmod(second % SECONDS, 60)
        here = self._shares[int(minute)]
        return here + (self._shares[(int(minute) + 1) % MINUTES] - here) * rest / 60


def measured_day() -> SolarDay:
    """The measured day that is shipped."""
    text = (files(__package__) / "data" / DAY_FILE).read_text(encoding="utf-8")
    return SolarDay([float(row["power_w"]) for row in csv.DictReader(text.splitlines())])


def second_of_day(text: str) -> int:
    """Seconds after midnight of ``HH:MM`` or ``HH:MM:SS``.

    Raises:
        ValueError: if it is not a time of day.
    """
    parts = [int(part) for part in text.split(":")]
    hours, minutes, seconds = [*parts, 0][:3] if len(parts) in (2, 3) else (24, 0, 0)
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60):
        raise ValueError(f"not a time of day: {text!r}")
    return hours * 3600 + minutes * 60 + seconds
