"""Write the dashboards and alert rules (`make dashboards`).

For another place: `python -m tools.dashboards --zone Europe/Berlin --currency EUR --output DIRECTORY`.
"""

from __future__ import annotations

import argparse
import re
import zoneinfo
from pathlib import Path

from tools.dashboards.files import all_files, write_files
from tools.workspace import ROOT


def zone(text: str) -> str:
    """A name of the time zone database; it goes into SQL."""
    if text not in zoneinfo.available_timezones():
        raise argparse.ArgumentTypeError(f"not a time zone: {text}")
    return text


def currency(text: str) -> str:
    """An ISO 4217 code."""
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise argparse.ArgumentTypeError(f"not a currency code such as KRW: {text}")
    return text


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(prog="python -m tools.dashboards", description="Write dashboards and alert rules.")
    parser.add_argument("--zone", type=zone, default="Asia/Seoul", help="whose days and hours are shown")
    parser.add_argument("--currency", type=currency, default="KRW", help="as in genesis")
    parser.add_argument("--output", type=Path, default=ROOT / "infra" / "grafana")
    arguments = parser.parse_args()
    write_files(arguments.output, all_files(arguments.zone, arguments.currency))


if __name__ == "__main__":
    main()
