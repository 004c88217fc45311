"""Calendar months of a time zone as moments: the one place where bills meet time zones (core takes milliseconds)."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from minervas_core.errors import Code, LocalFault


def month_bounds(zone: str, month: str) -> tuple[int, int]:
    """When a month begins and when the next one does, in ms since the epoch.

    A month begins with the first moment whose date in the zone is its first day, also where the clocks change then.

    Args:
        zone: IANA name.
        month: as ``2026-03``.

    Raises:
        LocalFault: ``bad_genesis`` if this machine does not know the zone.
    """
    year, number = (int(part) for part in month.split("-"))
    following = (year, number + 1) if number < 12 else (year + 1, 1)
    return _first_moment(zone, year, number), _first_moment(zone, *following)


def month_of(zone: str, time_ms: int) -> str:
    """The month in which a moment is.

    Raises:
        LocalFault: ``bad_genesis`` if this machine does not know the zone.
    """
    return dt.datetime.fromtimestamp(time_ms // 1_000, _zone(zone)).strftime("%Y-%m")


def _first_moment(zone: str, year: int, month: int) -> int:
    if year > dt.MAXYEAR:
        raise LocalFault(Code.WRONG_SHAPE, "No calendar has this month", year=year)
    begins = dt.datetime(year, month, 1, tzinfo=_zone(zone))
    return int(begins.timestamp()) * 1_000


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise LocalFault(
            Code.BAD_GENESIS, "This machine does not know the consortium's time zone; install tzdata", zone=name
        ) from error
