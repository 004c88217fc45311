"""Meter maps: every shipped map against the vectors of its model, the rounding rule, and maps that users get wrong."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.meter_maps.decoding import NoValue, Values, decode_input, field_value
from minervas_core.meter_maps.meter_map import Field, Input, MeterMap
from minervas_core.meter_maps.modbus_frames import crc16, judge_reply, read_request, registers_of
from minervas_meter_gateway.map_files import find_maps, load_map, load_maps
from minervas_runtime.settings import SettingsError

MAPS = load_maps()

PZEM_REQUEST = "01 04 00 00 00 08 f1 cc"
PZEM_REPLY = "01 04 10 05 40 00 0A 00 0D 00 00 00 02 00 00 00 00 00 00 D6 29"

SDM_FLOATS = {230.2: "43663333", 120.0: "42F00000", -50.0: "C2480000"}

GOOD_MAP = """
format = 1
name = "Test"
source = "this test"
register_step_wh = 1
[serial]
baud = 9600
parity = "none"
stop_bits = 1
[blocks.all]
function = 3
start = 16
count = 4
[inputs.dc]
power = { register = 16, type = "u32", scale = [1, 1] }
energy = { register = 18, type = "u32", scale = [1, 1] }
"""


def block_requests(used: MeterMap, address: int) -> dict[str, str]:
    return {
        name: read_request(address, block.function, block.start, block.count).hex(" ")
        for name, block in used.content.blocks.items()
    }


def decode_reply(map_id: str, input_name: str, replies: dict[str, bytes]) -> Values:
    """Decode good replies by block."""
    used = MAPS[map_id]
    registers: dict[int, int] = {}
    for name, reply in replies.items():
        block = used.content.blocks[name]
        request = read_request(reply[0], block.function, block.start, block.count)
        assert judge_reply(request, reply) is None
        registers.update(enumerate(registers_of(reply), start=block.start))
    return decode_input(used.content.inputs[input_name], registers)


def float_reply(start: int, count: int, floats: dict[int, bytes]) -> bytes:
    """A reply of slave 1 to function 4 with floats (4 bytes each) at their addresses, zeros elsewhere."""
    data = bytearray(2 * count)
    for address, raw in floats.items():
        data[2 * (address - start) : 2 * (address - start) + 4] = raw
    frame = bytes([1, 4, 2 * count]) + bytes(data)
    return frame + crc16(frame)


def field(kind: str, scale: tuple[int, int] = (1, 1), **more: object) -> Field:
    return Field(register=0, type=kind, scale=list(scale), **more)  # type: ignore[arg-type]  # words of a map file


def test_pzem_003_request_and_reply_are_those_of_the_facts() -> None:
    assert block_requests(MAPS["pzem-003"], 1) == {"all": PZEM_REQUEST}
    values = decode_reply("pzem-003", "dc", {"all": bytes.fromhex(PZEM_REPLY)})
    assert values == Values(power_mw=1_300, energy_mwh=2_000, voltage_mv=13_440, current_ma=100)


def test_pzem_003_leaves_the_factory_with_two_stop_bits() -> None:
    serial = MAPS["pzem-003"].content.serial
    assert (serial.baud, serial.parity, serial.stop_bits) == (9600, "none", 2)


def test_sdm630_requests_are_block_reads_of_input_registers() -> None:
    assert block_requests(MAPS["sdm630"], 1) == {
        "total": "01 04 00 2a 00 22 51 db",
        "phases": "01 04 00 00 00 12 70 07",
        "phase_energy": "01 04 01 5a 00 0c d1 e0",
    }


def test_sdm630_floats_are_big_endian_with_the_high_word_first() -> None:
    for number, raw in SDM_FLOATS.items():
        assert struct.unpack(">f", bytes.fromhex(raw))[0] == pytest.approx(number, rel=1e-6)
    power = {0x34: bytes.fromhex(SDM_FLOATS[-50.0]), 0x2A: bytes.fromhex(SDM_FLOATS[230.2])}
    energy = {0x48: bytes.fromhex(SDM_FLOATS[120.0]), 0x4A: struct.pack(">f", 7.5)}
    reply = float_reply(0x2A, 34, power | energy)
    drawn = decode_reply("sdm630", "import", {"total": reply})
    assert drawn == Values(power_mw=-50_000, energy_mwh=120_000_000, voltage_mv=230_200, current_ma=0)
    delivered = decode_reply("sdm630", "export", {"total": reply})
    assert delivered == Values(power_mw=50_000, energy_mwh=7_500_000, voltage_mv=230_200, current_ma=0)


@pytest.mark.parametrize(("phase", "offset"), [("l1", 0), ("l2", 2), ("l3", 4)])
def test_sdm630_phases_are_read_in_two_blocks(phase: str, offset: int) -> None:
    phases = {
        offset: bytes.fromhex(SDM_FLOATS[230.2]),
        0x06 + offset: struct.pack(">f", 2.5),
        0x0C + offset: bytes.fromhex(SDM_FLOATS[-50.0]),
    }
    energies = {0x15A + offset: struct.pack(">f", 1.5), 0x160 + offset: bytes.fromhex(SDM_FLOATS[120.0])}
    replies = {"phases": float_reply(0, 18, phases), "phase_energy": float_reply(0x15A, 12, energies)}
    assert MAPS["sdm630"].blocks_of(f"export_{phase}") == ("phase_energy", "phases")
    assert decode_reply("sdm630", f"export_{phase}", replies) == Values(50_000, 120_000_000, 230_200, 2_500)
    assert decode_reply("sdm630", f"import_{phase}", replies) == Values(-50_000, 1_500_000, 230_200, 2_500)


def test_low_word_first_joins_the_words_the_other_way_round() -> None:
    assert field_value(field("u32", words="low_first"), (0x000D, 0x0001)) == 65_549
    assert field_value(field("u32"), (0x0001, 0x000D)) == 65_549


def test_signed_types_are_twos_complements() -> None:
    assert field_value(field("i16"), (0xFFFE,)) == -2
    assert field_value(field("i32"), (0xFFFF, 0xFFFE)) == -2
    assert field_value(field("u16"), (0xFFFE,)) == 65_534


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(1, 10**6))
def test_a_float_is_taken_as_the_exact_fraction_that_it_is(number: float, scale: int) -> None:
    high, low = struct.unpack(">HH", struct.pack(">f", number))
    assert field_value(field("f32", (scale, 1)), (high, low)) == Fraction(number) * scale


@pytest.mark.parametrize(("raw", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_power_is_rounded_half_to_even(raw: int, expected: int) -> None:
    values = decode_input(_halves(), {0: raw, 1: 0})
    assert values.power_mw == expected


@pytest.mark.parametrize(("raw", "expected"), [(1, 0), (2, 1), (3, 1), (7, 3)])
def test_energy_is_rounded_down(raw: int, expected: int) -> None:
    assert decode_input(_halves(), {0: 0, 1: raw}).energy_mwh == expected


@given(st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=20))
def test_a_rising_float_register_never_falls_after_rounding(kwh: list[float]) -> None:
    used = MAPS["sdm630"].content.inputs["import"]
    shown = []
    for number in sorted(kwh):
        registers = dict.fromkeys(range(0x2A, 0x4C), 0)
        registers[0x48], registers[0x49] = struct.unpack(">HH", struct.pack(">f", number))
        shown.append(decode_input(used, registers).energy_mwh)
        assert shown[-1] == math.floor(Fraction(number) * 1_000_000)
    assert shown == sorted(shown)


def test_what_is_not_a_number_is_no_value() -> None:
    registers = dict.fromkeys(range(0x2A, 0x4C), 0)
    registers[0x48] = 0x7FC0
    with pytest.raises(NoValue) as missing:
        decode_input(MAPS["sdm630"].content.inputs["import"], registers)
    assert missing.value.fault == "sentinel"


def test_a_missing_voltage_is_left_out_and_the_rest_stands() -> None:
    registers = dict.fromkeys(range(0x2A, 0x4C), 0)
    registers[0x2A] = 0x7F80  # infinite
    assert decode_input(MAPS["sdm630"].content.inputs["import"], registers) == Values(0, 0, None, 0)


def test_a_sentinel_is_compared_with_the_raw_registers() -> None:
    absent = field("u32", words="low_first", sentinels=[0xFFFF_FFFF])
    assert field_value(absent, (0xFFFF, 0xFFFF)) is None
    assert field_value(absent, (0xFFFF, 0x7FFF)) == 0x7FFF_FFFF


def test_negative_energy_is_implausible() -> None:
    registers = dict.fromkeys(range(0x2A, 0x4C), 0)
    registers[0x48], registers[0x49] = struct.unpack(">HH", struct.pack(">f", -1.0))
    with pytest.raises(NoValue) as refused:
        decode_input(MAPS["sdm630"].content.inputs["import"], registers)
    assert refused.value.fault == "implausible"


def test_every_input_of_a_shipped_meter_has_power_energy_voltage_and_current() -> None:
    for name in set(MAPS) - {"huawei-sun2000"}:
        for each in MAPS[name].content.inputs.values():
            assert set(each.fields()) == {"power", "energy", "voltage", "current"}


def test_a_user_adds_and_replaces_maps_by_files(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(GOOD_MAP, encoding="utf-8")
    (tmp_path / "sdm630.toml").write_text(GOOD_MAP, encoding="utf-8")
    maps = load_maps(tmp_path)
    assert set(maps) == {"own", *MAPS}
    assert maps["sdm630"].content.name == "Test"


@pytest.mark.parametrize(
    ("wrong", "right", "key", "problem"),
    [
        ("format = 1", "format = 2", "format", ""),
        ("register_step_wh = 1", "", "register_step_wh", "missing"),
        ("count = 4", "count = 3", "inputs.dc.energy", "in no block"),
        ("count = 4", "count = 126", "blocks", "125"),
        ('type = "u32", scale = [1, 1] }\nenergy', 'type = "u64", scale = [1, 1] }\nenergy', "inputs", "u64"),
        ("scale = [1, 1] }\nenergy", "scale = [0, 1] }\nenergy", "inputs.dc.power.scale", "no scale"),
        ("scale = [1, 1] }\nenergy", "scale = [1, 0] }\nenergy", "inputs.dc.power.scale", "no scale"),
        ("scale = [1, 1] }\nenergy", "scale = [0.1, 1] }\nenergy", "inputs", "int"),
        ("[serial]", "colour = 3\n[serial]", "colour", "no such setting"),
        ('source = "this test"\n', "", "source", "missing"),
        ('source = "this test"', 'source = ""', "source", "length"),
        ("[blocks.all]", "[bus]\nmax_registers = 3\n[blocks.all]", "blocks.all.count", "bus.max_registers = 3"),
        ("[blocks.all]", "[bus]\npauze_ms = 3\n[blocks.all]", "bus.pauze_ms", "did you mean pause_ms?"),
        ("start = 16\ncount = 4", "start = 0xFFFE\ncount = 4", "blocks.all.count", "last register"),
        ("count = 4", "count = 4\nmodels = [101]", "blocks.all.start", "model's number"),
        ("function = 3", "function = 4\nmodels = [101]", "blocks.all.start", "model's number"),
        ("function = 3", "function = 6", "blocks.all.function", "write 3 or 4"),
        ("scale = [1, 1] }\nenergy", "scale_register = 20, scale = [1, 1] }\nenergy", "inputs.dc.power", "0x0014"),
        (
            'type = "u32", scale = [1, 1] }\nenergy',
            'type = "u64", scale = [1, 1] }\nenergy',
            "inputs.dc.power.type",
            "u16",
        ),
        (
            'register = 18, type = "u32", scale = [1, 1]',
            'register = 18, type = "u32", scale = [-1, 1]',
            "energy",
            "no scale",
        ),
        (
            'register = 18, type = "u32"',
            'register = 18, type = "u16", sentinels = [0xFFFFFFFF]',
            "inputs.dc.energy.sentinels",
            "0xFFFF",
        ),
        ("[inputs.dc]", "[inputs.ac]\n[inputs.dc]", "inputs.ac.power", "missing"),
    ],
)
def test_a_map_with_a_mistake_is_refused_with_its_key(
    tmp_path: Path, wrong: str, right: str, key: str, problem: str
) -> None:
    file = tmp_path / "own.toml"
    assert wrong in GOOD_MAP
    file.write_text(GOOD_MAP.replace(wrong, right, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_map(file)
    assert refused.value.file == str(file)
    assert key in refused.value.key
    assert problem in str(refused.value)


def test_all_mistakes_of_a_map_are_found(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    two_inputs = GOOD_MAP + GOOD_MAP[GOOD_MAP.index("[inputs.dc]") :].replace("inputs.dc", "inputs.ac")
    file.write_text(two_inputs.replace("count = 4", "count = 3").replace("scale = [1, 1]", "scale = [0, 1]"))
    maps, problems = find_maps(tmp_path)
    assert "own" not in maps
    assert {problem.key for problem in problems} == {
        f"inputs.{name}.{key}" for name in ("dc", "ac") for key in ("power.scale", "energy.scale", "energy")
    }
    assert all(problem.advice for problem in problems)


def test_a_model_needs_a_map_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(GOOD_MAP + "[blocks.more]\nfunction = 3\nstart = 0\ncount = 2\nmodels = [101]\n")
    with pytest.raises(SettingsError, match="only block"):
        load_map(file)


@pytest.mark.parametrize("name", ["My Meter", "my_meter", "-a", "m" * 33])
def test_the_name_of_a_map_is_one_that_the_chain_takes_as_a_model(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(GOOD_MAP, encoding="utf-8")
    with pytest.raises(SettingsError, match="name of a map"):
        load_map(file)


def _halves() -> Input:
    """An input whose power and energy count halves."""
    energy = Field(register=1, type="u16", scale=[1, 2])
    return Input(power=field("u16", (1, 2)), energy=energy)
