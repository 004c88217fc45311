"""Compute the expectation of all channels of a member and write it for the ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.expected_output import ExpectedChannel, ExpectedOutput
from minervas_expected_output.clear_sky import MODEL, STEP_MIN, power_mw, times_of
from minervas_expected_output.settings import ArraySettings, JobSettings
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic

STEP_MS = STEP_MIN * 60_000


def expectation(settings: JobSettings, first: dt.date, made_ms: int) -> ExpectedOutput:
    """What all channels would give under a clear sky; arrays behind one channel add up.

    Args:
        settings: of the job.
        first: first day, in the consortium's time zone.
        made_ms: now.
    """
    sites = {site.name: site for site in settings.sites}
    times = times_of(first, settings.days, settings.time_zone)
    powers: dict[tuple[str, str], list[int]] = {}
    for array in settings.arrays:
        key = array.meter, array.channel
        added = power_mw(sites[array.site], array, times)
        powers[key] = [a + b for a, b in zip(powers.get(key, [0] * len(added)), added, strict=True)]
    return ExpectedOutput(
        format=1,
        member=settings.member,
        made_ms=made_ms,
        model=MODEL,
        start_ms=int(times[0].timestamp() * 1000) - STEP_MS // 2,
        step_ms=STEP_MS,
        channels=[
            ExpectedChannel(
                meter=meter, channel=channel, rated_w=_rated_w(settings.arrays, meter, channel), power_mw=mw
            )
            for (meter, channel), mw in sorted(powers.items())
        ],
    )


def write(expected: ExpectedOutput, file: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        LocalFault: ``bad_key_file`` if the directory cannot be written.
    """
    write_atomic(file, encode(expected), mode=PUBLIC_MODE)


def _rated_w(arrays: Sequence[ArraySettings], meter: str, channel: str) -> int:
    return sum(array.rated_w for array in arrays if (array.meter, array.channel) == (meter, channel))
