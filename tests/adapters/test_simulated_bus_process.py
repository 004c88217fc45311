"""The simulation as a process of its own, with orders over its socket, and the gateway's command line on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minervas_devnet.processes import ManagedProcess, console_script
from minervas_devnet.simulated_bus.control import (
    Appear,
    BusControl,
    InjectFault,
    ResetEnergy,
    Silence,
    Speak,
    Vanish,
)
from minervas_meter_gateway.__main__ import PROGRAM, main
from tests.support.gateway import ARRAY, PV1, write_settings
from tests.support.wait import HANG_S

SETTINGS = """
start_time = "11:30"
control = "bus.sock"
[[buses]]
name = "roof"
link = "devices/roof.tty"
baud = 115200
[[buses.devices]]
model = "pzem-003"
address = 1
rated_w = 120
[[buses.devices]]
model = "sdm630"
address = 3
rated_w = 30000
start_wh = 123450
"""


class Simulation:
    """A running simulation and a gateway's settings for it."""

    def __init__(self, directory: Path) -> None:
        settings = directory / "buses.toml"
        settings.write_text(SETTINGS)
        self.link = directory / "devices" / "roof.tty"
        self.control = BusControl(directory / "bus.sock")
        self.gateway_settings = write_settings(directory, {"roof": self.link}, [PV1, ARRAY])
        self.process = ManagedProcess(
            "simulated-bus",
            [sys.executable, "-m", "minervas_devnet.simulated_bus", "--config", settings],
            directory / "simulation.log",
        )
        self.process.start()
        self.process.wait_for_event("buses_ready", timeout_s=HANG_S)


@dataclass(frozen=True)
class Done:
    """What a verb of the gateway did."""

    status: int
    stdout: str
    stderr: str


class Gateway:
    """Runs verbs of the gateway's command line in this process: starting Python takes longer than all of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str | Path) -> Done:
        """Run a verb."""
        self._monkeypatch.setattr(sys, "argv", [PROGRAM, *map(str, arguments)])
        status = main()
        said = self._capsys.readouterr()
        return Done(status, said.out, said.err)

    def read(self, simulation: Simulation, *options: str) -> Done:
        """Verb `read` on a simulation."""
        return self.run("read", "--config", simulation.gateway_settings, *options)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gateway:
    return Gateway(monkeypatch, capsys)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    running = Simulation(tmp_path_factory.mktemp("simulation"))
    yield running
    running.process.stop()
    assert not running.link.is_symlink()


def test_read_shows_one_table_with_the_values_of_every_channel(simulation: Simulation, gateway: Gateway) -> None:
    done = gateway.read(simulation, "--frames")
    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "meter",
        "channel",
        "input",
        "power",
        "W",
        "voltage",
        "V",
        "current",
        "A",
        *["energy", "Wh", "fault"],
    ]
    pv1, array = (line.split() for line in lines[1:3])
    assert pv1[:3] == ["pv1", "dc", "dc"]
    assert 80 < float(pv1[3]) < 130
    assert array[:3] == ["array", "export", "export"]
    assert int(array[6]) >= 123_450 - 1
    assert "01 04 00 00 00 08 f1 cc" in done.stdout


def test_read_says_which_channel_is_missing_and_why(simulation: Simulation, gateway: Gateway) -> None:
    simulation.control.give(Silence(bus="roof", address=1))
    done = gateway.read(simulation)
    simulation.control.give(Speak(bus="roof", address=1))
    assert done.status == 1
    assert "timeout" in done.stdout.splitlines()[1]


def test_a_device_that_is_away_is_named_and_comes_back(simulation: Simulation, gateway: Gateway) -> None:
    simulation.control.give(Vanish(bus="roof"))
    assert not simulation.link.exists()
    done = gateway.read(simulation)
    assert done.status == 1
    assert str(simulation.link) in done.stderr
    simulation.control.give(Appear(bus="roof"))
    assert gateway.read(simulation).status == 0


def test_ordered_faults_and_replies_are_counted(simulation: Simulation, gateway: Gateway) -> None:
    before = simulation.control.status("roof")
    simulation.control.give(InjectFault(bus="roof", kind="bad_crc", count=1, address=1))
    assert "crc" in gateway.read(simulation).stdout
    after = simulation.control.status("roof")
    assert after["injected"]["bad_crc"] == before["injected"]["bad_crc"] + 1
    assert after["meters"]["3"]["answered"] == before["meters"]["3"]["answered"] + 1
    assert after["meters"]["1"]["answered"] == before["meters"]["1"]["answered"]


def test_a_register_can_be_reset(simulation: Simulation) -> None:
    simulation.control.give(ResetEnergy(bus="roof", address=1))
    assert simulation.control.status("roof")["meters"]["1"]["export_wh"] < 1


@pytest.mark.parametrize(
    ("order", "problem"), [(Vanish(bus="cellar"), "cellar"), (ResetEnergy(bus="roof", address=9), "9")]
)
def test_an_order_that_can_not_be_carried_out_is_refused(
    simulation: Simulation, order: Vanish | ResetEnergy, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        simulation.control.give(order)


def test_check_config_shows_what_would_be_read(simulation: Simulation, gateway: Gateway) -> None:
    done = gateway.run("check-config", "--config", simulation.gateway_settings)
    assert done.status == 0, done.stderr
    assert "115200 8N1" in done.stdout
    assert "export" in done.stdout


def test_unusable_settings_end_with_status_two_and_one_line(tmp_path: Path, gateway: Gateway) -> None:
    file = write_settings(tmp_path, {"roof": "/dev/none"}, [PV1])
    file.write_text(file.read_text().replace("pzem-003", "pzem-4711"))
    done = gateway.run("check-config", "--config", file)
    assert done.status == 2
    assert len(done.stderr.splitlines()) == 1
    assert "there is no map pzem-4711" in done.stderr


def test_maps_lists_the_shipped_models() -> None:
    command = [console_script(PROGRAM), "maps"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    assert "Eastron SDM630" in done.stdout
    assert "Peacefair PZEM-003" in done.stdout
