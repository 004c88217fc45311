"""Modbus slaves behind a pretended serial port: registers by function and address, and a record of what was asked.

Checksums are those of pymodbus, not of the gateway.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pymodbus.framer import FramerRTU

from minervas_meter_gateway.serial_port import RecordingPort

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2
Registers = dict[tuple[int, int], int]
"""Contents by function and wire address; what is not there does not exist."""


def with_crc(frame: bytes) -> bytes:
    """The frame with its checksum."""
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


def words(function: int, start: int, *values: int) -> Registers:
    """Registers one after another."""
    return {(function, start + offset): value for offset, value in enumerate(values)}


def floats(function: int, values: dict[int, float]) -> Registers:
    """IEEE floats, high word first, at their addresses."""
    found: Registers = {}
    for start, value in values.items():
        found |= words(function, start, *struct.unpack(">HH", struct.pack(">f", value)))
    return found


def span(function: int, start: int, count: int) -> Registers:
    """Registers that are 0."""
    return words(function, start, *[0] * count)


@dataclass
class FakeSlaves:
    """What `RecordingPort` uses of a pyserial port; reads time out at once.

    Args:
        slaves: their registers by slave address.
        echoes: whether what is written comes back.
    """

    slaves: dict[int, Registers]
    echoes: bool = False
    requests: list[bytes] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    """How long the port was set to wait for the reply to each request."""
    port: str = "fake"
    is_open: bool = True
    baudrate: int = 4_000_000
    timeout: float = 0.2
    unanswered: int = 0
    """Reads that a real port would have waited for in vain until their timeout."""
    _waiting: bytes = b""

    def recording(self) -> RecordingPort:
        """As the gateway opens it."""
        self.is_open = True
        return RecordingPort(self)

    def asked(self) -> list[tuple[int, int, int, int]]:
        """Address, function, first register and count of each request so far."""
        return [struct.unpack(">BBHH", request[:6]) for request in self.requests]

    def write(self, data: bytes) -> int:
        self.requests.append(data)
        self.timeouts.append(self.timeout)
        self._waiting = (data if self.echoes else b"") + self._answer(data)
        return len(data)

    def read(self, size: int) -> bytes:
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        self.unanswered += len(data) < size
        return data

    def close(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def flush(self) -> None:
        """Everything is sent at once."""

    def reset_input_buffer(self) -> None:
        self._waiting = b""

    def reset_output_buffer(self) -> None:
        """Nothing ever waits."""

    def _answer(self, request: bytes) -> bytes:
        address, function, start, count = struct.unpack(">BBHH", request[:6])
        registers = self.slaves.get(address)
        if registers is None:
            return b""
        wanted = [(function, start + offset) for offset in range(count)]
        if all(key in registers for key in wanted):
            data = b"".join(registers[key].to_bytes(2, "big") for key in wanted)
            return with_crc(bytes([address, function, len(data)]) + data)
        knows_function = any(key[0] == function for key in registers)
        code = ILLEGAL_ADDRESS if knows_function else ILLEGAL_FUNCTION
        return with_crc(bytes([address, function | 0x80, code]))
