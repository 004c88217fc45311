"""The spool on a thread of its own: a commit waits for the disk, and the event loop must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from minervas_meter_gateway.spool import Spool

T = TypeVar("T")


class SpoolThread:
    """Runs calls on the spool one after another.

    Args:
        opener: opens the spool, on its thread.
    """

    def __init__(self, opener: Callable[[], Spool]) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        try:
            self.file = self._executor.submit(opener).result()
            """The spool; from other threads only its id, next number and depth may be looked at."""
        except BaseException:
            self._executor.shutdown(wait=False)
            raise

    async def run(self, action: Callable[[Spool], T]) -> T:
        """Do something with the spool.

        Raises:
            SpoolFull, SpoolTrouble: as the methods of `Spool`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, action, self.file)

    def close(self) -> None:
        """Close the spool after the calls made so far."""
        self._executor.submit(self.file.close)
        self._executor.shutdown(wait=True)
