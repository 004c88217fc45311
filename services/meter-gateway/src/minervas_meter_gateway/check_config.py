"""Verb ``check-config``: everything that is wrong with settings and maps at once, or what would be read."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minervas_meter_gateway.bus_plan import Planner, PortPlan
from minervas_meter_gateway.map_files import find_maps
from minervas_meter_gateway.settings import GatewaySettings, settings_problems
from minervas_meter_gateway.settings_problems import ManyProblems, load_or_explain
from minervas_meter_gateway.tables import as_table
from minervas_meter_gateway.usb_adapters import NoAdapter, device_path
from minervas_runtime.settings import SettingsError

PORT_HEADS = ("port", "device", "there now", "line", "time to read all")
CHANNEL_HEADS = ("meter", "port", "address", "map", "channel", "input", "rated W")


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What came of checking a settings file."""

    file: Path
    problems: tuple[SettingsError, ...]
    settings: GatewaySettings | None
    """None if the file has not the right shape; then what needs all of it was not checked."""
    ports: tuple[PortPlan, ...] = ()

    def tables(self) -> str:
        """What would be read."""
        interval_ms = self.settings.sampling.interval_ms if self.settings else 0
        ports = as_table(PORT_HEADS, [_port_row(port, interval_ms) for port in self.ports])
        return f"{ports}\n{as_table(CHANNEL_HEADS, _channel_rows(self.ports))}"

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "file": str(self.file),
            "usable": not self.problems,
            "problems": [
                {"file": each.file, "key": each.key, "problem": each.message, "advice": each.advice}
                for each in self.problems
            ],
            "ports": [
                {
                    "name": port.name,
                    "device": port.serial.device,
                    "there": is_there(port.serial.device),
                    "line": port.serial.line,
                    "wire_ms": port.wire_ms,
                }
                for port in self.ports
            ],
            "channels": [dict(zip(CHANNEL_HEADS, row, strict=True)) for row in _channel_rows(self.ports)],
        }


def check_config(file: Path) -> ConfigReport:
    """Check a settings file and the maps that it names."""
    try:
        settings = load_or_explain(file, GatewaySettings, with_environment=True)
    except ManyProblems as error:
        _, of_maps = find_maps(_maps_directory(file))
        return ConfigReport(file, (*error.problems, *of_maps), None)
    maps, of_maps = find_maps(settings.maps.directory)
    broken = {Path(problem.file).stem for problem in of_maps}
    planner = Planner(settings, maps, file, broken_maps=broken)
    ports = planner.plan()
    problems = (*settings_problems(settings, file), *planner.problems, *of_maps)
    return ConfigReport(file, problems, settings, ports)


def is_there(device: str) -> bool | None:
    """Whether a device is there at present; None for a URL, which only opening it can tell."""
    if "://" in device:
        return None
    try:
        return Path(device_path(device)).exists()
    except NoAdapter:
        return False


def _maps_directory(file: Path) -> Path | None:
    """Where the maps of settings are that have not the right shape."""
    try:
        directory = tomllib.loads(file.read_text("utf-8"))["maps"]["directory"]
        return file.resolve().parent / str(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _port_row(port: PortPlan, interval_ms: int) -> tuple[str, ...]:
    there = {True: "yes", False: "no", None: "?"}[is_there(port.serial.device)]
    too_long = " (too long: ticks will be missed)" if port.wire_ms > interval_ms else ""
    time = f"{port.wire_ms} ms of {interval_ms} ms{too_long}"
    return port.name, port.serial.device, there, port.serial.line, time


def _channel_rows(ports: Sequence[PortPlan]) -> list[tuple[str, ...]]:
    return [
        (meter.id, port.name, str(meter.address), meter.map.id, channel.name, channel.input_name, str(channel.rated_w))
        for port in ports
        for meter in port.meters
        for channel in meter.channels
    ]
