"""Modbus frames: what is asked, and how a reply is judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from minervas_core.meter_maps.modbus_frames import crc16, judge_reply, read_request, registers_of, reply_bytes
from minervas_core.metering import Fault

REQUEST = read_request(1, 4, 0, 2)


def framed(*content: int) -> bytes:
    return bytes(content) + crc16(bytes(content))


GOOD = framed(1, 4, 4, 0x12, 0x34, 0x00, 0x07)


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_pymodbus(data: bytes) -> None:
    assert crc16(data) == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_a_good_reply_has_its_registers_high_byte_first() -> None:
    assert judge_reply(REQUEST, GOOD) is None
    assert len(GOOD) == reply_bytes(2)
    assert registers_of(GOOD) == (0x1234, 7)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (b"", "timeout"),
        (GOOD[:1], "short"),
        (GOOD[:-1], "short"),
        (GOOD[:-1] + b"\x00", "crc"),
        (framed(2, 4, 4, 0x12, 0x34, 0x00, 0x07), "wrong_slave"),
        (framed(1, 3, 4, 0x12, 0x34, 0x00, 0x07), "wrong_slave"),
        (framed(1, 0x84, 2), "exception"),
        (framed(2, 0x84, 2), "wrong_slave"),
        (framed(1, 4, 2, 0x12, 0x34, 0x00, 0x07), "short"),
        (REQUEST + GOOD[:1], "echo"),
    ],
)
def test_a_bad_reply_has_its_kind_of_fault(reply: bytes, fault: Fault) -> None:
    assert judge_reply(REQUEST, reply) == fault


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_garbled_byte_goes_unnoticed(position: int, change: int) -> None:
    garbled = bytearray(GOOD)
    garbled[position] ^= change
    assert judge_reply(REQUEST, bytes(garbled)) is not None


@given(st.binary(max_size=20))
def test_any_bytes_are_judged_without_an_error(noise: bytes) -> None:
    judge_reply(REQUEST, noise)
