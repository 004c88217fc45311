"""Times and numbers for people, in the consortium's time zone and the page's language."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Formats:
    """How one language writes times and numbers."""

    language: str
    zone: zoneinfo.ZoneInfo

    def when(self, time_ms: int | None) -> str:
        """A time to the second; a hyphen for None and 0."""
        if not time_ms:
            return "-"
        moment = dt.datetime.fromtimestamp(time_ms / 1000, self.zone)
        if self.language == "ko":
            return f"{moment.year}. {moment.month}. {moment.day}. {moment:%H:%M:%S}"
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M:%S}"

    def machine_time(self, time_ms: int | None) -> str:
        """The same for programs, as the `datetime` of a `time` element."""
        return dt.datetime.fromtimestamp((time_ms or 0) / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def number(self, value: int) -> str:
        """A whole number with its thousands set apart."""
        return f"{value:,}"

    def milliseconds(self, microseconds: int) -> str:
        """A duration in ms, to a tenth."""
        return f"{microseconds / 1000:,.1f} ms"

    def seconds(self, milliseconds: int) -> str:
        """A duration in s, to the millisecond."""
        return f"{milliseconds / 1000:,.3f} s"
