"""Settings of the job (example: services/expected-output/README.md)."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.identifiers import MemberId, check_member_id
from minervas_core.metering import Name
from minervas_runtime.settings import SettingsError, load_settings


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections below."""


class SiteSettings(Section, frozen=True, kw_only=True):
    """Where panels stand."""

    name: Name
    latitude_deg: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude_deg: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    altitude_m: Annotated[float, msgspec.Meta(ge=-450, le=6_000)] = 0.0
    air_temperature_c: Annotated[float, msgspec.Meta(ge=-60, le=60)] = 20.0
    """Mean temperature of the air while the sun shines: warm panels give less."""


class ArraySettings(Section, frozen=True, kw_only=True):
    """Panels of one direction behind one metered channel; a channel may have several."""

    site: Name
    meter: Name
    channel: Name
    rated_w: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    """Rated power under standard test conditions."""
    tilt_deg: Annotated[float, msgspec.Meta(ge=0, le=90)]
    """From the horizontal."""
    azimuth_deg: Annotated[float, msgspec.Meta(ge=0, lt=360)]
    """Where they look to: 90 east, 180 south, 270 west."""
    power_per_kelvin_percent: Annotated[float, msgspec.Meta(ge=-2, le=0)] = -0.4
    """Change of power for each degree above 25 degrees Celsius, from the data sheet."""
    losses_percent: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 14.0
    """Dirt, cables, mismatch and conversion together; PVWatts' default."""


class JobSettings(Section, frozen=True, kw_only=True):
    """Everything that the job is told from outside."""

    member: MemberId
    time_zone: str
    """IANA zone of the consortium: its days are computed."""
    output: Path
    """File for the ledger; written whole or not at all."""
    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 2
    """How many days are computed, from today on."""
    sites: Annotated[list[SiteSettings], msgspec.Meta(min_length=1)]
    arrays: Annotated[list[ArraySettings], msgspec.Meta(min_length=1)]


def load_job_settings(path: Path) -> JobSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: for the first mistake, naming file, key and what to do.
    """
    settings = load_settings(path, JobSettings)
    for problem in _problems(settings, path):
        raise problem
    return settings


def _problems(settings: JobSettings, path: Path) -> Iterator[SettingsError]:
    try:
        check_member_id(settings.member)
    except MinervasError as error:
        yield SettingsError(error.message, file=path, key="member", advice="use the id you applied with")
    if settings.time_zone not in zoneinfo.available_timezones():
        yield SettingsError("no such time zone", file=path, key="time_zone", advice="write it like Asia/Seoul")
    names = [site.name for site in settings.sites]
    for name in {name for name in names if names.count(name) > 1}:
        yield SettingsError(f"two sites are called {name}", file=path, key="sites.name", advice="give each its own")
    for array in settings.arrays:
        if array.site not in names:
            yield SettingsError(
                f"the panels of {array.meter} {array.channel} stand on a site {array.site} that does not exist",
                file=path,
                key="arrays.site",
                advice="add it to [[sites]]",
            )
