"""A bounded queue between the thread that receives and one handler on the event loop.

The receiving thread appends under a lock and wakes the loop at most once, so memory stays bounded even while the loop
is busy: beyond the limits the oldest messages are dropped and counted. What is dropped is pulled again by whoever
needs it (design section 3).
"""

from __future__ import annotations

import asyncio
import collections
import inspect
import logging
import threading

from minervas_core.errors import MinervasError
from minervas_runtime.bus import Handler, Message
from minervas_runtime.metrics import BUS_DROPPED, BUS_RECEIVED, HANDLER_ERRORS

log = logging.getLogger(__name__)

MAX_MESSAGES = 4096
"""Messages kept for one slow handler."""

MAX_BYTES = 32 * 1024 * 1024
"""Payload bytes kept for one slow handler."""

BATCH = 32
"""Messages handled in a row before other tasks get their turn."""


class HandlerQueue:
    """Feeds one handler with messages in the order of arrival, one at a time."""

    def __init__(
        self, topic_filter: str, handler: Handler, *, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.topic_filter = topic_filter
        self.dropped = 0
        """How many messages were dropped so far."""
        self._handler = handler
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: collections.deque[Message] = collections.deque()
        self._size_bytes = 0
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._task = asyncio.create_task(self._work(), name=f"handler of {topic_filter}")

    def put(self, message: Message) -> None:
        """Append a message; may be called from any thread."""
        with self._lock:
            was_empty = not self._messages
            self._messages.append(message)
            self._size_bytes += len(message.payload)
            dropped = self._drop_oldest()
        if dropped:
            BUS_DROPPED.labels(self.topic_filter).inc(dropped)
        if was_empty:
            try:
                self._loop.call_soon_threadsafe(self._filled.set)
            except RuntimeError:  # the loop closed while a last message came in: nobody is left to handle it
                log.debug("message_after_loop_end", extra={"fields": {"topic": message.topic}})

    def _drop_oldest(self) -> int:
        """Make the queue fit its limits; the newest message always stays."""
        dropped = 0
        while len(self._messages) > 1 and (
            len(self._messages) > self._max_messages or self._size_bytes > self._max_bytes
        ):
            self._size_bytes -= len(self._messages.popleft().payload)
            dropped += 1
        self.dropped += dropped
        return dropped

    def _take(self) -> Message | None:
        with self._lock:
            if not self._messages:
                return None
            message = self._messages.popleft()
            self._size_bytes -= len(message.payload)
            return message

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            handled = 0
            while (message := self._take()) is not None:
                await self._handle(message)
                handled += 1
                if handled % BATCH == 0:
                    await asyncio.sleep(0)  # a flood of messages must not starve everything else on the loop

    async def _handle(self, message: Message) -> None:
        """Run the handler; whatever goes wrong in it concerns this message only."""
        BUS_RECEIVED.labels(self.topic_filter).inc()
        try:
            result = self._handler(message)
            if inspect.isawaitable(result):
                await result
        except MinervasError as error:
            fields = {"topic": message.topic, "code": error.code, "reason": str(error)}
            log.warning("message_refused", extra={"fields": fields})
        except Exception:
            HANDLER_ERRORS.labels(self.topic_filter).inc()
            log.exception("handler_failed", extra={"fields": {"topic": message.topic}})

    async def close(self) -> None:
        """End the worker; a handler that is under way is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
