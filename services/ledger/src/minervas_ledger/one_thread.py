"""One thread that runs calls one after another, for work that blocks and must not run side by side.

Unlike an executor's, the thread never holds up the end of the process: whatever hangs in it ends with the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class OneThread:
    """Runs calls in the order in which they were made."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread and return what it returns or raises.

        When the caller is cancelled the call is still made (or goes on), and its result is dropped.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._calls.put((function, done, loop))
        return await done

    def close(self) -> None:
        """End the thread after the calls that were made so far."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done, loop = call
            result, failure = None, None
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001  # handed to the caller, whatever it is
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, done, result, failure)


def _settle(done: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if done.done():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(result)
