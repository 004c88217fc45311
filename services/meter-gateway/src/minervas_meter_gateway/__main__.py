"""Command line of the meter-gateway."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minervas_meter_gateway import __version__
from minervas_meter_gateway.bus_plan import PortPlan, plan_ports
from minervas_meter_gateway.check_config import check_config
from minervas_meter_gateway.map_files import find_maps, load_maps
from minervas_meter_gateway.read_once import read_ports
from minervas_meter_gateway.scan_command import add_scan_arguments, scan
from minervas_meter_gateway.settings import GatewaySettings, load_gateway_settings
from minervas_meter_gateway.show_maps import maps_json, maps_tables
from minervas_meter_gateway.substitute import Substitution, add_substitute_arguments, substitute
from minervas_runtime.clock import SystemClock
from minervas_runtime.service import EXIT_FAILED, EXIT_OK, EXIT_SETTINGS, report_errors, run_service, say_fault

PROGRAM = "minervas-meter-gateway"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed, 2 unusable arguments or settings."""
    arguments = _parser().parse_args()
    if arguments.verb == "version":
        print(__version__)
        return EXIT_OK
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "maps": _show_maps,
        "check-config": _check,
        "read": _read,
        "substitute": _substitute,
        "scan": lambda given: scan(given, PROGRAM),
        "run": _run,
    }
    return report_errors(PROGRAM, lambda: verbs[arguments.verb](arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Reads RS-485 meters for the ledger of its member.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    with_config = {
        "run": "meter until stopped",
        "check-config": "check settings and maps: everything that is wrong, or what would be read",
        "read": "read every meter once and show the values (not while the gateway runs)",
    }
    for verb, text in with_config.items():
        verbs.add_parser(verb, help=text).add_argument("--config", type=Path, required=True, metavar="FILE")
    verbs.choices["read"].add_argument("--frames", action="store_true", help="also show the raw bytes")
    maps = verbs.add_parser("maps", help="show the known meter models, their inputs and sources")
    maps.add_argument("--directory", type=Path, metavar="DIR", help="with maps of your own")
    add_substitute_arguments(
        verbs.add_parser("substitute", help="record a register read on a meter's display (not while the gateway runs)")
    )
    add_scan_arguments(verbs.add_parser("scan", help="find meters on a port; only reads (not while the gateway runs)"))
    for verb in ("check-config", "read", "maps", "scan"):
        verbs.choices[verb].add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("version", help="show the version")
    return parser


def _load(config: Path) -> tuple[GatewaySettings, tuple[PortPlan, ...]]:
    settings = load_gateway_settings(config)
    return settings, plan_ports(settings, load_maps(settings.maps.directory), config)


def _run(arguments: argparse.Namespace) -> int:
    settings, ports = _load(arguments.config)
    # Only here, because it brings MQTT, certificates and the database of the spool.
    from minervas_meter_gateway.service import run_gateway  # noqa: PLC0415

    return run_service(settings.service, settings, lambda context: run_gateway(context, ports))


def _check(arguments: argparse.Namespace) -> int:
    report = check_config(arguments.config)
    if arguments.json:
        _print_json(report.as_json())
    for problem in report.problems:
        say_fault(PROGRAM, problem)
    if report.settings is None:
        sys.stderr.write(f"{PROGRAM}: the rest is checked when that is right\n")
    if report.problems:
        return EXIT_SETTINGS
    if not arguments.json and report.settings:
        print(f"{report.file}: settings of {report.settings.service} of {report.settings.member} are usable")
        print(report.tables())
    return EXIT_OK


def _read(arguments: argparse.Namespace) -> int:
    _, ports = _load(arguments.config)
    report = read_ports(ports)
    for problem in report.problems:
        sys.stderr.write(f"{PROGRAM}: {problem}\n")
    if arguments.json:
        _print_json(report.as_json())
    else:
        print(report.values_table())
        if arguments.frames:
            print(report.frames_table())
    return EXIT_OK if report.complete else EXIT_FAILED


def _substitute(arguments: argparse.Namespace) -> int:
    settings, ports = _load(arguments.config)
    wanted = Substitution(arguments.meter, arguments.channel, arguments.energy_wh, arguments.because)
    reading = substitute(settings, ports, wanted, SystemClock())
    print(
        f"{wanted.meter} {wanted.channel}: {wanted.energy_wh} Wh stands as reading {reading.sequence}, marked as "
        "substituted; start the gateway, and it is sent and stated"
    )
    return EXIT_OK


def _show_maps(arguments: argparse.Namespace) -> int:
    maps, problems = find_maps(arguments.directory)
    if arguments.json:
        _print_json(maps_json(maps.values()))
    else:
        print(maps_tables(maps.values()))
    for problem in problems:
        say_fault(PROGRAM, problem)
    return EXIT_SETTINGS if problems else EXIT_OK


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    sys.exit(main())
