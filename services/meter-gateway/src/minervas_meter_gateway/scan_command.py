"""Arguments of the verb ``scan``, and the ports and lines that follow from them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from minervas_core.meter_maps.meter_map import MeterMap, Parity
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.map_files import load_maps
from minervas_meter_gateway.scan import (
    PROBE_TIMEOUT_MS,
    AdapterEchoes,
    Finding,
    Scanner,
    ScanOrder,
    findings_json,
    findings_table,
)
from minervas_meter_gateway.serial_port import PortLost, RecordingPort, open_port
from minervas_meter_gateway.settings import PortSettings, load_gateway_settings
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.service import EXIT_FAILED, EXIT_OK
from minervas_runtime.settings import SettingsError

LOWEST_ADDRESS, HIGHEST_ADDRESS = 1, 247

Opener = Callable[[SerialPlan], RecordingPort]


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``scan`` takes."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--device", help="path, USB ids like usb:1a86:7523, or pyserial URL")
    where.add_argument("--config", type=Path, metavar="FILE", help="the ports of these settings")
    parser.add_argument("--port", metavar="NAME", help="only this port of the settings")
    parser.add_argument("--addresses", type=addresses_of, default=addresses_of("1-247"), metavar="1-20,33")
    parser.add_argument(
        "--map", action="append", default=[], metavar="MAP", help="look for this model only; repeatable"
    )
    parser.add_argument("--maps-directory", type=Path, metavar="DIR", help="with maps of your own")
    parser.add_argument("--baud", type=int, help="of the line; as the maps say if not given")
    parser.add_argument("--parity", choices=("none", "even", "odd"))
    parser.add_argument("--stop-bits", type=int, choices=(1, 2))
    parser.add_argument("--timeout-ms", type=int, metavar="MS", help="how long a meter may take to reply")
    parser.add_argument("--thorough", action="store_true", help="try every map at silent addresses too (slow)")
    parser.add_argument("--local-echo", action="store_true", help="the adapter hears what it sends")


def addresses_of(text: str) -> list[int]:
    """Slave addresses written like ``1-20,33``.

    Raises:
        argparse.ArgumentTypeError: for anything else, or addresses that no slave can have.
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            numbers = range(int(first), int(last or first) + 1)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{part!r} is not written like 5 or 1-20") from error
        if not numbers or numbers[0] < LOWEST_ADDRESS or numbers[-1] > HIGHEST_ADDRESS:
            raise argparse.ArgumentTypeError(f"addresses are from {LOWEST_ADDRESS} to {HIGHEST_ADDRESS}, not {part}")
        found += numbers
    return list(dict.fromkeys(found))


def scan(arguments: argparse.Namespace, program: str, *, opener: Opener = open_port) -> int:
    """Scan and show what was found; what was found before an interruption is shown too.

    Raises:
        SettingsError: for settings, maps or names that cannot be used.
    """
    ports, maps = _ports_and_maps(arguments)
    order = ScanOrder(
        addresses=arguments.addresses, maps=maps, timeout_ms=arguments.timeout_ms, thorough=arguments.thorough
    )
    findings: list[Finding] = []
    status = EXIT_OK
    try:
        for plan in _lines(ports, arguments, order):
            findings.extend(_scan_line(plan, order, opener))
    except KeyboardInterrupt:
        status = EXIT_FAILED
    except (PortLost, AdapterEchoes) as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        status = EXIT_FAILED
    _progress("")
    text = json.dumps(findings_json(findings), indent=2) if arguments.json else findings_table(findings)
    sys.stdout.write(f"{text}\n")
    fits = any(each.fits for each in findings)
    return status if fits or status else EXIT_FAILED


def _scan_line(plan: SerialPlan, order: ScanOrder, opener: Opener) -> Iterator[Finding]:
    port = opener(plan)
    try:
        reader = BusReader(port, plan, wait_ms=lambda ms: time.sleep(ms / 1000), now_ms=monotonic_ms)
        time.sleep(max(used.content.bus.connect_pause_ms for used in order.maps.values()) / 1000)
        yield from Scanner(reader, plan, order, _progress).findings()
    finally:
        port.close()


def _ports_and_maps(arguments: argparse.Namespace) -> tuple[list[PortSettings], dict[str, MeterMap]]:
    ports = [PortSettings(name="port", device=arguments.device or "")]
    directory: Path | None = arguments.maps_directory
    if arguments.config:
        settings = load_gateway_settings(arguments.config)
        ports = [port for port in settings.ports if arguments.port in (None, port.name)]
        directory = directory or settings.maps.directory
    if not ports:
        raise SettingsError(f"there is no port {arguments.port}", file=arguments.config, key="ports.name")
    maps = load_maps(directory)
    for name in arguments.map:
        if name not in maps:
            known = f"known are: {', '.join(sorted(maps))}"
            raise SettingsError(f"there is no map {name}", file="--map", advice=known)
    return ports, {name: maps[name] for name in (arguments.map or maps)}


def _lines(ports: Iterable[PortSettings], arguments: argparse.Namespace, order: ScanOrder) -> Iterator[SerialPlan]:
    """Every way in which a port is tried."""
    for port in ports:
        found: dict[tuple[int, Parity], int] = {}
        for used in order.maps.values():
            serial = used.content.serial
            key = arguments.baud or port.baud or serial.baud, arguments.parity or port.parity or serial.parity
            found[key] = max(found.get(key, 1), serial.stop_bits)  # two stop bits are understood by every receiver
        for (baud, parity), stop_bits in sorted(found.items(), reverse=True):
            yield SerialPlan(
                device=port.device,
                baud=baud,
                parity=parity,
                stop_bits=arguments.stop_bits or port.stop_bits or stop_bits,
                timeout_ms=order.timeout_ms or PROBE_TIMEOUT_MS,
                local_echo=arguments.local_echo or port.local_echo,
            )


def _progress(text: str) -> None:
    """Say on a terminal how far it has got, on a line that the next one replaces."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text:<60}" if text else f"\r{'':<60}\r")
        sys.stderr.flush()
