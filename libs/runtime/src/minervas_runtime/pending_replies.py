"""Requests that wait for their reply, matched by correlation data and by the topic that the reply must come from.

The broker vouches for the topic, so only the party that was asked can answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from minervas_core.errors import Code, TransientFault
from minervas_runtime.bus import Message

CORRELATION_BYTES = 16


class NoReply(TransientFault):
    """The other side did not answer in time."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A request under way."""

    correlation: bytes
    reply_topic: str
    reply: asyncio.Future[Message]

    async def wait(self, timeout_s: float) -> Message:
        """Return the reply.

        Raises:
            NoReply: ``timeout``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self.reply
        except TimeoutError as error:
            raise NoReply(
                Code.TIMEOUT, "No answer to our request", topic=self.reply_topic, timeout_ms=round(timeout_s * 1000)
            ) from error


class PendingReplies:
    """All requests of one bus connection that are under way."""

    def __init__(self) -> None:
        self._expected: dict[bytes, Expected] = {}

    @contextmanager
    def expect(self, reply_topic: str) -> Iterator[Expected]:
        """Register a request for the length of the block."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        expected = Expected(secrets.token_bytes(CORRELATION_BYTES), reply_topic, future)
        self._expected[expected.correlation] = expected
        try:
            yield expected
        finally:
            del self._expected[expected.correlation]

    def settle(self, message: Message) -> bool:
        """Hand a reply to its request; False if nobody waits for it, or it comes from the wrong party."""
        expected = self._expected.get(message.correlation or b"")
        if expected is None or expected.reply_topic != message.topic or expected.reply.done():
            return False
        expected.reply.set_result(message)
        return True
