"""A made-up roof under made-up clouds: the power of a string of panels at any moment."""

from __future__ import annotations

import hashlib
import math

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
SEOUL_MS = 9 * HOUR_MS
SUNRISE_H, DAYLIGHT_H = 5.3, 14.5
TODAY_CLOUDS = 0.45
VOLTS = 18_500


def clear_mw(peak_w: float, at_ms: int) -> int:
    """What it would be under a clear sky, in milliwatts."""
    hour = (at_ms + SEOUL_MS) % DAY_MS / HOUR_MS
    part = (hour - SUNRISE_H) / DAYLIGHT_H
    if not 0 < part < 1:
        return 0
    return round(1_000 * peak_w * math.pow(math.sin(math.pi * part), 1.3))


def power_mw(peak_w: float, at_ms: int, today: int) -> int:
    """What it is, in milliwatts; `today` is the number of the day whose clouds are chosen."""
    day = (at_ms + SEOUL_MS) // DAY_MS
    clouds = TODAY_CLOUDS if day == today else hashlib.sha256(b"%d" % day).digest()[0] / 290
    seconds = at_ms / 1_000
    passing = math.sin(seconds / 613 + day) * math.sin(seconds / 251 + 1.7 * day) + 0.4 * math.sin(seconds / 89)
    flicker = 1 + 0.006 * math.sin(seconds / 3.1) * math.sin(seconds / 0.7)
    shade = (1 - 0.3 * clouds) * (1 - clouds * min(1.0, max(0.0, passing)))
    return round(clear_mw(peak_w, at_ms) * shade * flicker)


def day_of(at_ms: int) -> int:
    """The number of the day in Seoul."""
    return (at_ms + SEOUL_MS) // DAY_MS


def midnight_ms(at_ms: int) -> int:
    """When the day began in Seoul."""
    return day_of(at_ms) * DAY_MS - SEOUL_MS


def voltage_mv(power: int) -> int:
    """The string's voltage: near its working point from the first light on."""
    return 300 if power == 0 else round(VOLTS * (0.93 + 0.05 * min(1.0, power / 20_000)))
