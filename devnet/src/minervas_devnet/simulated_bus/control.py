"""Orders to a running simulation over a Unix socket: one JSON object per line each way.

Orders: ``status``; ``fault`` (kind, count, address); ``silence`` and ``speak`` (address); ``vanish`` and ``appear``;
``reset_energy`` (address). All but ``status`` name a bus.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from minervas_devnet.simulated_bus.bus import Bus
from minervas_devnet.simulated_bus.faults import Fault

TIMEOUT_S = 5.0
MAX_REPLY_BYTES = 1_000_000


class BusOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="order"):
    """An order to one bus."""

    bus: str


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="order", tag="status"):
    """Tell what all meters show and what happened so far."""


class InjectFault(BusOrder, frozen=True, kw_only=True, tag="fault"):
    """Let the next replies suffer a fault."""

    kind: Fault
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    address: int | None = None
    """Only replies of this slave."""


class Silence(BusOrder, frozen=True, kw_only=True, tag="silence"):
    """Let a slave answer no more."""

    address: int


class Speak(BusOrder, frozen=True, kw_only=True, tag="speak"):
    """Let a slave answer again."""

    address: int


class Vanish(BusOrder, frozen=True, kw_only=True, tag="vanish"):
    """Take the gateway's device away."""


class Appear(BusOrder, frozen=True, kw_only=True, tag="appear"):
    """Put the gateway's device back."""


class ResetEnergy(BusOrder, frozen=True, kw_only=True, tag="reset_energy"):
    """Set a meter's energy registers to zero."""

    address: int


Order = Status | InjectFault | Silence | Speak | Vanish | Appear | ResetEnergy


class ControlServer:
    """Takes orders on a Unix socket.

    Args:
        path: of the socket.
        buses: by name.
    """

    def __init__(self, path: Path, buses: Mapping[str, Bus]) -> None:
        self._path = path
        self._buses = buses
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that a killed process left behind is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": self._carry_out(msgspec.json.decode(line, type=Order))}
        except (msgspec.MsgspecError, LookupError) as error:
            return {"error": str(error)}

    def _carry_out(self, order: Order) -> dict[str, Any]:
        if isinstance(order, Status):
            return {name: bus.status() for name, bus in self._buses.items()}
        bus = self._buses[order.bus]
        match order:
            case InjectFault(kind=kind, count=count, address=address):
                bus.faults.order(kind, count, address)
            case Silence(address=address):
                bus.faults.silent.add(address)
            case Speak(address=address):
                bus.faults.silent.discard(address)
            case Vanish():
                bus.wire.vanish()
            case Appear():
                bus.wire.appear()
            case ResetEnergy(address=address):
                bus.meters[address].reset_energy()
        return {}


class BusControl:
    """Gives orders from another process; each call connects, asks and waits for the answer.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def give(self, order: Order) -> dict[str, Any]:
        """Give an order.

        Returns:
            For `Status`, the status of every bus by name; else nothing.

        Raises:
            OSError: if nobody listens.
            ValueError: if the order was refused.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(self._path))
            connection.sendall(msgspec.json.encode(order) + b"\n")
            with connection.makefile("rb") as answers:
                answer = msgspec.json.decode(answers.readline(MAX_REPLY_BYTES), type=dict[str, Any])
        if "error" in answer:
            raise ValueError(answer["error"])
        content: dict[str, Any] = answer["ok"]
        return content

    def status(self, bus: str) -> dict[str, Any]:
        """Status of one bus."""
        content: dict[str, Any] = self.give(Status())[bus]
        return content
