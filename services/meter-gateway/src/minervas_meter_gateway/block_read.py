"""Read one block of registers from one meter, and keep what was on the wire."""

from __future__ import annotations

from dataclasses import dataclass

import minimalmodbus  # type: ignore[import-untyped]  # ships no types

from minervas_core.meter_maps.meter_map import Block
from minervas_core.meter_maps.modbus_frames import REQUEST_BYTES, judge_reply, read_request, registers_of
from minervas_core.metering import Fault
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.serial_port import RecordingPort

EXCEPTION_CODE_AT = 2
"""Which byte of a reply that reports an exception has its code."""


@dataclass(frozen=True, slots=True)
class BlockRead:
    """What came of one read."""

    request: bytes
    """As sent; empty if the port was not there to send it."""
    reply: bytes
    """As received, good or bad."""
    fault: Fault | None
    """None for a good reply."""
    registers: tuple[int, ...] = ()
    """Contents of the block, if the reply was good."""

    @property
    def kind(self) -> str | None:
        """The fault as counters name it: with the exception code that the meter gave, if it gave one."""
        if self.fault == "exception" and len(self.reply) > EXCEPTION_CODE_AT:
            return f"exception_{self.reply[EXCEPTION_CODE_AT]}"
        return self.fault


NO_PORT = BlockRead(b"", b"", "port")
"""What comes of a read without a port."""


def instrument_on(port: RecordingPort, plan: SerialPlan, address: int) -> minimalmodbus.Instrument:
    """A meter as minimalmodbus sees it; all meters of a port share the port."""
    instrument = minimalmodbus.Instrument(port, address)
    instrument.handle_local_echo = plan.local_echo
    return instrument


def read_block(port: RecordingPort, instrument: minimalmodbus.Instrument, block: Block) -> BlockRead:
    """Read a block.

    minimalmodbus says what is wrong with a reply only in words, so the raw bytes are judged here once more; its own
    judgement decides whether there is anything wrong.

    Raises:
        PortLost: if the port is gone.
    """
    expected = read_request(instrument.address, block.function, block.start, block.count)
    port.forget()
    try:
        instrument.read_registers(block.start, block.count, functioncode=block.function)
    except minimalmodbus.LocalEchoError:
        return BlockRead(port.request, port.reply, "echo")
    except minimalmodbus.ModbusException:
        reply = _without_echo(port, instrument)
        return BlockRead(port.request, reply, judge_reply(expected, reply) or "short")
    reply = _without_echo(port, instrument)
    return BlockRead(port.request, reply, None, registers_of(reply))


def _without_echo(port: RecordingPort, instrument: minimalmodbus.Instrument) -> bytes:
    return port.reply[REQUEST_BYTES:] if instrument.handle_local_echo else port.reply
