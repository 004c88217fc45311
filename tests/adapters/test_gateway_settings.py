"""Settings of the gateway: what is checked, and how a mistake is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from minervas_meter_gateway.settings import load_gateway_settings
from minervas_runtime.settings import SettingsError
from tests.support.gateway import ARRAY, PV1, PV2, load, write_settings

DEVICES: dict[str, Path | str] = {"roof": "/dev/ttyUSB0"}


def test_serial_settings_come_from_the_map_unless_given(tmp_path: Path) -> None:
    file = write_settings(tmp_path, DEVICES, [PV1])
    text = file.read_text()
    given = load(file)[1][0].serial
    assert (given.baud, given.stop_bits) == (115_200, 1)
    file.write_text(text.replace("baud = 115200\n", "").replace("stop_bits = 1\n", ""))
    from_map = load(file)[1][0].serial
    assert (from_map.baud, from_map.parity, from_map.stop_bits, from_map.timeout_ms) == (9_600, "none", 2, 200)


def test_meters_made_for_different_serial_settings_need_a_decision(tmp_path: Path) -> None:
    file = write_settings(tmp_path, DEVICES, [PV1, ARRAY])
    file.write_text(file.read_text().replace("stop_bits = 1\n", ""))
    with pytest.raises(SettingsError) as refused:
        load(file)
    assert refused.value.key == "ports.stop_bits"
    assert "['1', '2']" in str(refused.value)


def test_only_blocks_that_a_channel_needs_are_read(tmp_path: Path) -> None:
    plan = load(write_settings(tmp_path, DEVICES, [ARRAY]))[1][0]
    assert list(plan.meters[0].blocks) == ["total"]


def test_the_step_of_the_register_comes_from_the_map_unless_given(tmp_path: Path) -> None:
    file = write_settings(tmp_path, DEVICES, [ARRAY])
    assert load(file)[1][0].meters[0].register_step_wh == 10
    file.write_text(file.read_text().replace("address = 3\n", "address = 3\nregister_step_wh = 1\n"))
    assert load(file)[1][0].meters[0].register_step_wh == 1


def test_the_time_on_the_wire_is_that_of_the_facts(tmp_path: Path) -> None:
    file = write_settings(tmp_path, DEVICES, [PV1])
    file.write_text(file.read_text().replace("baud = 115200", "baud = 9600").replace("stop_bits = 1", "stop_bits = 2"))
    wire_ms = load(file)[1][0].wire_ms
    assert 33 + 8 <= wire_ms <= 33 + 8 + 11  # facts/meters.md section 3: 33 ms, 8 ms silence, and turnaround


@pytest.mark.parametrize(
    ("wrong", "right", "key", "advice"),
    [
        ('device = "/dev/ttyUSB0"', 'device = "ttyUSB0"', "ports.device", "absolute path nor a URL"),
        ('name = "dc"', 'name = "CH 2"', "meters[0].channels[0].name", "correct it"),
        (
            'map = "pzem-003"',
            'map = "pzem-004"',
            "meters.map of pv1",
            "known are: dtsu666, growatt, growatt-rtu2, huawei-sun2000",
        ),
        ('input = "dc"', 'input = "ac"', "meters.channels.input of pv1.dc", "known are: dc"),
        ('port = "roof"', 'port = "cellar"', "meters.port", "add it"),
        ("rated_w = 120", "rated_w = 0", "meters[0].channels[0].rated_w", "correct it"),
        ("rated_w = 120", "rated_w = 120\nsing = -1", "meters[0].channels[0].sing", "did you mean sign?"),
        ("baud = 115200", "baut = 115200", "ports[0].baut", "did you mean baud?"),
        ("address = 1", "address = 248", "meters[0].address", "correct it"),
        ('member = "mokpo-univ"', 'member = "Mokpo"', "member", "the id you applied with"),
    ],
)
def test_a_mistake_is_shown_with_its_key_and_what_to_do(
    tmp_path: Path, wrong: str, right: str, key: str, advice: str
) -> None:
    file = write_settings(tmp_path, DEVICES, [PV1])
    text = file.read_text()
    assert wrong in text
    file.write_text(text.replace(wrong, right, 1))
    with pytest.raises(SettingsError) as refused:
        load(file)
    assert key in refused.value.key
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("address = 2", "address = 1"), "1 on roof stands there twice"),
        (('id = "pv2"', 'id = "pv1"'), "pv1 stands there twice"),
    ],
)
def test_meters_are_told_apart(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    file = write_settings(tmp_path, DEVICES, [PV1, PV2])
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(SettingsError, match=problem):
        load_gateway_settings(file)


def test_a_port_without_a_meter_is_a_mistake(tmp_path: Path) -> None:
    file = write_settings(tmp_path, {**DEVICES, "barn": "/dev/ttyUSB1"}, [PV1])
    with pytest.raises(SettingsError, match="port barn has no meter"):
        load(file)
