"""Run the measurements, print a table, write JSON; exit status 1 if a promise is not kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    admission,
    codec,
    connecting,
    dashboards,
    matching,
    memory,
    metering,
    mining,
    readings,
    sync,
    validation,
)
from benchmarks.results import Result, as_json, as_table

AREAS: dict[str, Callable[[], list[Result]]] = {
    "mining": mining.measure,
    "codec": codec.measure,
    "validation": validation.measure,
    "connecting": connecting.measure,
    "matching": matching.measure,
    "sync": sync.measure,
    "readings": readings.measure,
    "dashboards": dashboards.measure,
    "memory": memory.measure,
    "metering": metering.measure,
    "admission": admission.measure,
}


def main() -> int:
    """Measure all areas, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"one of: {', '.join(AREAS)} (default: all)")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks.json"), help="where the numbers are written"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.areas) - set(AREAS):
        parser.error(f"no such area: {', '.join(sorted(unknown))}")
    results = [result for name in arguments.areas or AREAS for result in AREAS[name]()]
    print(as_table(results))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(as_json(results), encoding="utf-8")
    print(f"written to {arguments.json}")
    return 0 if all(result.is_met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
