"""An RS-485/Ethernet converter: whoever connects by TCP speaks on the bus, as with the device itself.

So containers that share no device can share a bus: a gateway opens it as ``socket://host:port``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import termios
from pathlib import Path

CHUNK_BYTES = 4096
MAX_FRAME_BYTES = 256
"""The longest Modbus RTU frame; whoever sends more without a pause loses what does not fit."""

log = logging.getLogger(__name__)


class Converter:
    """A TCP port in front of a serial device. One connection counts: a new one ends the one before, which may be dead.

    Args:
        device: path of the serial device; it may come and go.
        listen: ``host:port``.
    """

    def __init__(self, device: Path, listen: str) -> None:
        self._device = device
        host, _, port = listen.rpartition(":")
        self._address = host, int(port)
        self._server: asyncio.Server | None = None
        self._connection: asyncio.StreamWriter | None = None

    @property
    def port(self) -> int:
        """The port in use; another than asked for if that was 0."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else self._address[1]

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: if the address cannot be used.
        """
        self._server = await asyncio.start_server(self._serve, *self._address, limit=MAX_FRAME_BYTES)

    async def stop(self) -> None:
        """Stop listening and end the connection."""
        if self._server:
            self._server.close()
            self._server = None
        if self._connection:
            self._connection.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connection:
            self._connection.close()
        self._connection = writer
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:  # pulled out: the converter is there, its bus is not
            log.info("bus_away", extra={"fields": {"device": str(self._device), "reason": error.strerror}})
            writer.close()
            return
        try:
            await self._relay(descriptor, reader, writer)
        finally:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            writer.close()
            if self._connection is writer:
                self._connection = None

    async def _relay(self, descriptor: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes in both directions until one end is gone."""
        termios.tcflush(descriptor, termios.TCIFLUSH)  # what a connection before was sent
        asyncio.get_running_loop().add_reader(descriptor, _pass_on, descriptor, writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                os.write(descriptor, data)


def _pass_on(descriptor: int, writer: asyncio.StreamWriter) -> None:
    """Give what came from the bus to the connection; a bus that is gone ends it."""
    try:
        data = os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if data:
        writer.write(data)
    else:
        asyncio.get_running_loop().remove_reader(descriptor)
        writer.close()
