"""From samples to readings: plausibility, and registers that do not go on where they were."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_meter_gateway.block_read import NO_PORT, BlockRead
from minervas_meter_gateway.channel_readings import Judged, judge_channel
from minervas_meter_gateway.port_worker import MeterSample
from minervas_meter_gateway.register_watch import RegisterWatch
from tests.support.gateway import NOW_MS, PV1, meter_plan, pzem_reply, pzem_sample

HOUR_MS = 3_600_000


def judge(sample: MeterSample, watch: RegisterWatch | None = None) -> Judged:
    return judge_channel(sample, sample.meter.channels[0], watch or RegisterWatch(120, 1))


def test_a_good_sample_keeps_the_raw_frames(tmp_path: Path) -> None:
    reading = judge(pzem_sample(meter_plan(tmp_path))).reading(5)
    assert (reading.quality, reading.sequence, reading.time_ms) == ("measured", 5, NOW_MS)
    assert (reading.power_mw, reading.voltage_mv, reading.current_ma, reading.energy_mwh) == (
        90_000,
        18_000,
        5_000,
        7_000,
    )
    assert reading.request == "010400000008f1cc"
    assert reading.reply == pzem_reply(1).hex()


def test_a_missing_sample_has_no_value_at_all(tmp_path: Path) -> None:
    plan = meter_plan(tmp_path)
    failed = BlockRead(b"\x01", b"\x02", "crc")
    reading = judge(MeterSample(plan, NOW_MS, 0, {"all": failed})).reading(0)
    assert (reading.quality, reading.fault, reading.request, reading.reply) == ("missing", "crc", "01", "02")
    names = ("power_mw", "voltage_mv", "current_ma", "energy_mwh")
    assert all(getattr(reading, name) is msgspec.UNSET for name in names)
    assert b"energy" not in encode(reading)


def test_without_a_port_nothing_was_on_the_wire(tmp_path: Path) -> None:
    reading = judge(MeterSample(meter_plan(tmp_path), NOW_MS, 0, {"all": NO_PORT})).reading(0)
    assert (reading.fault, reading.request, reading.reply) == ("port", "", "")


@pytest.mark.parametrize(("power", "fault"), [(1_800, None), (1_801, "implausible")])
def test_power_beyond_one_and_a_half_times_rated_was_not_measured(
    tmp_path: Path, power: int, fault: str | None
) -> None:
    assert judge(pzem_sample(meter_plan(tmp_path), power=power)).fault == fault


def test_a_register_may_rise_by_what_the_channel_can_deliver() -> None:
    watch = RegisterWatch(rated_w=1_000, step_wh=1)
    assert watch.judge(50_000, 0) == "continues"
    assert watch.judge(50_000 + 1_100_000 + 2_000, HOUR_MS) == "continues"
    assert watch.judge(50_000 + 1_100_000 + 2_000 + 2_001, HOUR_MS) == "doubtful"


def test_a_single_glitch_makes_neither_energy_nor_a_reset() -> None:
    watch = RegisterWatch(120, 1)
    verdicts = [watch.judge(energy, second * 1_000) for second, energy in enumerate([9_000, 9_000, 0, 9_000, 9_000])]
    assert verdicts == ["continues", "continues", "doubtful", "continues", "continues"]


def test_three_samples_that_agree_are_a_new_baseline() -> None:
    watch = RegisterWatch(120, 1)
    energies = [9_000, 0, 0, 1_000, 1_000]
    verdicts = [watch.judge(energy, second * 1_000) for second, energy in enumerate(energies)]
    assert verdicts == ["continues", "doubtful", "doubtful", "new_baseline", "continues"]


def test_a_replaced_meter_with_a_higher_register_is_a_new_baseline_too() -> None:
    watch = RegisterWatch(120, 1)
    energies = [9_000, 5_000_000, 5_000_000, 5_000_000]
    verdicts = [watch.judge(energy, second * 1_000) for second, energy in enumerate(energies)]
    assert verdicts[-1] == "new_baseline"


def test_registers_that_disagree_with_each_other_are_never_believed() -> None:
    watch = RegisterWatch(120, 1)
    watch.judge(9_000_000, 0)
    verdicts = {watch.judge(energy, 1_000) for energy in (0, 5_000_000, 20_000_000, 3_000_000) * 3}
    assert verdicts == {"doubtful"}


def test_after_a_restart_the_time_that_passed_counts() -> None:
    watch = RegisterWatch(rated_w=1_000, step_wh=1)
    watch.resume(50_000, -HOUR_MS)
    assert watch.judge(1_000_000, 0) == "continues"


def test_a_doubtful_register_is_a_missing_reading_and_its_reset_is_flagged(tmp_path: Path) -> None:
    plan, watch = meter_plan(tmp_path, PV1), RegisterWatch(120, 1)
    judged = [
        judge(pzem_sample(plan, energy_wh=energy_wh, monotonic_ms=second * 1_000), watch)
        for second, energy_wh in enumerate([9_000, 0, 0, 0])
    ]
    assert [each.fault for each in judged] == [None, "implausible", "implausible", None]
    assert [each.new_baseline for each in judged] == [False, False, False, True]


def test_after_a_night_without_supply_the_register_goes_on() -> None:
    watch = RegisterWatch(120, 1)
    watch.judge(9_000_000, 0)
    assert watch.judge(9_001_000, 12 * HOUR_MS) == "continues"


def test_an_inverter_that_wakes_up_with_zeros_and_comes_to_itself_is_not_believed() -> None:
    watch = RegisterWatch(120, 1)
    energies = [9_000_000, 0, 0, 9_000_000, 9_001_000]
    verdicts = [watch.judge(energy, second * 1_000) for second, energy in enumerate(energies)]
    assert verdicts == ["continues", "doubtful", "doubtful", "continues", "continues"]


def test_an_inverter_that_shows_zero_for_long_starts_anew_twice_and_never_jumps() -> None:
    watch = RegisterWatch(120, 1)
    energies = [9_000_000, *[0] * 5, *[9_000_000] * 5]
    verdicts = [watch.judge(energy, second * 1_000) for second, energy in enumerate(energies)]
    starts_anew = ["doubtful", "doubtful", "new_baseline", "continues", "continues"]
    assert verdicts == ["continues", *starts_anew, *starts_anew]


def test_a_register_that_runs_over_starts_anew_and_mints_nothing(tmp_path: Path) -> None:
    plan, watch = meter_plan(tmp_path, PV1), RegisterWatch(120, 1)
    judged = [
        judge(pzem_sample(plan, energy_wh=energy_wh, monotonic_ms=second * 30_000), watch)
        for second, energy_wh in enumerate([9_999_998, 9_999_999, 0, 0, 1, 1])
    ]
    assert [each.fault for each in judged] == [None, None, "implausible", "implausible", None, None]
    assert [each.new_baseline for each in judged] == [False, False, False, False, True, False]


def test_more_than_the_register_can_hold_is_never_a_value(tmp_path: Path) -> None:
    sample = pzem_sample(meter_plan(tmp_path), energy_wh=10_000_000)
    assert (judge(sample).fault, judge(sample).values) == ("implausible", None)
