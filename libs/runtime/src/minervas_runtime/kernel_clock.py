"""What the kernel knows of this machine's clock (adjtimex(2))."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_TIME_ERROR = 5
"""The kernel's state of an unsynchronised clock."""
_STATUS_NANOSECONDS = 0x2000
"""Status bit STA_NANO: the offset is in nanoseconds instead of microseconds."""


class _Timex(ctypes.Structure):
    """The start of struct timex, and room for the rest; all zero means: only read."""

    _fields_ = (
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("max_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of the clock."""

    synchronised: bool
    """Whether NTP or another source keeps it."""
    offset_ms: int
    """How far the source last found it to be off; 0 unless synchronised."""


def kernel_clock() -> KernelClock:
    """Ask the kernel; a clock that cannot be asked about is not synchronised."""
    if not sys.platform.startswith("linux"):
        return KernelClock(synchronised=False, offset_ms=0)
    timex = _Timex()
    state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    if not 0 <= state < _TIME_ERROR:
        return KernelClock(synchronised=False, offset_ms=0)
    per_ms = 1_000_000 if timex.status & _STATUS_NANOSECONDS else 1_000
    return KernelClock(synchronised=True, offset_ms=round(timex.offset / per_ms))
