"""The cable: two pseudo terminals with their masters joined, at the speed of a serial line.

The gateway opens the first one's slave through a symbolic link with a fixed name; pymodbus opens the second one's. The
first can vanish and come back, as a USB adapter that is pulled out and put back in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from pathlib import Path

CHUNK_BYTES = 4096
BITS_PER_CHARACTER = 11
"""Start bit, 8 data bits, parity or second stop bit, stop bit."""


class Terminal:
    """One pseudo terminal; we hold its master, and its slave too, so that a program that closes it cuts nothing."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.device = os.ttyname(self._slave)
        """Path of the slave."""

    def close(self) -> None:
        """Hang up: whoever has the device open gets an error from now on."""
        os.close(self.master)
        os.close(self._slave)


class Wire:
    """The cable of one bus.

    Args:
        link: where the gateway finds its end.
        baud: speed at which characters travel.
    """

    def __init__(self, link: Path, baud: int) -> None:
        self._link = link
        self._character_s = BITS_PER_CHARACTER / baud
        self._loop = asyncio.get_running_loop()
        self._slaves = Terminal()
        self._gateway: Terminal | None = None
        self._free_at = 0.0
        self._loop.add_reader(self._slaves.master, self._from_slaves)
        self.appear()

    @property
    def slave_device(self) -> str:
        """The device that the slaves open."""
        return self._slaves.device

    @property
    def present(self) -> bool:
        """Whether the gateway's end is there."""
        return self._gateway is not None

    def appear(self) -> None:
        """Put the gateway's end (back) in place; nothing happens if it is there."""
        if self._gateway is not None:
            return
        self._gateway = Terminal()
        self._link.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._link.with_name(f".{self._link.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self._gateway.device)
        temporary.replace(self._link)
        self._loop.add_reader(self._gateway.master, self._from_gateway)

    def vanish(self) -> None:
        """Take the gateway's end away; nothing happens if it is gone."""
        if self._gateway is None:
            return
        self._link.unlink(missing_ok=True)
        self._loop.remove_reader(self._gateway.master)
        self._gateway.close()
        self._gateway = None

    def close(self) -> None:
        """Take the cable away."""
        self.vanish()
        self._loop.remove_reader(self._slaves.master)
        self._slaves.close()

    def _from_gateway(self) -> None:
        if self._gateway is not None and (data := _read(self._gateway.master)):
            self._travel(data, to_gateway=False)

    def _from_slaves(self) -> None:
        if data := _read(self._slaves.master):
            self._travel(data, to_gateway=True)

    def _travel(self, data: bytes, *, to_gateway: bool) -> None:
        """Hand characters over once they have passed the line, one frame after the other."""
        self._free_at = max(self._free_at, self._loop.time()) + len(data) * self._character_s
        self._loop.call_at(self._free_at, self._arrive, data, to_gateway)

    def _arrive(self, data: bytes, to_gateway: bool) -> None:  # noqa: FBT001  # call_at passes by position
        end = self._gateway if to_gateway else self._slaves
        if end is not None:
            with contextlib.suppress(OSError):  # nobody reads at the far end: a cable does not mind
                os.write(end.master, data)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except OSError:  # hung up in this moment
        return b""
