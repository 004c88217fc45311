"""Command line of the devnet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minervas_devnet import __version__
from minervas_devnet.demo import run_demo
from minervas_devnet.merged_logs import merged_lines

PROGRAM = "minervas-devnet"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed or a check did not hold, 2 unusable arguments."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="A Minervas consortium as local processes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    demo = verbs.add_parser("demo", help="three members join, meter, mine and trade; everything is checked")
    demo.add_argument("--once", action="store_true", help="end after the checks; exit status 0 only if all held")
    logs = verbs.add_parser("logs", help="the logs of all services of a devnet, merged in the order of their times")
    logs.add_argument("directory", type=Path, help="the devnet's work directory")
    verbs.add_parser("version", help="show the version")
    arguments = parser.parse_args()
    if arguments.verb == "version":
        print(__version__)
        return 0
    if arguments.verb == "logs":
        for line in merged_lines(arguments.directory / "logs"):
            print(line)
        return 0
    return run_demo(once=arguments.once)


if __name__ == "__main__":
    sys.exit(main())
