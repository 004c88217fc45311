"""Verbs that help people: `maps`, `check-config` and `read`, as tables and for programs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from minervas_meter_gateway.__main__ import main
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.channel_readings import Judged, judge_channel
from minervas_meter_gateway.port_worker import PortWorker
from minervas_meter_gateway.read_once import ReadReport, Shown
from minervas_meter_gateway.register_watch import RegisterWatch
from minervas_runtime.clock import SystemClock
from tests.adapters.test_gateway_map_vectors import VECTORS, Vector
from tests.adapters.test_gateway_maps import GOOD_MAP
from tests.adapters.test_gateway_sunspec import device, inverter
from tests.support.fake_slaves import FakeSlaves
from tests.support.fix_simulated_bus import BusRack
from tests.support.gateway import PV1, PV2, MeterSpec, load, write_settings

SUNSPEC = MeterSpec("inverter", 1, map="sunspec", input="ac", rated_w=5_000)


class Shell:
    """Runs the program in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self._monkeypatch.setattr("sys.argv", ["minervas-meter-gateway", *map(str, arguments)])
        status = main()
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def change(file: Path, *pairs: tuple[str, str]) -> Path:
    text = file.read_text()
    for wrong, right in pairs:
        assert wrong in text, wrong
        text = text.replace(wrong, right, 1)
    file.write_text(text)
    return file


def keys_of(error: str) -> list[str]:
    """The keys that lines of errors name."""
    return [line.split(": ")[3] for line in error.splitlines() if ": error: " in line]


def test_maps_are_shown_with_inputs_reads_and_sources(shell: Shell) -> None:
    status, out, _ = shell.run("maps")
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "sdm120 Eastron SDM120 2400 8N1 10 Wh 200 ms Minervas" in lines
    assert "sunspec ac power energy voltage current 03 model 101/102/103 x52" in lines
    assert "sdm120 export power energy voltage current 04 0x0048 x4, 04 0x0000 x14" in lines
    assert "pzem-004t-v3 esphome/components/pzemac/pzemac.cpp" in lines


def test_an_own_map_is_in_the_list_and_a_bad_one_is_an_error(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(GOOD_MAP)
    (tmp_path / "bad.toml").write_text(GOOD_MAP.replace("count = 4", "count = 3"))
    status, out, error = shell.run("maps", "--directory", tmp_path, "--json")
    shown = {each["map"]: each for each in json.loads(out)}
    assert (shown["own"]["shipped"], shown["own"]["source"], shown["own"]["inputs"]) == (
        False,
        "this test",
        {"dc": ["power", "energy"]},
    )
    assert "bad" not in shown
    assert shown["sdm630"]["shipped"]
    assert status == 2
    assert error.count("error") == 1
    assert f"{tmp_path / 'bad.toml'}: inputs.dc.energy: register 0x0012 (2 wide) is in no block; add or widen" in error


def test_usable_settings_are_shown_as_what_will_be_read(shell: Shell, tmp_path: Path) -> None:
    status, out, error = shell.run("check-config", "--config", write_settings(tmp_path, {"roof": "/dev/null"}, [PV1]))
    assert (status, error) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].endswith("settings of meter-gateway of mokpo-univ are usable")
    assert lines[2].startswith("roof /dev/null yes 115200 8N1")
    assert lines[4] == "pv1 roof 1 pzem-003 dc dc 120"


def test_everything_that_is_wrong_is_said_at_once(shell: Shell, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "own.toml").write_text(GOOD_MAP.replace("count = 4", "count = 3"))
    own = MeterSpec("own", 7, map="own")
    file = write_settings(
        tmp_path, {"roof": "ttyUSB0", "barn": "/dev/ttyUSB1"}, [PV1, PV2, own], more='[maps]\ndirectory = "maps"\n'
    )
    change(
        file,
        ('member = "mokpo-univ"', 'member = "Mokpo"'),
        ('map = "pzem-003"', 'map = "pzem-03"'),
        ("address = 2", "address = 1"),
        ('input = "dc"\nrated_w = 120\n[[meters]]\nid = "own"', 'input = "ac"\nrated_w = 120\n[[meters]]\nid = "own"'),
    )
    status, out, error = shell.run("check-config", "--config", file)
    assert (status, out) == (2, "")
    assert keys_of(error) == [
        "member",
        "meters.address",
        "ports.device of roof",
        "meters.map of pv1",
        "meters.channels.input of pv2.dc",
        "ports",
        "inputs.dc.energy",
    ]
    assert len(error.splitlines()) == len(keys_of(error))


def test_all_mistakes_of_shape_are_said_at_once(shell: Shell, tmp_path: Path) -> None:
    file = change(
        write_settings(tmp_path, {"roof": "/dev/null"}, [PV1, PV2], more='[maps]\ndirectory = "nowhere"\n'),
        ("baud = 115200", "baut = 115200"),
        ('parity = "none"', 'parity = "some"'),
        ("address = 2", "address = 248"),
        ("rated_w = 120", 'rated_w = "120"'),
        ("require_ntp = false", "require_ntp = 0"),
        ('id = "pv2"\n', ""),
    )
    status, out, error = shell.run("check-config", "--config", file, "--json")
    assert status == 2
    report: dict[str, Any] = json.loads(out)
    problems = {each["key"]: (each["problem"], each["advice"]) for each in report["problems"]}
    assert not report["usable"]
    assert set(problems) == {
        "clock.require_ntp",
        "ports[0].baut",
        "ports[0].parity",
        "meters[0].channels[0].rated_w",
        "meters[1].address",
        "meters[1].id",
        "maps.directory",
    }
    assert problems["ports[0].baut"] == ("there is no such setting", "did you mean baud?")
    assert problems["ports[0].parity"] == ("Invalid enum value 'some'", "write none or even or odd")
    assert problems["meters[1].id"] == ("this setting is missing", "add it")
    assert "the rest is checked when that is right" in error


