"""Power of a solar array under a clear sky, from models that pvlib has: place and time in, watts out.

Sun and clear sky: Ineichen and Perez with monthly turbidity (pvlib's climatology). Plane of the panels: isotropic sky.
Panel temperature: Faiman. Power: PVWatts. An expectation to compare with, never a measurement.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from importlib.metadata import version

import pandas as pd  # type: ignore[import-untyped]  # its stubs are one more large package
import pvlib  # type: ignore[import-untyped]  # ships no types

from minervas_expected_output.settings import ArraySettings, SiteSettings

STEP_MIN = 15
WIND_M_PER_S = 1.0
"""Calm: panels become warm, and the expectation is not too high."""

MODEL = f"pvlib {version('pvlib')}: Ineichen, isotropic, Faiman, PVWatts"


def times_of(first: dt.date, days: int, zone: str) -> pd.DatetimeIndex:
    """Middles of the quarters of an hour of some days of a time zone; 92 or 100 on days when clocks change."""
    tz = zoneinfo.ZoneInfo(zone)
    start = dt.datetime.combine(first, dt.time(), tz)
    end = dt.datetime.combine(first + dt.timedelta(days=days), dt.time(), tz)
    starts = pd.date_range(start.astimezone(dt.UTC), end.astimezone(dt.UTC), freq=f"{STEP_MIN}min", inclusive="left")
    return starts + pd.Timedelta(minutes=STEP_MIN / 2)


def power_mw(site: SiteSettings, array: ArraySettings, times: pd.DatetimeIndex) -> list[int]:
    """Expected power of an array at some times, in mW."""
    place = pvlib.location.Location(site.latitude_deg, site.longitude_deg, altitude=site.altitude_m)
    sun = place.get_solarposition(times)
    sky = place.get_clearsky(times, solar_position=sun)
    plane = pvlib.irradiance.get_total_irradiance(
        array.tilt_deg, array.azimuth_deg, sun["apparent_zenith"], sun["azimuth"], sky["dni"], sky["ghi"], sky["dhi"]
    )
    cell = pvlib.temperature.faiman(plane["poa_global"], site.air_temperature_c, WIND_M_PER_S)
    watts = pvlib.pvsystem.pvwatts_dc(plane["poa_global"], cell, array.rated_w, array.power_per_kelvin_percent / 100)
    kept = 1 - array.losses_percent / 100
    return [max(0, round(1000 * kept * float(each))) for each in watts]
