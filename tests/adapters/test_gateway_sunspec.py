"""SunSpec: the model is found by walking the chain, powers of ten and sentinels are those of the specification."""

from __future__ import annotations

import pytest

from minervas_core.meter_maps.decoding import NoValue, Values, decode_input
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.map_files import load_maps
from tests.support.fake_slaves import FakeSlaves, Registers, words

SUNSPEC = load_maps()["sunspec"].content
BLOCK = SUNSPEC.blocks["inverter"]
PLAN = SerialPlan(device="fake", baud=9_600, parity="none", stop_bits=1, timeout_ms=200, local_echo=False)
MINUS_1, MINUS_2 = 0xFFFF, 0xFFFE
NOT_IMPLEMENTED_SF = 0x8000


def inverter(model: int = 103, **changes: int) -> list[int]:
    """An inverter model, 50 registers and its head: 230.2 V, 8.69 A, 2,000 W, 65,538 Wh."""
    content = [0] * 52
    content[0:2] = [model, 50]
    content[2], content[6] = 869, MINUS_2
    content[10], content[13] = 2_302, MINUS_1
    content[14], content[15] = 200, 1
    content[24:27] = [0x0001, 0x0002, 0]
    for offset, value in changes.items():
        content[int(offset.removeprefix("at"))] = value
    return content


def device(base: int = 40_000, *, common: int = 66, models: list[list[int]] | None = None) -> Registers:
    """A SunSpec device: signature, model 1 of a length, further models, the end."""
    content = [0x5375, 0x6E53, 1, common, *[0] * common]
    for model in [inverter()] if models is None else models:
        content += model
    return words(3, base, *content, 0xFFFF, 0)


def reader_of(registers: Registers) -> tuple[BusReader, FakeSlaves]:
    slaves = FakeSlaves({1: registers})
    return BusReader(slaves.recording(), PLAN, wait_ms=lambda _: None, now_ms=lambda: 0), slaves


def read(registers: Registers) -> BlockRead:
    return reader_of(registers)[0].read(1, BLOCK, pause_ms=0, timeout_ms=200)


def values(registers: Registers) -> Values:
    got = read(registers)
    assert got.fault is None, got
    return decode_input(SUNSPEC.inputs["ac"], dict(enumerate(got.registers)))


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
@pytest.mark.parametrize("common", [65, 66])
@pytest.mark.parametrize("model", [101, 102, 103])
def test_an_inverter_is_found_wherever_it_stands(base: int, common: int, model: int) -> None:
    found = values(device(base, common=common, models=[[64_001, 3, 7, 7, 7], inverter(model)]))
    assert found == Values(power_mw=2_000_000, energy_mwh=65_538_000, voltage_mv=230_200, current_ma=8_690)


def test_bases_are_tried_in_the_order_of_pysunspec2() -> None:
    reader, slaves = reader_of(device(50_000))
    reader.read(1, BLOCK, pause_ms=0, timeout_ms=200)
    assert slaves.asked()[:3] == [(1, 3, 40_000, 2), (1, 3, 0, 2), (1, 3, 50_000, 2)]


def test_the_chain_is_walked_once_and_then_one_read_brings_value_and_scale_together() -> None:
    reader, slaves = reader_of(device())
    reader.read(1, BLOCK, pause_ms=0, timeout_ms=200)
    known = len(slaves.requests)
    reader.read(1, BLOCK, pause_ms=0, timeout_ms=200)
    assert slaves.asked()[known:] == [(1, 3, 40_070, 52)]


def test_a_model_that_moved_is_not_believed_and_looked_for_again() -> None:
    reader, slaves = reader_of(device())
    assert reader.read(1, BLOCK, pause_ms=0, timeout_ms=200).fault is None
    slaves.slaves[1] = device(models=[[64_001, 2, 9, 9], inverter()])
    assert reader.read(1, BLOCK, pause_ms=0, timeout_ms=200).fault == "implausible"
    again = reader.read(1, BLOCK, pause_ms=0, timeout_ms=200)
    assert (again.fault, again.registers[0]) == (None, 103)


@pytest.mark.parametrize(
    ("registers", "fault"),
    [
        (device(models=[[1, 2, 0, 0]]), "implausible"),  # a chain without an inverter
        (words(3, 40_000, *[7] * 10), "exception"),  # no signature at 40000, nothing at the other bases
        (words(3, 40_000, 0x5375, 0x6E53, 1, 66), "exception"),  # the chain breaks off
        (words(3, 40_000, 0x5375, 0x6E53, 1, 0xFFF0), "implausible"),  # the chain leaves the register space
        (words(4, 0, 1, 2), "exception"),
    ],
)
def test_what_is_no_inverter_gives_no_values(registers: Registers, fault: str) -> None:
    assert read(registers).fault == fault


def test_a_chain_in_which_no_model_has_a_length_ends() -> None:
    reader, slaves = reader_of(words(3, 40_000, 0x5375, 0x6E53, *[5, 0] * 200))
    assert reader.read(1, BLOCK, pause_ms=0, timeout_ms=200).fault == "implausible"
    assert len(slaves.requests) < 100


def test_a_silent_inverter_is_a_timeout() -> None:
    reader = BusReader(FakeSlaves({}).recording(), PLAN, wait_ms=lambda _: None, now_ms=lambda: 0)
    assert reader.read(1, BLOCK, pause_ms=0, timeout_ms=200).fault == "timeout"


def test_power_is_signed_and_scaled_by_the_power_of_ten_beside_it() -> None:
    assert values(device(models=[inverter(at14=0xFFFF, at15=MINUS_2)])).power_mw == -10
    assert values(device(models=[inverter(at14=3, at15=3)])).power_mw == 3_000_000


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({"at14": 0x8000}, "power"),
        ({"at15": NOT_IMPLEMENTED_SF}, "power"),
        ({"at15": 11}, "power"),
        ({"at24": 0, "at25": 0}, "energy"),  # acc32: 0 is "not accumulated"
        ({"at26": NOT_IMPLEMENTED_SF}, "energy"),
    ],
)
def test_what_is_not_implemented_is_no_value(changes: dict[str, int], quantity: str) -> None:
    with pytest.raises(NoValue, match=f"{quantity}: sentinel"):
        values(device(models=[inverter(**changes)]))


def test_a_missing_voltage_or_current_is_left_out() -> None:
    found = values(device(models=[inverter(at10=0xFFFF, at6=NOT_IMPLEMENTED_SF)]))
    assert (found.voltage_mv, found.current_ma, found.power_mw) == (None, None, 2_000_000)
