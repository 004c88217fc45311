"""Verb `scan`: who is on a bus, which maps fit, and that nothing is ever written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import pytest

from minervas_core.meter_maps.decoding import Values
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.map_files import load_maps
from minervas_meter_gateway.plausible import why_unlikely
from minervas_meter_gateway.scan import AdapterEchoes, Finding, Scanner, ScanOrder
from minervas_meter_gateway.scan_command import add_scan_arguments, addresses_of, scan
from minervas_meter_gateway.serial_port import PortLost, RecordingPort
from minervas_runtime.settings import SettingsError
from tests.adapters.test_gateway_map_vectors import VECTORS
from tests.support.fake_slaves import FakeSlaves, span, with_crc, words

MAPS = load_maps()
PLAN = SerialPlan(device="fake", baud=9_600, parity="none", stop_bits=2, timeout_ms=200, local_echo=False)
READING_FUNCTIONS = {3, 4}
REGISTERS = {str(vector): vector.registers for vector in VECTORS}


def scanned(slaves: FakeSlaves, *, addresses: Sequence[int] = range(1, 6), **order: object) -> list[Finding]:
    reader = BusReader(slaves.recording(), PLAN, wait_ms=lambda _: None, now_ms=lambda: 0)
    what = ScanOrder(addresses=addresses, **({"maps": MAPS} | order))  # type: ignore[arg-type]  # fields by name
    return list(Scanner(reader, PLAN, what, lambda _: None).findings())


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_each_model_is_found_with_its_map(vector: object) -> None:
    found = scanned(FakeSlaves({3: REGISTERS[str(vector)]}))
    name, input_name = str(vector).split()
    assert (3, name, input_name) in {(each.address, each.map_id, each.input_name) for each in found if each.fits}
    assert {each.address for each in found} == {3}


def test_several_meters_are_told_apart() -> None:
    slaves = FakeSlaves({1: REGISTERS["pzem-003 dc"], 4: REGISTERS["sdm120 export"]})
    fitting = {(each.address, each.map_id) for each in scanned(slaves) if each.fits}
    assert fitting == {(1, "pzem-003"), (4, "sdm120")}


def test_nothing_is_ever_written() -> None:
    slaves = FakeSlaves(dict(enumerate(REGISTERS.values(), start=1)))
    scanned(slaves, addresses=range(1, 20), thorough=True)
    assert {function for _, function, _, _ in slaves.asked()} == READING_FUNCTIONS


def test_an_empty_address_costs_two_short_requests() -> None:
    slaves = FakeSlaves({})
    assert scanned(slaves, addresses=range(10, 13)) == []
    assert [address for address, *_ in slaves.asked()] == [10, 10, 11, 11, 12, 12]


def test_somebody_whom_no_map_fits_is_shown() -> None:
    (found,) = scanned(FakeSlaves({2: words(4, 9_000, 1)}))
    assert (found.address, found.map_id, found.fits) == (2, "", False)
    assert "exception_2" in found.verdict


def test_registers_that_are_all_zero_fit_no_map() -> None:
    found = scanned(FakeSlaves({2: span(4, 0, 125)}))
    assert {each.verdict for each in found} == {"all zero"}


def test_a_meter_that_is_silent_about_unknown_registers_is_found_by_its_own_map() -> None:
    class Shy(FakeSlaves):
        def _answer(self, request: bytes) -> bytes:
            answer = super()._answer(request)
            return b"" if answer[1:2] in (b"\x83", b"\x84") else answer

    dtsu = REGISTERS["dtsu666 import"]
    assert scanned(Shy({2: dtsu})) == []
    for order in ({"thorough": True}, {"maps": {"dtsu666": MAPS["dtsu666"]}}):
        assert {each.map_id for each in scanned(Shy({2: dtsu}), **order) if each.fits} == {"dtsu666"}


def test_an_adapter_that_echoes_ends_the_scan_with_advice() -> None:
    with pytest.raises(AdapterEchoes, match="--local-echo"):
        scanned(FakeSlaves({1: REGISTERS["pzem-003 dc"]}, echoes=True))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (Values(0, 0, 230_000, 0), ""),
        (Values(0, 5_000, 0, 0), ""),
        (Values(90_000, 0, 18_000, 5_000), ""),
        (Values(-5_000_000, 0, 230_000, -7_000), ""),
        (Values(0, 0, 0, 0), "all zero"),
        (Values(1, 0, 1_500_001), "voltage not between 0 and 1500 V"),
        (Values(1, 0, -1), "voltage not between 0 and 1500 V"),
        (Values(10_000_000_001, 0), "power beyond 10 MW"),
        (Values(1, 0, 230_000, 10_000_001), "current beyond 10 kA"),
        (Values(1, 10**13 + 1), "energy beyond 10 GWh"),
        (Values(90_000, 0, 0, 5_000), "power without voltage"),
        (Values(0, 0, 18_000, 5_000), "voltage and current without power"),
        (Values(900_000, 0, 18_000, 5_000), "more power than voltage and current give"),
    ],
)
def test_what_a_meter_can_show(values: Values, reason: str) -> None:
    assert why_unlikely(values) == reason


def test_addresses_are_ranges_and_numbers() -> None:
    assert addresses_of("1-3,7,2") == [1, 2, 3, 7]
    for wrong in ("0", "1-248", "5-2", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            addresses_of(wrong)


def run_scan(slaves: FakeSlaves, *given: str) -> tuple[int, list[SerialPlan]]:
    """The verb on a pretended port; its status, and how the port was opened."""
    opened: list[SerialPlan] = []

    def opener(plan: SerialPlan) -> RecordingPort:
        opened.append(plan)
        return slaves.recording()

    parser = argparse.ArgumentParser()
    add_scan_arguments(parser)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(["--device", "/dev/none", "--map", "pzem-003", "--map", "sdm120", *given])
    return scan(arguments, "test", opener=opener), opened


def test_every_line_that_the_models_leave_the_factory_with_is_tried() -> None:
    _, opened = run_scan(FakeSlaves({}), "--addresses", "1-2")
    assert [plan.line for plan in opened] == ["9600 8N2", "2400 8N1"]
    _, opened = run_scan(FakeSlaves({}), "--addresses", "1-2", "--baud", "19200", "--stop-bits", "1")
    assert [plan.line for plan in opened] == ["19200 8N1"]


def test_the_table_shows_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = run_scan(FakeSlaves({2: REGISTERS["pzem-003 dc"]}), "--addresses", "1-3", "--baud", "9600")
    assert status == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:3] == ["address", "line", "map"]
    assert shown[1].split() == ["2", "9600", "8N2", "pzem-003", "dc", "fits", "1.3", "13.44", "0.10", "2"]


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    run_scan(FakeSlaves({2: REGISTERS["pzem-003 dc"]}), "--addresses", "2", "--baud", "9600", "--json")
    (found,) = [each for each in json.loads(capsys.readouterr().out) if each["fits"]]
    assert (found["address"], found["map"], found["input"]) == (2, "pzem-003", "dc")
    assert found["values"] == {"power_mw": 1_300, "energy_mwh": 2_000, "voltage_mv": 13_440, "current_ma": 100}


def test_an_empty_bus_is_a_failure() -> None:
    assert run_scan(FakeSlaves({}), "--addresses", "1")[0] == 1


def test_what_was_found_before_the_port_was_lost_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Pulled(FakeSlaves):
        def write(self, data: bytes) -> int:
            if data[0] > 2:
                raise OSError("pulled out")
            return super().write(data)

    status, _ = run_scan(Pulled({2: REGISTERS["pzem-003 dc"]}), "--addresses", "1-5", "--baud", "9600")
    out, error = capsys.readouterr()
    assert status == 1
    assert "pzem-003" in out
    assert "pulled out" in error


def test_an_unknown_map_is_named_with_those_that_exist() -> None:
    with pytest.raises(SettingsError, match="known are: dtsu666"):
        run_scan(FakeSlaves({}), "--map", "sdm12")


def test_a_garbled_reply_is_somebody() -> None:
    class Garbled(FakeSlaves):
        def _answer(self, request: bytes) -> bytes:
            return with_crc(bytes([request[0], request[1], 4, 0, 0, 0]))[:-1] + b"\0\0" if request[0] == 2 else b""

    (found,) = scanned(Garbled({}))
    assert (found.address, found.fits) == (2, False)


def test_a_port_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(FakeSlaves):
        def recording(self) -> RecordingPort:
            raise PortLost("no such device")

    assert run_scan(Gone({}), "--addresses", "1")[0] == 1
    assert "no such device" in capsys.readouterr().err
