"""The expected output: what the sun's path demands of it, and the job as a member runs it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from minervas_core.encoding import encode
from minervas_core.errors import InvalidEncoding
from minervas_core.expected_output import ExpectedChannel, ExpectedOutput, decode_expected_output
from minervas_devnet.simulated_bus.solar_day import FULL_SCALE_W, measured_day
from minervas_expected_output.clear_sky import power_mw, times_of
from minervas_expected_output.job import expectation
from minervas_expected_output.settings import ArraySettings, JobSettings, SiteSettings, load_job_settings
from minervas_runtime.settings import SettingsError

SEOUL = "Asia/Seoul"
MOKPO = SiteSettings(name="main", latitude_deg=34.81, longitude_deg=126.39, altitude_m=20)
JUNE = dt.date(2026, 6, 21)
DECEMBER = dt.date(2026, 12, 21)
QUARTERS = 96
TOML = """
member = "mokpo-univ"
time_zone = "Asia/Seoul"
output = "expected.json"
[[sites]]
name = "main"
latitude_deg = 34.81
longitude_deg = 126.39
[[arrays]]
site = "main"
meter = "pv-1"
channel = "ch2"
rated_w = 120
tilt_deg = 30
azimuth_deg = 180
"""


def array(rated_w: int = 1_000, *, tilt: float = 30, azimuth: float = 180, channel: str = "ch2") -> ArraySettings:
    return ArraySettings(
        site="main", meter="pv-1", channel=channel, rated_w=rated_w, tilt_deg=tilt, azimuth_deg=azimuth
    )


def day(first: dt.date, panels: ArraySettings, site: SiteSettings = MOKPO, zone: str = SEOUL) -> list[int]:
    return power_mw(site, panels, times_of(first, 1, zone))


def job(*arrays: ArraySettings, days: int = 1) -> JobSettings:
    return JobSettings(
        member="mokpo-univ", time_zone=SEOUL, output=Path("x"), days=days, sites=[MOKPO], arrays=list(arrays)
    )


def test_nothing_is_expected_at_night_and_something_all_day() -> None:
    powers = day(JUNE, array())
    assert all(power == 0 for power in powers[: 4 * 5] + powers[4 * 20 :])  # before 5:00, after 20:00
    assert all(power > 0 for power in powers[4 * 6 : 4 * 19])


def test_a_clear_day_peaks_at_solar_noon_below_the_rated_power() -> None:
    powers = day(JUNE, array())
    peak_at_h = powers.index(max(powers)) / 4
    assert 12.0 <= peak_at_h <= 13.0  # the meridian of the zone passes 8.6 degrees east of Mokpo
    assert 600_000 < max(powers) < 1_000_000


def test_a_day_of_a_panel_of_one_kilowatt_gives_what_is_known_of_clear_days() -> None:
    """Clear days bring 4 to 7.5 sun hours on a tilted panel in Korea; 14 % are lost."""
    assert 5_000 < sum(day(JUNE, array())) / 4_000 < 7_500
    assert 3_000 < sum(day(DECEMBER, array())) / 4_000 < 5_500


def test_a_steep_panel_wins_in_winter_and_a_flat_one_in_summer() -> None:
    steep, flat = array(tilt=60), array(tilt=5)
    assert sum(day(DECEMBER, steep)) > 1.3 * sum(day(DECEMBER, flat))
    assert sum(day(JUNE, steep)) < sum(day(JUNE, flat))


def test_panels_to_the_east_peak_before_those_to_the_west() -> None:
    east, west = (day(JUNE, array(azimuth=azimuth)) for azimuth in (90, 270))
    assert east.index(max(east)) + 4 * 2 < west.index(max(west))


def test_power_is_proportional_to_the_rated_power_up_to_rounding() -> None:
    small, large = day(JUNE, array(100)), day(JUNE, array(1_000))
    assert all(abs(10 * a - b) <= 10 for a, b in zip(small, large, strict=True))


def test_it_agrees_with_a_measured_clear_day() -> None:
    """NREL's SERF East: 6 kW, tilted by 45 degrees, at 39.742 N and 105.173 W, on a cloudless 19 March."""
    golden = SiteSettings(name="main", latitude_deg=39.742, longitude_deg=-105.173, altitude_m=1_828)
    panels = array(6_000, tilt=45, azimuth=158)
    expected_w = [mw / 1_000 for mw in power_mw(golden, panels, times_of(dt.date(2022, 3, 19), 1, "Etc/GMT+7"))]
    measured = measured_day()
    measured_w = [measured.share((number + 0.5) * 900) * FULL_SCALE_W for number in range(QUARTERS)]
    assert sum(expected_w) == pytest.approx(sum(measured_w), rel=0.1)
    assert middle_h(expected_w) == pytest.approx(middle_h(measured_w), abs=0.25)