def test_a_table_and_a_list_of_tables_are_told_apart(shell: Shell, tmp_path: Path) -> None:
    file = change(write_settings(tmp_path, {"roof": "/dev/null"}, [PV1]), ("[[ports]]", "[ports]"))
    file.write_text("spool = 3\n" + file.read_text())
    _, _, error = shell.run("check-config", "--config", file)
    assert "ports: Expected a list of tables; write each as [[ports]]" in error
    assert "spool: Expected a table; write it as [spool]" in error


def test_what_is_no_toml_is_one_error(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("member = \n")
    status, _, error = shell.run("check-config", "--config", file)
    assert status == 2
    assert "not TOML" in error


def test_a_mistake_in_the_environment_is_shown_too(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINERVAS_SPOOL__MAX_MB", "much")
    status, _, error = shell.run("check-config", "--config", write_settings(tmp_path, {"roof": "/dev/null"}, [PV1]))
    assert status == 2
    assert "MINERVAS_SPOOL__MAX_MB" in error


async def test_read_shows_every_meter_also_for_programs(shell: Shell, tmp_path: Path, bus_rack: BusRack) -> None:
    await bus_rack.add("roof", {1: ("pzem-003", 120)}, start_wh=77)
    file = write_settings(tmp_path, {"roof": bus_rack.device("roof")}, [PV1, PV2])
    status, out, _ = await asyncio.to_thread(shell.run, "read", "--config", file, "--json")
    first, second = json.loads(out)["channels"]
    assert status == 1
    assert (first["meter"], first["fault"], first["values"]["energy_mwh"]) == ("pv1", None, 77_000)
    assert (second["meter"], second["fault"], second["values"]) == ("pv2", "timeout", None)
    assert first["request"] == "010400000008f1cc"


def test_read_says_what_to_do_about_an_echo(tmp_path: Path) -> None:
    got = judged(tmp_path, PV1, FakeSlaves({1: {}}, echoes=True))
    report = ReadReport((Shown("dc", got),), ())
    assert "echo: set local_echo = true" in report.values_table()
    assert not report.complete


async def test_scan_finds_the_meters_of_a_bus(shell: Shell, tmp_path: Path, bus_rack: BusRack) -> None:
    bus = await bus_rack.add("roof", {2: ("pzem-003", 120), 4: ("sdm630", 30_000)}, start_wh=77_000)
    file = write_settings(tmp_path, {"roof": bus_rack.device("roof")}, [PV1])
    await asyncio.to_thread(shell.run, "scan", "--config", file, "--addresses", "1-5", "--timeout-ms", "100")
    status, out, _ = await asyncio.to_thread(
        shell.run, "scan", "--device", bus_rack.device("roof"), "--baud", "115200", "--addresses", "1-5", "--json"
    )
    assert status == 0
    found = {(each["address"], each["map"]) for each in json.loads(out) if each["fits"]}
    assert {(2, "pzem-003"), (4, "sdm630")} <= found
    assert {address for address, _ in found} == {2, 4}
    energies = {each["values"]["energy_mwh"] for each in json.loads(out) if each["map"] == "pzem-003"}
    assert all(abs(energy - 77_000_000) < 20_000 for energy in energies)
    assert bus.status()["meters"]["2"]["answered"] > 0


def judged(directory: Path, spec: MeterSpec, slaves: FakeSlaves) -> Judged:
    """What a port's thread and the rules of values make of one meter."""
    plan: PortPlan = load(write_settings(directory, {"roof": "/dev/none"}, [spec]))[1][0]
    worker = PortWorker(
        plan, interval_ms=1_000, clock=SystemClock(), on_samples=lambda _: None, opener=lambda _: slaves.recording()
    )
    ((sample,), problem) = worker.read_once()
    assert problem == ""
    return judge_channel(sample, sample.meter.channels[0], RegisterWatch(spec.rated_w, sample.meter.register_step_wh))


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.map_id != "huawei-sun2000"], ids=str)
def test_every_map_is_read_by_the_ports_thread(tmp_path: Path, vector: Vector) -> None:
    spec = MeterSpec("m", 1, map=vector.map_id, input=vector.input_name, rated_w=10_000_000)
    got = judged(tmp_path, spec, FakeSlaves({1: vector.registers}))
    assert (got.fault, got.values) == (None, vector.values)


def test_a_sunspec_inverter_is_read_by_the_ports_thread(tmp_path: Path) -> None:
    got = judged(tmp_path, SUNSPEC, FakeSlaves({1: device()}))
    assert got.values is not None
    assert (got.values.power_mw, got.values.energy_mwh) == (2_000_000, 65_538_000)
    assert got.block.request[:6] == bytes([1, 3]) + (40_070).to_bytes(2, "big") + bytes([0, 52])


def test_a_sunspec_inverter_without_an_inverter_model_is_missing(tmp_path: Path) -> None:
    got = judged(tmp_path, SUNSPEC, FakeSlaves({1: device(models=[])}))
    assert (got.values, got.fault) == (None, "implausible")


def test_a_sunspec_sentinel_is_missing_and_not_zero(tmp_path: Path) -> None:
    got = judged(tmp_path, SUNSPEC, FakeSlaves({1: device(models=[inverter(at24=0, at25=0)])}))
    assert (got.values, got.fault) == (None, "sentinel")
