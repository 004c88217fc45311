"""What simulated meters show: the measured day, physics, and registers like those of the real models."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_devnet.simulated_bus.faults import FAULTS, Fault, Faults, crc
from minervas_devnet.simulated_bus.meters import Meter, Model
from minervas_devnet.simulated_bus.solar_day import FULL_SCALE_W, SolarDay, measured_day, second_of_day

DAY = measured_day()
NOON_S = 12 * 3600


def meter(model: Model = "pzem-003", *, rated_w: int = 120, speed: float = 1.0, start_s: float = NOON_S) -> Meter:
    return Meter(address=1, model=model, rated_w=rated_w, start_wh=1_000, day=DAY, start_second=start_s, speed=speed)


def constant(watts: float) -> SolarDay:
    return SolarDay([watts] * 1_440, full_scale_w=1_000)


def float_at(registers: dict[int, int], address: int) -> float:
    number: float = struct.unpack(">f", struct.pack(">HH", registers[address], registers[address + 1]))[0]
    return number


def test_the_shipped_day_is_dark_at_night_and_bright_at_noon() -> None:
    assert DAY.share(0) < 0
    assert 0.8 < DAY.share(NOON_S) < 1.0
    assert DAY.share(NOON_S) == pytest.approx(DAY.share(NOON_S + 86_400))


def test_between_two_minutes_power_is_a_straight_line() -> None:
    day = SolarDay([0.0, FULL_SCALE_W, *[0.0] * 1_438])
    assert [day.share(second) for second in (0, 15, 30, 60, 90, 120)] == [0.0, 0.25, 0.5, 1.0, 0.5, 0.0]


@pytest.mark.parametrize(("text", "second"), [("00:00", 0), ("10:30", 37_800), ("23:59:59", 86_399)])
def test_a_time_of_day_is_a_second(text: str, second: int) -> None:
    assert second_of_day(text) == second


@pytest.mark.parametrize("text", ["24:00", "10", "10:60", "-1:00", "ten", "1:2:3:4"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time of day|invalid literal"):
        second_of_day(text)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_energy_is_the_integral_of_power_however_often_it_is_read(steps: list[float]) -> None:
    often, once = meter(rated_w=30_000), meter(rated_w=30_000)
    for now_s in itertools.accumulate(steps):
        often.measure(now_s)
    read = often.measure(sum(steps)).export_wh
    assert read == pytest.approx(once.measure(sum(steps)).export_wh, rel=1e-6)
    mean_w = sum(often.power_w(sum(steps) * part / 200) for part in range(200)) / 200
    assert read - 1_000 == pytest.approx(mean_w * sum(steps) / 3_600, rel=0.01)


def test_a_faster_day_does_not_make_more_energy_per_second() -> None:
    made = [
        Meter(address=1, model="pzem-003", rated_w=1_000, start_wh=0, day=constant(1_000), start_second=0, speed=speed)
        .measure(3_600)
        .export_wh
        for speed in (1.0, 60.0)
    ]
    assert made == [pytest.approx(1_000), pytest.approx(1_000)]


def test_a_panel_on_a_dc_meter_draws_nothing_at_night_and_an_inverter_does() -> None:
    assert meter(start_s=0).measure(3_600).export_wh == 1_000
    inverter = meter("sdm630", rated_w=30_000, start_s=0).measure(3_600)
    assert inverter.power_w < 0
    assert inverter.import_wh > 0


def test_a_pzem_shows_volts_times_amperes_as_watts() -> None:
    registers = meter().registers(10)
    volts, amperes = registers[0] / 100, registers[1] / 100
    watts = (registers[2] + (registers[3] << 16)) / 10
    assert volts * amperes == pytest.approx(watts, rel=0.01)
    assert registers[4] + (registers[5] << 16) == 1_000
    assert not {6, 7} & set(registers)  # the alarms stay 0


def test_an_sdm630_counts_production_as_export_in_steps_of_ten_watt_hours() -> None:
    shown = meter("sdm630", rated_w=30_000)
    registers = shown.registers(60)
    assert float_at(registers, 0x34) == pytest.approx(-shown.power_w(60), rel=1e-6)
    assert float_at(registers, 0x4A) == pytest.approx(int(shown.measure(60).export_wh / 10) / 100)
    phases = [float_at(registers, address) for address in (0x0C, 0x0E, 0x10)]
    assert sum(phases) == pytest.approx(float_at(registers, 0x34), rel=1e-6)
    apparent = 3 * float_at(registers, 0x2A) * float_at(registers, 0x30) / 3
    assert abs(float_at(registers, 0x34)) == pytest.approx(apparent * 0.99, rel=1e-4)


def test_a_reset_sets_the_register_to_zero() -> None:
    shown = meter(rated_w=30_000)
    assert shown.measure(60).export_wh > 1_000
    shown.reset_energy()
    assert shown.measure(60).export_wh == 0
    assert shown.measure(120).export_wh > 0


GOOD = bytes([1, 4, 4, 1, 2, 3, 4])
GOOD += crc(GOOD)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_ordered_fault_hits_the_next_reply_of_that_slave_only(fault: Fault) -> None:
    faults = Faults({}, random.Random(0))  # noqa: S311  # test data
    faults.order(fault, 1, address=1)
    other = bytes([2]) + GOOD[1:]
    assert faults.apply(other) == other
    assert faults.apply(GOOD) != GOOD
    assert faults.apply(GOOD) == GOOD
    assert faults.injected[fault] == 1
    assert faults.answered == {1: 1, 2: 1}


def test_the_reply_of_a_wrong_slave_has_a_good_checksum() -> None:
    faults = Faults({}, random.Random(0))  # noqa: S311  # test data
    faults.order("wrong_slave", 1)
    reply = faults.apply(GOOD)
    assert reply[0] != GOOD[0]
    assert crc(reply[:-2]) == reply[-2:]


def test_faults_by_chance_come_as_often_as_told() -> None:
    faults = Faults({"drop": 100, "bad_crc": 50}, random.Random(1))  # noqa: S311  # test data
    for _ in range(2_000):
        faults.apply(GOOD)
    assert faults.injected["drop"] == pytest.approx(200, rel=0.3)
    assert faults.injected["bad_crc"] == pytest.approx(90, rel=0.4)


def test_a_silent_slave_says_nothing() -> None:
    faults = Faults({}, random.Random(0))  # noqa: S311  # test data
    faults.silent.add(1)
    assert faults.apply(GOOD) == b""
    faults.silent.discard(1)
    assert faults.apply(GOOD) == GOOD
