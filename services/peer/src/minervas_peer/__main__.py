"""Command line of the peer service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minervas_peer import __version__
from minervas_peer.settings import load_peer_settings
from minervas_runtime.service import report_errors, run_service

PROGRAM = "minervas-peer"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed, 2 unusable arguments or settings."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Gossip with other members, and the member's HTTP API.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (("run", "work until stopped"), ("check-config", "check the settings file and say so")):
        verbs.add_parser(verb, help=text).add_argument("--config", type=Path, required=True, metavar="FILE")
    verbs.add_parser("version", help="show the version")
    arguments = parser.parse_args()
    match arguments.verb:
        case "version":
            print(__version__)
            return 0
        case "check-config":
            return report_errors(PROGRAM, lambda: _check(arguments.config))
        case _:
            return report_errors(PROGRAM, lambda: _run(arguments.config))


def _run(config: Path) -> int:
    settings = load_peer_settings(config)
    # Only here, because it brings the web framework: unusable settings are said at once.
    from minervas_peer.service import run_peer  # noqa: PLC0415

    return run_service("peer", settings, run_peer)


def _check(config: Path) -> int:
    settings = load_peer_settings(config)
    print(f"{config}: settings of the peer of {settings.member} are usable")
    return 0


if __name__ == "__main__":
    sys.exit(main())
