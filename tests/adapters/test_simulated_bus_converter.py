"""A simulated bus reached by TCP: the meter-gateway's own way of opening `socket://` reads real meters through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio

from minervas_devnet.simulated_bus.bus import Bus
from minervas_devnet.simulated_bus.faults import crc
from minervas_devnet.simulated_bus.settings import BusSettings, DeviceSettings
from minervas_devnet.simulated_bus.solar_day import measured_day

ANSWER_S = 20.0
NOON_S = 12 * 3600


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A bus with one panel at noon, on a port of its own."""
    settings = BusSettings(
        name="roof",
        link=tmp_path / "roof.tty",
        listen="127.0.0.1:0",
        baud=115_200,
        devices=[DeviceSettings(model="pzem-003", address=1, rated_w=120)],
    )
    running = Bus(settings, day=measured_day(), start_second=NOON_S, speed=1.0, seed=1)
    await running.start()
    yield running
    await running.stop()


def request() -> bytes:
    """Read the eight input registers of slave 1."""
    head = bytes([1, 4, 0, 0, 0, 8])
    return head + crc(head)


@asynccontextmanager
async def connected(bus: Bus) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    assert bus.converter is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", bus.converter.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(request())
    return await asyncio.wait_for(reader.readexactly(21), ANSWER_S)


async def ended(reader: asyncio.StreamReader) -> bool:
    return await asyncio.wait_for(reader.read(), ANSWER_S) == b""


async def test_a_meter_answers_through_the_converter_as_on_the_wire(bus: Bus) -> None:
    async with connected(bus) as link:
        reply = await ask(*link)
    assert reply[:3] == bytes([1, 4, 16])
    assert reply[-2:] == crc(reply[:-2])
    assert int.from_bytes(reply[3:5]) > 0  # volts


async def test_a_new_connection_ends_the_one_before_and_is_served(bus: Bus) -> None:
    async with connected(bus) as first:
        await ask(*first)
        async with connected(bus) as second:
            assert await ended(first[0])
            assert (await ask(*second))[0] == 1


async def test_a_bus_that_vanishes_ends_the_connection_and_serves_again_when_it_is_back(bus: Bus) -> None:
    async with connected(bus) as link:
        await ask(*link)
        bus.wire.vanish()
        assert await ended(link[0])
    async with connected(bus) as link:
        assert await ended(link[0])
    bus.wire.appear()
    async with connected(bus) as link:
        assert (await ask(*link))[0] == 1
