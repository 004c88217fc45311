"""When the clock is trusted with a statement."""

from __future__ import annotations

import ctypes
import struct

from minervas_meter_gateway.clock_check import SETTLE_MS, STEP_MS, ClockCheck
from minervas_runtime.clock import ManualClock
from minervas_runtime.kernel_clock import kernel_clock
from tests.support.gateway import NOW_MS

STA_UNSYNC = 0x40
"""Flag of the kernel's clock status (adjtimex(2))."""


class Clocks:
    """A clock check whose surroundings the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.monotonic = ManualClock(5_000)
        self.kernel = True
        self.check = ClockCheck(self.clock, self.monotonic.now_ms, lambda: self.kernel)

    def advance(self, by_ms: int, *, wall_ms: int = 0) -> None:
        """Let time pass; the wall clock takes another step if told so."""
        self.monotonic.advance(by_ms)
        self.clock.advance(wall_ms or by_ms)


def test_a_steady_synchronised_clock_is_trusted() -> None:
    clocks = Clocks()
    for _ in range(5):
        clocks.advance(1_000)
        assert clocks.check.problem() == ""


def test_the_kernel_can_say_no() -> None:
    clocks = Clocks()
    clocks.kernel = False
    assert "kernel" in clocks.check.problem()
    clocks.kernel = True
    assert clocks.check.problem() == ""


def test_a_clock_behind_the_newest_block_is_wrong() -> None:
    clocks = Clocks()
    clocks.check.note_tip(NOW_MS + 30_000, 30_000)
    assert clocks.check.problem() == ""
    clocks.check.note_tip(NOW_MS + 30_001, 30_000)
    assert "30001 ms behind the newest block" in clocks.check.problem()
    clocks.advance(1_000)
    assert clocks.check.problem() == ""


def test_after_a_step_the_clock_must_be_steady_for_a_while() -> None:
    for wall_ms in (1_000 + STEP_MS + 1, -60_000):
        clocks = Clocks()
        clocks.advance(1_000, wall_ms=wall_ms)
        assert "set a moment ago" in clocks.check.problem()
        clocks.advance(SETTLE_MS - 1)
        assert "set a moment ago" in clocks.check.problem()
        clocks.advance(1)
        assert clocks.check.problem() == ""


def test_slewing_is_no_step() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.advance(1_000, wall_ms=1_001)
        assert clocks.check.problem() == ""


def test_the_kernel_is_asked_and_its_flag_decides() -> None:
    """The flag in the kernel's own structure agrees with what we say; on a machine with or without NTP."""
    buffer = ctypes.create_string_buffer(512)
    state: int = ctypes.CDLL(None).adjtimex(buffer)
    assert state >= 0
    status = struct.unpack_from("@Iqqqqi", buffer.raw)[5]
    assert kernel_clock().synchronised == (not status & STA_UNSYNC)
