"""Serial adapters named by their USB ids, so that it does not matter in which order they were plugged in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from serial.tools import list_ports  # type: ignore[import-untyped]  # pyserial ships no types

PREFIX = "usb:"
_IDS = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?\Z", re.IGNORECASE)


class NoAdapter(Exception):
    """No adapter, or more than one, has these ids at present."""


def is_usb_ids(device: str) -> bool:
    """Whether a device is written as ``usb:vvvv:pppp`` or ``usb:vvvv:pppp:serial``."""
    return _IDS.match(device) is not None


def device_path(device: str, *, list_adapters: Callable[[], Iterable[Any]] = list_ports.comports) -> str:
    """The path under which an adapter is at present; anything but USB ids is returned as it is.

    Args:
        device: of the settings.
        list_adapters: what is plugged in, as pyserial describes it.

    Raises:
        NoAdapter: if there is not exactly one.
    """
    ids = _IDS.match(device)
    if ids is None:
        return device
    present = [each for each in list_adapters() if each.vid is not None and each.pid is not None]
    fitting = [each for each in present if _fits(each, ids)]
    if len(fitting) == 1:
        return str(fitting[0].device)
    if fitting:
        choice = ", ".join(f"{usb_ids(each)} ({each.device})" for each in fitting)
        raise NoAdapter(f"several adapters are {device}: {choice}; add the serial number, or use a path in by-path")
    raise NoAdapter(f"no adapter {device} is plugged in; there are: {', '.join(map(usb_ids, present)) or 'none'}")


def usb_ids(adapter: Any) -> str:
    """How the settings name an adapter that is plugged in."""
    serial_number = f":{adapter.serial_number}" if adapter.serial_number else ""
    return f"{PREFIX}{adapter.vid:04x}:{adapter.pid:04x}{serial_number}"


def _fits(adapter: Any, ids: re.Match[str]) -> bool:
    vendor, product, serial_number = ids.groups()
    same_model = (adapter.vid, adapter.pid) == (int(vendor, 16), int(product, 16))
    return same_model and serial_number in (None, adapter.serial_number)
