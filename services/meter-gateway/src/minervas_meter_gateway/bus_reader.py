"""Reads meters through one open port, one after another, with the manners that each model asks for.

Belongs to the thread that owns the port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import minimalmodbus  # type: ignore[import-untyped]  # ships no types

from minervas_core.meter_maps.meter_map import Block
from minervas_meter_gateway.block_read import BlockRead, instrument_on, read_block
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.serial_port import RecordingPort
from minervas_meter_gateway.sunspec import find_model


class BusReader:
    """One open port.

    Args:
        port: the port.
        plan: how it was opened.
        wait_ms: waits so many milliseconds, or returns earlier when the owner is stopping.
        now_ms: monotonic time.
    """

    def __init__(
        self, port: RecordingPort, plan: SerialPlan, *, wait_ms: Callable[[int], object], now_ms: Callable[[], int]
    ) -> None:
        self._port = port
        self._plan = plan
        self._wait_ms = wait_ms
        self._now_ms = now_ms
        self._instruments: dict[int, minimalmodbus.Instrument] = {}
        self._last_address: int | None = None
        self._last_ms = 0
        self._model_starts: dict[tuple[int, tuple[int, ...]], int] = {}
        """Where a meter keeps a SunSpec model, by slave address and wanted models."""

    def close(self) -> None:
        """Close the port.

        Raises:
            PortLost: if it is gone.
        """
        self._port.close()

    def read(self, address: int, block: Block, *, pause_ms: int, timeout_ms: int) -> BlockRead:
        """Read one block of one meter.

        Args:
            address: of the meter.
            block: what to read; a block of a SunSpec model is looked for first.
            pause_ms: silence that the meter needs after traffic with another one.
            timeout_ms: how long it may take for its whole reply.

        Raises:
            PortLost: if the port is gone.
        """
        self._keep_silence(address, pause_ms)
        self._port.set_timeout_ms(timeout_ms)
        self._last_address, self._last_ms = address, self._now_ms()
        read = self._read_model(address, block) if block.models else self._read(address, block)
        if read.reply:
            self._last_ms = self._now_ms()
        return read

    def _keep_silence(self, address: int, pause_ms: int) -> None:
        if self._last_address not in (None, address):
            left_ms = self._last_ms + pause_ms - self._now_ms()
            if left_ms > 0:
                self._wait_ms(left_ms)

    def _read_model(self, address: int, block: Block) -> BlockRead:
        """Read a SunSpec model where it was found before; forget the place when something else is there."""
        key = address, tuple(block.models)
        if key not in self._model_starts:
            start, found = find_model(lambda pair: self._read(address, pair), block.models)
            if start is None:
                return found
            self._model_starts[key] = start
        read = self._read(address, _moved(block, self._model_starts[key]))
        if read.fault == "exception" or (read.fault is None and read.registers[0] not in block.models):
            del self._model_starts[key]
        if read.fault is None and read.registers[0] not in block.models:
            return replace(read, fault="implausible")
        return read

    def _read(self, address: int, block: Block) -> BlockRead:
        if address not in self._instruments:
            self._instruments[address] = instrument_on(self._port, self._plan, address)
        return read_block(self._port, self._instruments[address], block)


def _moved(block: Block, start: int) -> Block:
    """The block at another place."""
    return Block(function=block.function, start=start, count=block.count)
