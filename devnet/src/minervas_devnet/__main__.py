"""Command line of the devnet."""

from __future__ import annotations

import argparse
import sys

from minervas_devnet import __version__
from minervas_devnet.demo import run_demo

PROGRAM = "minervas-devnet"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed or a check did not hold, 2 unusable arguments."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="A Minervas consortium as local processes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    demo = verbs.add_parser("demo", help="three members join, mine one chain, and everything is checked")
    demo.add_argument("--once", action="store_true", help="end after the checks; exit status 0 only if all held")
    verbs.add_parser("version", help="show the version")
    arguments = parser.parse_args()
    if arguments.verb == "version":
        print(__version__)
        return 0
    return run_demo(once=arguments.once)


if __name__ == "__main__":
    sys.exit(main())
