"""Modbus RTU frames of block reads: built, judged and taken apart. Pure.

Layout (Modbus over serial line, V1.02): slave address, function, data, CRC-16 with its low byte first. A read asks for
``count`` registers from ``start`` on; its reply carries the number of bytes and the registers, each high byte first.
"""

from __future__ import annotations

from minervas_core.metering import Fault

CRC_POLYNOMIAL = 0xA001
"""Bit-reversed 0x8005."""
ERROR_FLAG = 0x80
"""Set in the function code of a reply that reports an exception."""
ERROR_REPLY_BYTES = 5
REQUEST_BYTES = 8
OVERHEAD_BYTES = 5
"""Address, function, byte count and CRC of a good reply."""


def crc16(frame: bytes) -> bytes:
    """Checksum of a frame without its checksum."""
    register = 0xFFFF
    for byte in frame:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (CRC_POLYNOMIAL if register & 1 else 0)
    return register.to_bytes(2, "little")


def read_request(address: int, function: int, start: int, count: int) -> bytes:
    """The request that reads a block."""
    frame = bytes([address, function]) + start.to_bytes(2, "big") + count.to_bytes(2, "big")
    return frame + crc16(frame)


def reply_bytes(count: int) -> int:
    """Length of the good reply to a read of `count` registers."""
    return OVERHEAD_BYTES + 2 * count


def judge_reply(request: bytes, reply: bytes) -> Fault | None:
    """What is wrong with a reply; None for a good one.

    Args:
        request: the read that was sent.
        reply: whatever came until the timeout, at most as many bytes as a good reply has.
    """
    expected = reply_bytes(int.from_bytes(request[4:6], "big"))
    if not reply:
        return "timeout"
    if reply[:REQUEST_BYTES] == request:
        return "echo"
    if is_error_reply(reply):
        return "exception" if reply[0] == request[0] else "wrong_slave"
    return "short" if len(reply) < expected else _judge_whole(request, reply, expected)


def _judge_whole(request: bytes, reply: bytes, expected: int) -> Fault | None:
    if crc16(reply[:-2]) != reply[-2:]:
        return "crc"
    if reply[:2] != request[:2]:
        return "wrong_slave"
    return None if reply[2] == expected - OVERHEAD_BYTES else "short"


def registers_of(reply: bytes) -> tuple[int, ...]:
    """The registers of a good reply."""
    data = reply[3:-2]
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def is_error_reply(reply: bytes) -> bool:
    """Whether it is whole and reports an exception, of whichever slave."""
    return len(reply) == ERROR_REPLY_BYTES and bool(reply[1] & ERROR_FLAG) and crc16(reply[:-2]) == reply[-2:]
