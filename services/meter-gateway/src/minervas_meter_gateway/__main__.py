"""Command line of the meter-gateway."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from minervas_meter_gateway import __version__
from minervas_meter_gateway.bus_plan import PortPlan, plan_ports
from minervas_meter_gateway.meter_map import load_maps
from minervas_meter_gateway.read_once import read_ports
from minervas_meter_gateway.service import run_gateway
from minervas_meter_gateway.settings import GatewaySettings, load_gateway_settings
from minervas_meter_gateway.tables import as_table
from minervas_runtime.service import EXIT_FAILED, EXIT_OK, report_errors, run_service

PROGRAM = "minervas-meter-gateway"
SERVICE = "meter-gateway"


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed, 2 unusable arguments or settings."""
    arguments = _parser().parse_args()
    match arguments.verb:
        case "version":
            print(__version__)
            return EXIT_OK
        case "maps":
            return report_errors(PROGRAM, lambda: _show_maps(arguments.directory))
        case "check-config":
            return report_errors(PROGRAM, lambda: _check(arguments.config))
        case "read":
            return report_errors(PROGRAM, lambda: _read(arguments.config, with_frames=arguments.frames))
        case _:
            return report_errors(PROGRAM, lambda: _run(arguments.config))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Reads RS-485 meters for the ledger of its member.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    with_config = {
        "run": "meter until stopped",
        "check-config": "check settings and maps, and show what would be read",
        "read": "read every meter once and show the values (not while the gateway runs)",
    }
    for verb, text in with_config.items():
        verbs.add_parser(verb, help=text).add_argument("--config", type=Path, required=True, metavar="FILE")
    verbs.choices["read"].add_argument("--frames", action="store_true", help="also show the raw bytes")
    maps = verbs.add_parser("maps", help="show the known meter models and their inputs")
    maps.add_argument("--directory", type=Path, metavar="DIR", help="with maps of your own")
    verbs.add_parser("version", help="show the version")
    return parser


def _load(config: Path) -> tuple[GatewaySettings, tuple[PortPlan, ...]]:
    settings = load_gateway_settings(config)
    return settings, plan_ports(settings, load_maps(settings.maps.directory), config)


def _run(config: Path) -> int:
    settings, ports = _load(config)
    return run_service(SERVICE, settings, lambda context: run_gateway(context, ports))


def _check(config: Path) -> int:
    settings, ports = _load(config)
    interval_ms = settings.sampling.interval_ms
    print(f"{config}: settings of {settings.service} of {settings.member} are usable")
    print(as_table(("port", "device", "line", "time on the wire"), [_port_row(port, interval_ms) for port in ports]))
    print(as_table(("meter", "port", "address", "map", "channel", "input", "rated W"), _channel_rows(ports)))
    return EXIT_OK


def _port_row(port: PortPlan, interval_ms: int) -> tuple[str, ...]:
    line = f"{port.serial.baud} 8{port.serial.parity[0].upper()}{port.serial.stop_bits}"
    too_long = " (too long: ticks will be missed)" if port.wire_ms > interval_ms else ""
    return port.name, port.serial.device, line, f"{port.wire_ms} ms of {interval_ms} ms{too_long}"


def _channel_rows(ports: Sequence[PortPlan]) -> list[tuple[str, ...]]:
    return [
        (meter.id, port.name, str(meter.address), meter.map.id, channel.name, channel.input_name, str(channel.rated_w))
        for port in ports
        for meter in port.meters
        for channel in meter.channels
    ]


def _read(config: Path, *, with_frames: bool) -> int:
    _, ports = _load(config)
    report = read_ports(ports)
    for problem in report.problems:
        sys.stderr.write(f"{PROGRAM}: {problem}\n")
    print(report.values_table())
    if with_frames:
        print(report.frames_table())
    return EXIT_OK if report.complete else EXIT_FAILED


def _show_maps(directory: Path | None) -> int:
    rows = []
    for each in load_maps(directory).values():
        serial = each.content.serial
        line = f"{serial.baud} 8{serial.parity[0].upper()}{serial.stop_bits}"
        for name, of in each.content.inputs.items():
            quantities = " ".join(of.fields())
            rows.append((each.id, each.content.name, line, name, quantities, f"{each.content.register_step_wh} Wh"))
    print(as_table(("map", "model", "line", "input", "quantities", "energy step"), rows))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
