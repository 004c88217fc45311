"""Every shipped map: what it asks, what a reply of its model means, and where that is documented.

Frames written out in hex are those of the facts about meters; the checksums of all others are made by pymodbus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from minervas_core.meter_maps.decoding import NoValue, Values, decode_input
from minervas_core.meter_maps.modbus_frames import judge_reply, registers_of
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.map_files import load_maps
from tests.support.fake_slaves import FakeSlaves, Registers, floats, span, with_crc, words

MAPS = load_maps()
PLAN = SerialPlan(device="fake", baud=9_600, parity="none", stop_bits=1, timeout_ms=200, local_echo=False)


@dataclass(frozen=True)
class Vector:
    """One input of one map on a slave with address 1."""

    map_id: str
    input_name: str
    registers: Registers
    values: Values
    requests: list[str] = field(default_factory=list)
    """Frames that must be on the wire, with their checksums from the facts; else any with a good one."""

    def __str__(self) -> str:
        return f"{self.map_id} {self.input_name}"


PZEM_003 = words(4, 0, 0x0540, 0x000A, 0x000D, 0, 2, 0, 0, 0)
PZEM_004T = words(4, 0, 0x08D1, 0x006C, 0, 0x00F4, 0, 0x0026, 0, 0x01F4, 0x0064, 0)
SDM120 = span(4, 0, 14) | floats(4, {0x00: 230.2, 0x06: 0.5, 0x0C: -50.0, 0x48: 120.0, 0x4A: 7.5})
SDM630 = span(4, 0x2A, 34) | floats(4, {0x2A: 230.2, 0x30: 1.5, 0x34: -50.0, 0x48: 120.0, 0x4A: 7.5})
DTSU = (
    span(3, 0x2006, 14)
    | span(3, 0x101E, 12)
    | floats(3, {0x2006: 2302.0, 0x200C: 1500.0, 0x2012: -500.0, 0x101E: 120.0, 0x1028: 7.5})
)
GROWATT = span(4, 0, 33) | words(4, 11, 0x0001, 0x0002) | words(4, 14, 2_302, 285) | words(4, 28, 0x0001, 0x0003)
GROWATT_2 = (
    span(4, 0, 95)
    | words(4, 1, 0, 12_345, 3_100, 20)
    | words(4, 35, 0, 12_000, 5_001, 2_302, 52)
    | words(4, 55, 0x0001, 0x0003)
    | words(4, 91, 0x0001, 0x0004)
)
HUAWEI = (
    words(3, 32_064, 0, 2_100)
    | words(3, 32_080, 0, 2_000)
    | words(3, 32_106, 0x0001, 0x0002, 0x0001, 0x0003)
    | span(3, 37_101, 37)
    | words(3, 37_101, 0, 2_302)
    | words(3, 37_107, 0xFFFF, 0xFF38)
    | words(3, 37_113, 0xFFFF, 0xFE0C)
    | words(3, 37_119, 0, 700, 0, 800)
)

VECTORS = [
    Vector("pzem-003", "dc", PZEM_003, Values(1_300, 2_000, 13_440, 100), ["01 04 00 00 00 08 f1 cc"]),
    Vector("pzem-004t-v3", "ac", PZEM_004T, Values(24_400, 38_000, 225_700, 108), ["01 04 00 00 00 0a 70 0d"]),
    Vector(
        "sdm120",
        "import",
        SDM120,
        Values(-50_000, 120_000_000, 230_200, 500),
        ["01 04 00 48 00 04 71 df", "01 04 00 00 00 0e 71 ce"],
    ),
    Vector("sdm120", "export", SDM120, Values(50_000, 7_500_000, 230_200, 500)),
    Vector("sdm630", "import", SDM630, Values(-50_000, 120_000_000, 230_200, 1_500)),
    Vector("sdm630", "export", SDM630, Values(50_000, 7_500_000, 230_200, 1_500)),
    Vector("dtsu666", "import", DTSU, Values(-50_000, 120_000_000, 230_200, 1_500)),
    Vector("dtsu666", "export", DTSU, Values(50_000, 7_500_000, 230_200, 1_500)),
    Vector("growatt", "ac", GROWATT, Values(6_553_800, 6_553_900_000, 230_200, 28_500)),
    Vector("growatt-rtu2", "ac", GROWATT_2, Values(1_200_000, 6_553_900_000, 230_200, 5_200)),
    Vector("growatt-rtu2", "pv", GROWATT_2, Values(1_234_500, 6_554_000_000, 310_000, 2_000)),
    Vector("huawei-sun2000", "ac", HUAWEI, Values(2_000_000, 655_380_000), ["01 03 7d 50 00 02 dc 76"]),
    Vector("huawei-sun2000", "dc", HUAWEI, Values(2_100_000, 655_390_000)),
    Vector("huawei-sun2000", "grid_export", HUAWEI, Values(-500_000, 7_000_000, 230_200, -2_000)),
    Vector("huawei-sun2000", "grid_import", HUAWEI, Values(500_000, 8_000_000, 230_200, -2_000)),
]

OTHERWISE_TESTED = {"sunspec", "sdm630"}
"""The chain of models in test_gateway_sunspec.py, the phases of the SDM630 in test_gateway_maps.py."""

FACTORY_LINES = {
    "pzem-003": (9_600, "none", 2),
    "pzem-004t-v3": (9_600, "none", 1),
    "sdm120": (2_400, "none", 1),
    "sdm630": (9_600, "none", 1),
    "growatt": (9_600, "none", 1),
}


def read(map_id: str, input_name: str, slaves: FakeSlaves) -> dict[int, int]:
    """Read what an input needs from slave 1; registers by address."""
    used = MAPS[map_id]
    reader = BusReader(slaves.recording(), PLAN, wait_ms=lambda _: None, now_ms=lambda: 0)
    registers: dict[int, int] = {}
    for name in used.blocks_of(input_name):
        block = used.content.blocks[name]
        got = reader.read(1, block, pause_ms=0, timeout_ms=200)
        assert got.fault is None, got
        registers.update(enumerate(got.registers, start=block.start))
    return registers


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_a_map_asks_and_understands_what_its_model_does(vector: Vector) -> None:
    slaves = FakeSlaves({1: vector.registers})
    registers = read(vector.map_id, vector.input_name, slaves)
    assert decode_input(MAPS[vector.map_id].content.inputs[vector.input_name], registers) == vector.values
    frames = [frame.hex(" ") for frame in slaves.requests]
    assert all(frame == with_crc(frame[:-2]) for frame in slaves.requests)
    assert set(vector.requests) <= set(frames)


@pytest.mark.parametrize(
    ("map_id", "input_name", "request_hex", "reply", "values"),
    [
        (
            "pzem-003",
            "dc",
            "01 04 00 00 00 08 f1 cc",
            "01 04 10 05 40 00 0A 00 0D 00 00 00 02 00 00 00 00 00 00 D6 29",
            Values(1_300, 2_000, 13_440, 100),
        ),
        (
            "pzem-004t-v3",
            "ac",
            "01 04 00 00 00 0a 70 0d",
            "01 04 14 08 D1 00 6C 00 00 00 F4 00 00 00 26 00 00 01 F4 00 64 00 00 51 34",
            Values(24_400, 38_000, 225_700, 108),
        ),
    ],
)
def test_recorded_frames_of_real_meters(
    map_id: str, input_name: str, request_hex: str, reply: str, values: Values
) -> None:
    raw = bytes.fromhex(reply)
    assert judge_reply(bytes.fromhex(request_hex), raw) is None
    assert decode_input(MAPS[map_id].content.inputs[input_name], dict(enumerate(registers_of(raw)))) == values


def test_every_input_of_every_shipped_map_has_a_vector_and_every_map_a_source() -> None:
    tested = {(each.map_id, each.input_name) for each in VECTORS}
    for map_id, used in MAPS.items():
        assert used.shipped
        assert used.content.source
        if map_id not in OTHERWISE_TESTED:
            assert {(map_id, name) for name in used.content.inputs} <= tested
    assert OTHERWISE_TESTED | {each.map_id for each in VECTORS} == set(MAPS)


@pytest.mark.parametrize(("map_id", "line"), FACTORY_LINES.items())
def test_meters_are_expected_as_they_leave_the_factory(map_id: str, line: tuple[int, str, int]) -> None:
    serial = MAPS[map_id].content.serial
    assert (serial.baud, serial.parity, serial.stop_bits) == line


@pytest.mark.parametrize("raw", [(0x8000, 0x0000), (0x7FFF, 0xFFFF)])
def test_huawei_says_in_two_ways_that_it_has_no_power(raw: tuple[int, int]) -> None:
    registers = read("huawei-sun2000", "ac", FakeSlaves({1: HUAWEI | words(3, 32_080, *raw)}))
    with pytest.raises(NoValue, match="power: sentinel"):
        decode_input(MAPS["huawei-sun2000"].content.inputs["ac"], registers)


def test_huawei_without_a_yield_is_missing_and_not_huge() -> None:
    registers = read("huawei-sun2000", "ac", FakeSlaves({1: HUAWEI | words(3, 32_106, 0xFFFF, 0xFFFF)}))
    with pytest.raises(NoValue, match="energy: sentinel"):
        decode_input(MAPS["huawei-sun2000"].content.inputs["ac"], registers)


@pytest.mark.parametrize(("energy", "fits"), [((0x967F, 0x0098), True), ((0x9680, 0x0098), False)])
def test_a_pzem_never_shows_more_than_its_register_holds(energy: tuple[int, int], fits: bool) -> None:
    """9,999,999 Wh and one more; words in the order of the wire, low first."""
    used = MAPS["pzem-003"].content
    registers = read("pzem-003", "dc", FakeSlaves({1: PZEM_003 | words(4, 4, *energy)}))
    if fits:
        shown = decode_input(used.inputs["dc"], registers, register_end_wh=used.register_end_wh)
        assert shown.energy_mwh == 9_999_999_000
    else:
        with pytest.raises(NoValue, match="energy: implausible"):
            decode_input(used.inputs["dc"], registers, register_end_wh=used.register_end_wh)
