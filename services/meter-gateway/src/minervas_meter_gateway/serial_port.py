"""A serial port for minimalmodbus that keeps the raw bytes of the last transaction.

minimalmodbus takes any object that behaves like a serial port, but hands out decoded registers only. What is stored
with a reading is what was on the wire, good or bad; so the port itself remembers it.

A port belongs to one thread: neither pyserial's ports nor minimalmodbus are safe to share (facts: minimalmodbus has no
lock, and two requests at once garble each other on an RS-485 bus anyway).
"""

from __future__ import annotations

import termios
from collections.abc import Callable
from typing import Any, TypeVar

import serial  # type: ignore[import-untyped]  # pyserial ships no types; everything we use of it is typed in here

from minervas_core.meter_maps.modbus_frames import ERROR_REPLY_BYTES, is_error_reply
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.usb_adapters import NoAdapter, device_path

PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}

T = TypeVar("T")


class PortLost(Exception):
    """The device is not there, not usable, or has gone away; only opening it again can help."""


class RecordingPort:
    """An open port that remembers the last request and reply; has what minimalmodbus uses of a serial port.

    Args:
        device: an open pyserial port.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self.request = b""
        """What was written since `forget`."""
        self.reply = b""
        """What was read since `forget`."""

    @property
    def port(self) -> str | None:
        """The device's name."""
        name: str | None = self._device.port
        return name

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return bool(self._device.is_open)

    @property
    def baudrate(self) -> int:
        """Characters take 10 or 11 bits of it."""
        return int(self._device.baudrate)

    @property
    def timeout(self) -> float:
        """Longest wait for a whole reply, in seconds."""
        return float(self._device.timeout)

    def set_timeout_ms(self, timeout_ms: int) -> None:
        """Wait so long for a whole reply from now on."""
        if self._device.timeout != timeout_ms / 1000:
            self._watched(lambda: setattr(self._device, "timeout", timeout_ms / 1000))

    def forget(self) -> None:
        """Begin a new transaction."""
        self.request = self.reply = b""

    def open(self) -> None:
        """Open again what was closed."""
        self._watched(self._device.open)

    def close(self) -> None:
        """Close; a device that is gone is closed too."""
        self._watched(self._device.close)

    def write(self, data: bytes) -> int:
        """Send bytes."""
        self.request += data
        return int(self._watched(lambda: self._device.write(data)) or 0)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer after the timeout or when they are a whole reply that reports an exception.

        Such a reply is shorter than what was asked for: to wait for more would cost a whole timeout each time. One that
        breaks off after its beginning costs the timeout twice.
        """
        data: bytes = self._watched(lambda: self._device.read(min(size, ERROR_REPLY_BYTES)))
        if ERROR_REPLY_BYTES == len(data) < size and not is_error_reply(data):
            data += self._watched(lambda: self._device.read(size - len(data)))
        self.reply += data
        return data

    def flush(self) -> None:
        """Wait until everything is sent."""
        self._watched(self._device.flush)

    def reset_input_buffer(self) -> None:
        """Throw away what came late."""
        self._watched(self._device.reset_input_buffer)

    def reset_output_buffer(self) -> None:
        """Throw away what was not sent."""
        self._watched(self._device.reset_output_buffer)

    def _watched(self, action: Callable[[], T]) -> T:
        """Do something with the device; whatever goes wrong there means that it is lost.

        Raises:
            PortLost: pyserial raises `termios.error`, which is no OSError, from a device that was pulled out.
        """
        try:
            return action()
        except (OSError, termios.error) as error:
            raise PortLost(str(error)) from error


def open_port(plan: SerialPlan) -> RecordingPort:
    """Open a device path, pyserial URL or USB adapter, for us alone.

    Raises:
        PortLost: if it is not there or another program has it.
    """
    try:
        device = serial.serial_for_url(
            device_path(plan.device),
            baudrate=plan.baud,
            parity=PARITIES[plan.parity],
            stopbits=plan.stop_bits,
            timeout=plan.timeout_ms / 1000,
            write_timeout=plan.timeout_ms / 1000,
            exclusive=True,
        )
    except (NoAdapter, OSError, termios.error, ValueError) as error:
        raise PortLost(str(error)) from error
    return RecordingPort(device)
