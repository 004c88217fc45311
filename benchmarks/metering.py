"""The gateway: how much of a serial line it uses, and how much memory it needs.

Meters are simulated by a process of their own, behind pseudo terminals on which characters travel as fast as on a line
of 9600 baud.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import minimalmodbus  # type: ignore[import-untyped]  # ships no types

from benchmarks.results import Result
from minervas_core.meter_maps.meter_map import Block
from minervas_core.meter_maps.modbus_frames import REQUEST_BYTES, reply_bytes
from minervas_devnet.health import health
from minervas_devnet.memory import group_memory
from minervas_devnet.ports import free_port
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_meter_gateway.bus_plan import SILENT_CHARACTERS, SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.serial_port import RecordingPort, open_port
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.key_files import write_atomic
from tests.support.fix_broker import Broker
from tests.support.gateway import GATEWAY, NODE_KEY, MeterSpec, make_genesis, write_settings

BAUD = 9_600
LINE_BITS = 11
"""Start bit, 8 data bits, 2 stop bits: a PZEM's line."""
VALUES = Block(function=4, start=0, count=4)
"""Voltage, current and power of a PZEM-003: three values in four registers."""
SINGLE = ((0, 1), (1, 1), (2, 2))
"""The same values one by one: start and count."""
ROUNDS = 100
SETTLED_READINGS = 500
"""Readings after which the gateway's memory is looked at: 25 of each meter."""
SETTLE_TIMEOUT_S = 120.0
METERS_PER_PORT = 10


def measure() -> list[Result]:
    """Measure; takes about a minute."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # the broker runs under an account of its own
        return [*_line(directory / "line"), _memory(directory / "memory")]


def _line(directory: Path) -> list[Result]:
    """Rounds of three values in a second, as a share of what the line can carry, against single reads."""
    characters = REQUEST_BYTES + reply_bytes(VALUES.count) + 2 * SILENT_CHARACTERS
    limit = BAUD / LINE_BITS / characters
    with _buses(directory, {"line": 1}):
        port = open_port(_plan(directory / "line.tty"))
        blocks = _per_second(_blocks(port))
        single = _per_second(_singles(port))
        port.close()
    return [
        Result("metering.line.share", 100 * blocks / limit, "%", goal=75),
        Result("metering.line.rounds", blocks, "1/s"),
        Result("metering.line.against_single_reads", blocks / single, "x"),
    ]


def _blocks(port: RecordingPort) -> Callable[[], None]:
    plan = _plan(Path("unused"))
    reader = BusReader(port, plan, wait_ms=lambda ms: time.sleep(ms / 1000), now_ms=monotonic_ms)

    def read() -> None:
        if (got := reader.read(1, VALUES, pause_ms=0, timeout_ms=300)).fault is not None:
            raise RuntimeError(f"a read failed: {got.fault}")

    return read


def _singles(port: RecordingPort) -> Callable[[], None]:
    """The naive way: a request for each value."""
    instrument = minimalmodbus.Instrument(port, 1)

    def read() -> None:
        for start, count in SINGLE:
            instrument.read_registers(start, count, functioncode=4)

    return read


def _per_second(work: Callable[[], None]) -> float:
    work()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        work()
    return ROUNDS / (time.perf_counter() - began)


def _plan(device: Path) -> SerialPlan:
    return SerialPlan(str(device), BAUD, "none", 2, timeout_ms=300, local_echo=False)


def _memory(directory: Path) -> Result:
    """A gateway process, connected, that reads 20 meters on two ports every second."""
    ports = {name: directory / f"{name}.tty" for name in ("roof", "barn")}
    meters = [
        MeterSpec(f"{port}-{address}", address, port=port)
        for port in ports
        for address in range(1, METERS_PER_PORT + 1)
    ]
    with _buses(directory, dict.fromkeys(ports, METERS_PER_PORT)):
        broker = Broker(directory / "broker")
        with broker.server:
            more = f'[broker]\nhost = "{broker.server.host}"\nport = {broker.server.port}\n'
            health_port = free_port()
            more += f"[health]\nport = {health_port}\n"
            settings = write_settings(directory, dict(ports), meters, more=more)
            _approve(directory, broker)
            command: list[str | Path] = [console_script("minervas-meter-gateway"), "run", "--config", settings]
            process = ManagedProcess("meter-gateway", command, directory / "gateway.log")
            process.start()
            try:
                _wait(lambda: _readings(health_port) >= SETTLED_READINGS, SETTLE_TIMEOUT_S, "the gateway does not read")
                resident_mb = group_memory(process.pid or 0).resident * 1024 / 1e6
            finally:
                process.stop()
    return Result("metering.gateway.memory", resident_mb, "MB", goal=60, better="lower")


def _readings(health_port: int) -> int:
    """How many readings a gateway has made."""
    return int(health(health_port).get("spool", {}).get("next_sequence", 0))


def _wait(done: Callable[[], bool], timeout_s: float, trouble: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(trouble)
        time.sleep(0.1)


def _approve(directory: Path, broker: Broker) -> None:
    """Install what `minervas join` installs."""
    files = broker.admit(GATEWAY)
    issued = directory / "issued"
    (issued / "certs").mkdir(parents=True)
    shutil.copy(files.cert_file, issued / "certs" / "meter-gateway.crt")
    shutil.copy(files.ca_file, issued / "ca.crt")
    (issued / "genesis.json").write_bytes(make_genesis().raw)
    (issued / "membership.json").write_bytes(b"[]")
    write_atomic(directory / "secrets" / "node.key", NODE_KEY.hex().encode())
    write_atomic(directory / "data" / "tls.key", files.key_file.read_bytes())
    (issued / "ready").touch()


@contextmanager
def _buses(directory: Path, meters: dict[str, int]) -> Iterator[None]:
    """Buses with so many PZEM-003 each, at the addresses from 1 on, in a process of their own."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "buses.toml"
    config.write_text("".join(_bus(name, directory, count) for name, count in meters.items()), encoding="utf-8")
    command = [sys.executable, "-m", "minervas_devnet.simulated_bus", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - fixed command
        try:
            links = [directory / f"{name}.tty" for name in meters]
            _wait(lambda: all(link.exists() for link in links), 60.0, "the simulated bus did not start")
            yield
        finally:
            process.terminate()


def _bus(name: str, directory: Path, count: int) -> str:
    devices = "".join(
        f'[[buses.devices]]\nmodel = "pzem-003"\naddress = {address}\nrated_w = 120\n'
        for address in range(1, count + 1)
    )
    return f'[[buses]]\nname = "{name}"\nlink = "{directory / name}.tty"\nbaud = {BAUD}\n{devices}'
