"""Command line of the job."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import zoneinfo
from pathlib import Path

from minervas_core.expected_output import ExpectedOutput
from minervas_expected_output import __version__
from minervas_expected_output.job import expectation, write
from minervas_expected_output.settings import JobSettings, load_job_settings
from minervas_runtime.clock import SystemClock
from minervas_runtime.service import report_errors

PROGRAM = "minervas-expected-output"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed, 2 unusable arguments or settings."""
    arguments = _parser().parse_args()
    if arguments.verb == "version":
        print(__version__)
        return 0
    return report_errors(PROGRAM, lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Computes what a member's panels would give under a clear sky."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("run", "compute and write the file for the ledger; run it once a day"),
        ("show", "compute and show the energy of each day"),
        ("check-config", "check the settings file and say so"),
    ):
        parser_of_verb = verbs.add_parser(verb, help=text)
        parser_of_verb.add_argument("--config", type=Path, required=True, metavar="FILE")
        if verb != "check-config":
            parser_of_verb.add_argument(
                "--from", dest="first", type=dt.date.fromisoformat, metavar="DATE", help="first day (default: today)"
            )
    verbs.add_parser("version", help="show the version")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    settings = load_job_settings(arguments.config)
    if arguments.verb == "check-config":
        print(f"{arguments.config}: settings of the expected output of {settings.member} are usable")
        return 0
    now_ms = SystemClock().now_ms()
    zone = zoneinfo.ZoneInfo(settings.time_zone)
    today = dt.datetime.fromtimestamp(now_ms / 1000, zone).date()
    expected = expectation(settings, arguments.first or today, now_ms)
    if arguments.verb == "run":
        write(expected, settings.output)
        print(f"wrote {settings.output}: {len(expected.channels)} channels, {settings.days} days")
    else:
        _show(settings, expected, zone)
    return 0


def _show(settings: JobSettings, expected: ExpectedOutput, zone: zoneinfo.ZoneInfo) -> None:
    """Print the energy of each channel and day."""
    print(f"{settings.member}: {expected.model}")
    for channel in expected.channels:
        days: dict[dt.date, int] = {}
        for number, power_mw in enumerate(channel.power_mw):
            start_s = (expected.start_ms + number * expected.step_ms) / 1000
            day = dt.datetime.fromtimestamp(start_s, zone).date()
            days[day] = days.get(day, 0) + power_mw * expected.step_ms
        for day, sum_mw_ms in days.items():
            print(f"{day}  {channel.meter} {channel.channel}  {sum_mw_ms / 3_600_000_000:10.1f} Wh")


if __name__ == "__main__":
    sys.exit(main())
