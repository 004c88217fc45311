"""Serial adapters by their USB ids: found wherever they are plugged in, and again after they were away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minervas_meter_gateway import serial_port
from minervas_meter_gateway.serial_port import PortLost, open_port
from minervas_meter_gateway.usb_adapters import NoAdapter, device_path, is_usb_ids
from minervas_runtime.settings import SettingsError
from tests.support.gateway import PV1, load, write_settings


def adapter(device: str, vid: int | None = 0x1A86, pid: int | None = 0x7523, serial_number: str | None = None) -> Any:
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial_number)


CH340 = adapter("/dev/ttyUSB0")
FTDI_A = adapter("/dev/ttyUSB1", 0x0403, 0x6001, "A50285BI")
FTDI_B = adapter("/dev/ttyUSB2", 0x0403, 0x6001, "B9:77")
BUILT_IN = adapter("/dev/ttyS0", None, None)
ALL = [BUILT_IN, CH340, FTDI_A, FTDI_B]


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ("usb:1a86:7523", "/dev/ttyUSB0"),
        ("usb:1A86:7523", "/dev/ttyUSB0"),
        ("usb:0403:6001:A50285BI", "/dev/ttyUSB1"),
        ("usb:0403:6001:B9:77", "/dev/ttyUSB2"),
        ("/dev/serial/by-id/usb-FTDI-if00-port0", "/dev/serial/by-id/usb-FTDI-if00-port0"),
        ("socket://10.0.0.7:8899", "socket://10.0.0.7:8899"),
    ],
)
def test_an_adapter_is_found_by_its_ids(device: str, path: str) -> None:
    assert device_path(device, list_adapters=lambda: ALL) == path


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("usb:0403:6001", "several.*usb:0403:6001:A50285BI.*usb:0403:6001:B9:77.*add the serial number"),
        ("usb:067b:2303", "no adapter usb:067b:2303.*there are: usb:1a86:7523"),
        ("usb:0403:6001:C1", "no adapter"),
    ],
)
def test_what_is_not_exactly_one_adapter_is_shown_with_those_that_are_there(device: str, problem: str) -> None:
    with pytest.raises(NoAdapter, match=problem):
        device_path(device, list_adapters=lambda: ALL)


def test_an_adapter_is_looked_for_anew_each_time_the_port_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [["/dev/none-0"], [], ["/dev/none-7"]]

    def look(device: str) -> str:
        return device_path(device, list_adapters=lambda: [adapter(path) for path in places.pop(0)])

    monkeypatch.setattr(serial_port, "device_path", look)
    plan = load(write_settings(tmp_path, {"roof": "usb:1a86:7523"}, [PV1]))[1][0]
    for problem in ("/dev/none-0", "no adapter usb:1a86:7523", "/dev/none-7"):
        with pytest.raises(PortLost, match=problem):
            open_port(plan.serial)


@pytest.mark.parametrize("device", ["usb:1a86", "usb:1a86:752", "usb:1a86:xyz1", "usb:1a86:7523:"])
def test_ids_of_another_form_are_a_mistake(tmp_path: Path, device: str) -> None:
    assert not is_usb_ids(device)
    with pytest.raises(SettingsError, match="usb:1a86:7523 or usb:0403:6001:A50285BI"):
        load(write_settings(tmp_path, {"roof": device}, [PV1]))