def middle_h(powers: list[float]) -> float:
    """Time of the day that divides its energy, in hours."""
    return sum(number * power for number, power in enumerate(powers)) / sum(powers) / 4


def test_the_days_of_a_zone_have_23_or_25_hours_when_its_clocks_change() -> None:
    assert len(times_of(dt.date(2026, 3, 29), 1, "Europe/Berlin")) == 92
    assert len(times_of(dt.date(2026, 10, 25), 1, "Europe/Berlin")) == 100
    assert len(times_of(dt.date(2026, 3, 29), 1, SEOUL)) == QUARTERS


def test_arrays_behind_one_channel_add_up() -> None:
    east, west, alone = array(400, azimuth=90), array(600, azimuth=270), array(50, channel="ch3")
    expected = expectation(job(east, alone, west), JUNE, 7)
    assert [(each.channel, each.rated_w) for each in expected.channels] == [("ch2", 1_000), ("ch3", 50)]
    sums = [a + b for a, b in zip(day(JUNE, east), day(JUNE, west), strict=True)]
    assert expected.channels[0].power_mw == sums


def test_the_first_step_begins_at_midnight_of_the_zone() -> None:
    expected = expectation(job(array(), days=2), JUNE, 7)
    midnight = dt.datetime(2026, 6, 20, 15, tzinfo=dt.UTC)
    assert expected.start_ms == int(midnight.timestamp() * 1000)
    assert len(expected.channels[0].power_mw) == 2 * QUARTERS
    assert decode_expected_output(encode(expected)) == expected


@pytest.mark.parametrize(
    "channels",
    [
        [("ch2", [1, 2]), ("ch2", [1, 2])],
        [("ch2", [1, 2]), ("ch3", [1])],
    ],
    ids=["twice", "unequal"],
)
def test_a_file_that_contradicts_itself_is_refused(channels: list[tuple[str, list[int]]]) -> None:
    made = [ExpectedChannel(meter="pv-1", channel=name, rated_w=1, power_mw=powers) for name, powers in channels]
    raw = encode(ExpectedOutput(format=1, member="m", made_ms=1, model="x", start_ms=0, step_ms=900_000, channels=made))
    with pytest.raises(InvalidEncoding):
        decode_expected_output(raw)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (TOML.replace('"Asia/Seoul"', '"Asia/Soul"'), "time_zone"),
        (TOML.replace('"mokpo-univ"', '"Mokpo"'), "member"),
        (TOML.replace('site = "main"', 'site = "other"'), "arrays.site"),
        (TOML.replace("tilt_deg = 30", "tilt_deg = 300"), "tilt_deg"),
        (TOML.replace("tilt_deg", "tilt"), "arrays"),
    ],
    ids=["zone", "member", "site", "tilt", "unknown key"],
)
def test_wrong_settings_name_file_and_key(tmp_path: Path, wrong: str, key: str) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(wrong)
    with pytest.raises(SettingsError) as caught:
        load_job_settings(file)
    assert str(file) in str(caught.value)
    assert key in str(caught.value)


def test_the_job_writes_a_file_that_a_ledger_takes(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(TOML)
    command = [sys.executable, "-m", "minervas_expected_output", "run", "--config", str(file), "--from", "2026-06-21"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = decode_expected_output((tmp_path / "expected.json").read_bytes())
    assert expected == expectation(load_job_settings(file), JUNE, expected.made_ms)
    assert (expected.member, len(expected.channels[0].power_mw)) == ("mokpo-univ", 2 * QUARTERS)


def test_the_job_shows_the_energy_of_each_day(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(TOML)
    command = [sys.executable, "-m", "minervas_expected_output", "show", "--config", str(file), "--from", "2026-06-21"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["2026-06-21", "pv-1", "ch2"],
        ["2026-06-22", "pv-1", "ch2"],
    ]
