"""Which handlers get a message: the table of subscriptions of one bus connection."""

from __future__ import annotations

import asyncio

from minervas_core.topics import matches
from minervas_runtime.bus import Handler, Message
from minervas_runtime.handler_queue import HandlerQueue


class Subscriptions:
    """Handlers by topic filter.

    `deliver` may be called from any thread; everything else belongs to the event loop. Changes replace the whole tuple,
    so that a delivery under way sees either the old or the new table.
    """

    def __init__(self) -> None:
        self._queues: tuple[HandlerQueue, ...] = ()

    @property
    def filters(self) -> list[str]:
        """Every subscribed filter once, in the order of subscription."""
        return list(dict.fromkeys(queue.topic_filter for queue in self._queues))

    @property
    def dropped(self) -> int:
        """Messages dropped because a handler was too slow."""
        return sum(queue.dropped for queue in self._queues)

    def add(self, topic_filter: str, handler: Handler) -> HandlerQueue:
        """Start to feed a handler."""
        queue = HandlerQueue(topic_filter, handler)
        self._queues = (*self._queues, queue)
        return queue

    async def remove(self, queue: HandlerQueue) -> None:
        """Take one handler out and end it."""
        self._queues = tuple(other for other in self._queues if other is not queue)
        await queue.close()

    def deliver(self, message: Message) -> None:
        """Hand a message to every handler whose filter covers its topic."""
        for queue in self._queues:
            if matches(queue.topic_filter, message.topic):
                queue.put(message)

    async def close(self) -> None:
        """End all handlers."""
        queues, self._queues = self._queues, ()
        await asyncio.gather(*(queue.close() for queue in queues))
