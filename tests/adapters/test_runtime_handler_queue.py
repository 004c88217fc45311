"""The queue between the receiving thread and a handler: bounded, in order, and fair to everything else."""

from __future__ import annotations

import asyncio
import threading
import time

from minervas_runtime.bus import Message
from minervas_runtime.handler_queue import HandlerQueue
from tests.support.promises import kept_within
from tests.support.wait import HANG_S, wait_until_async


def numbered(number: int, size: int = 1) -> Message:
    return Message("t", number.to_bytes(4, "big") + bytes(size))


def number_of(message: Message) -> int:
    return int.from_bytes(message.payload[:4], "big")


async def test_messages_beyond_the_count_limit_push_out_the_oldest() -> None:
    got: list[int] = []
    queue = HandlerQueue("t", lambda message: got.append(number_of(message)), max_messages=3)
    for number in range(10):
        queue.put(numbered(number))
    await wait_until_async(lambda: got, describe="the messages")
    assert (got, queue.dropped) == ([7, 8, 9], 7)
    await queue.close()


async def test_messages_beyond_the_byte_limit_push_out_the_oldest_but_never_the_newest() -> None:
    got: list[int] = []
    queue = HandlerQueue("t", lambda message: got.append(number_of(message)), max_bytes=1_000)
    for number in range(4):
        queue.put(numbered(number, 396))
    queue.put(numbered(4, 5_000))
    await wait_until_async(lambda: got, describe="the message")
    assert (got, queue.dropped) == ([4], 4)
    await queue.close()


async def test_the_queue_stays_bounded_while_the_event_loop_is_busy() -> None:
    got: list[int] = []
    queue = HandlerQueue("t", lambda message: got.append(number_of(message)), max_messages=100)

    def flood() -> None:
        for number in range(20_000):
            queue.put(numbered(number))

    thread = threading.Thread(target=flood)
    thread.start()
    thread.join()  # the loop does not run meanwhile
    assert len(queue._messages) == 100
    await wait_until_async(lambda: len(got) == 100, describe="what was kept")
    assert got == list(range(19_900, 20_000))
    await queue.close()


async def test_messages_from_another_thread_arrive_without_polling() -> None:
    got = asyncio.Event()
    queue = HandlerQueue("t", lambda _: got.set())

    async def arrival(number: int) -> float:
        got.clear()
        begin = time.monotonic()
        threading.Thread(target=queue.put, args=(numbered(number),)).start()
        async with asyncio.timeout(HANG_S):
            await got.wait()
        return time.monotonic() - begin

    await kept_within(0.5, arrival)
    await queue.close()


async def test_a_flood_leaves_other_tasks_their_turn() -> None:
    turns = 0
    done = asyncio.Event()

    def handle(message: Message) -> None:
        if number_of(message) == 3_999:
            done.set()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    queue = HandlerQueue("t", handle)
    for number in range(4_000):
        queue.put(numbered(number))
    await other()
    assert turns > 50
    await queue.close()


async def test_closing_cancels_a_handler_that_is_under_way() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    queue = HandlerQueue("t", hang)
    queue.put(numbered(1))
    await begun.wait()
    await queue.close()
    assert cancelled.is_set()


def test_a_message_after_the_end_of_the_loop_is_dropped_silently() -> None:
    async def make() -> HandlerQueue:
        queue = HandlerQueue("t", print)
        await queue.close()
        return queue

    asyncio.run(make()).put(numbered(1))
