"""Client of Mosquitto's dynamic-security plugin: sends commands over the bus and reads every answer.

The plugin takes JSON on ``$CONTROL/dynamic-security/v1`` and answers on ``.../response``, where every subscriber sees
every answer; ours are told apart by correlation data. Many commands go into one publish, which takes as long as one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_runtime.bus import Bus, Message

log = logging.getLogger(__name__)

COMMAND_TOPIC = "$CONTROL/dynamic-security/v1"
RESPONSE_TOPIC = "$CONTROL/dynamic-security/v1/response"

TIMEOUT_S = 5.0
"""The plugin answers within milliseconds."""

MAX_COMMANDS = 50
"""Commands in one publish."""

PAGE = 100
"""Clients or roles in one answer of a list."""

Command = dict[str, Any]


class DynsecRefused(LocalFault):
    """The plugin refused a command; `reason` is its own sentence."""

    def __init__(self, command: Command, reason: str) -> None:
        subject = str(command.get("username") or command.get("rolename") or command.get("groupname") or "")
        super().__init__(
            Code.BUS_DENIED,
            "The broker's dynamic-security plugin refused a command",
            command=str(command.get("command")),
            subject=subject,
            reason=reason,
        )
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What the plugin said to one command."""

    command: Command
    data: dict[str, Any]
    error: str
    """Empty if it succeeded."""

    def check(self) -> dict[str, Any]:
        """Return the data.

        Raises:
            DynsecRefused: if the command did not succeed.
        """
        if self.error:
            raise DynsecRefused(self.command, self.error)
        return self.data


class DynsecClient:
    """Sends commands and waits for their answers. Call `start` once the bus is connected."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def start(self) -> None:
        """Subscribe to the answers.

        Raises:
            BusDenied: if the broker does not take us for its administrator.
            BusOffline: if there is no connection.
        """
        await self._bus.subscribe(RESPONSE_TOPIC, self._receive)

    async def execute(self, commands: Sequence[Command], *, timeout_s: float = TIMEOUT_S) -> list[Answer]:
        """Carry out commands in order and return all their answers; the caller judges their errors.

        Args:
            commands: without correlation data.
            timeout_s: for each publish of up to `MAX_COMMANDS` commands.

        Raises:
            TransientFault: ``bus_offline`` without a connection, ``timeout`` without an answer: what was carried out
                is then unknown, and commands have to be repeatable.
        """
        answers: list[Answer] = []
        for start in range(0, len(commands), MAX_COMMANDS):
            answers += await self._publish(commands[start : start + MAX_COMMANDS], timeout_s)
        return answers

    async def succeed(self, commands: Sequence[Command], *, timeout_s: float = TIMEOUT_S) -> None:
        """Carry out commands that all have to succeed.

        Raises:
            DynsecRefused: the first refusal; later commands of the same publish were carried out all the same.
            TransientFault: as `execute`.
        """
        for answer in await self.execute(commands, timeout_s=timeout_s):
            answer.check()

    async def list_all(self, command: str, key: str) -> list[dict[str, Any]]:
        """Everything that a list command yields, page by page.

        Args:
            command: ``listClients``, ``listRoles`` or ``listGroups``.
            key: where the answer has the list.

        Raises:
            DynsecRefused: if the plugin does not know the command.
            TransientFault: as `execute`, or if the answer is not understood.
        """
        found: list[dict[str, Any]] = []
        while True:
            ask: Command = {"command": command, "verbose": True, "count": PAGE, "offset": len(found)}
            data = (await self.execute([ask]))[0].check()
            page, total = data.get(key), data.get("totalCount")
            if not isinstance(page, list) or not isinstance(total, int):
                raise TransientFault(Code.WRONG_SHAPE, "The plugin's answer is not understood", command=command)
            found += page
            if len(found) >= total or not page:
                return found

    async def _publish(self, commands: Sequence[Command], timeout_s: float) -> list[Answer]:
        if not self._bus.connected:  # a publish would wait for the connection, longer than a revocation can
            raise TransientFault(Code.BUS_OFFLINE, "Not connected to the broker", principal=self._bus.principal)
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[dict[str, Any]]] = {
            f"{self._prefix}-{next(self._numbers)}": loop.create_future() for _ in commands
        }
        numbered = [{**command, "correlationData": name} for name, command in zip(futures, commands, strict=True)]
        self._waiting.update(futures)
        try:
            async with asyncio.timeout(timeout_s):
                await self._bus.publish(COMMAND_TOPIC, json.dumps({"commands": numbered}).encode())
                raw = [await future for future in futures.values()]
        except TimeoutError as error:
            raise TransientFault(
                Code.TIMEOUT, "The broker's dynamic-security plugin does not answer", timeout_ms=round(timeout_s * 1000)
            ) from error
        finally:
            for name in futures:
                self._waiting.pop(name, None)
        return [_answer(command, response) for command, response in zip(commands, raw, strict=True)]

    def _receive(self, message: Message) -> None:
        try:
            responses = json.loads(message.payload)["responses"]
        except (ValueError, KeyError, TypeError, RecursionError):
            log.warning("dynsec_answer_not_understood", extra={"fields": {"size_bytes": len(message.payload)}})
            return
        for response in _objects(responses):
            future = self._waiting.get(str(response.get("correlationData")))
            if future is not None and not future.done():
                future.set_result(response)


def _objects(value: object) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _answer(command: Command, response: dict[str, Any]) -> Answer:
    data = response.get("data")
    error = response.get("error")
    return Answer(command, data if isinstance(data, dict) else {}, "" if error is None else str(error))
