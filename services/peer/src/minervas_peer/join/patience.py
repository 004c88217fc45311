"""Trying on through passing faults, with pauses that grow, as long as the applicant wants to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from minervas_core.errors import Code, TransientFault

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Pauses double up to this one."""

FIRST_TRIES = 4
"""Before a server has ever answered, the URL may just be wrong: so often it is tried, which takes seven seconds."""

T = TypeVar("T")


class Patience:
    """Pauses and repetitions of one run of a command.

    Args:
        timeout_s: how long to wait in all; for ever if None.
        say: shows a line.
        sleep: waits.
    """

    def __init__(
        self, timeout_s: float | None, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._say = say
        self._sleep = sleep
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s

    def pause(self, seconds: float, waiting_for: str) -> None:
        """Sleep a little.

        Raises:
            TransientFault: ``timeout`` if the time given with --timeout is over.
        """
        if self._deadline_s is not None and time.monotonic() + seconds > self._deadline_s:
            raise TransientFault(
                Code.TIMEOUT, "Stopped waiting; run the same command again to go on", waiting_for=waiting_for
            )
        self._sleep(seconds)

    def insist(self, action: Callable[[], T], *, tries: int | None = None) -> T:
        """Do something, again and again while it fails for a passing reason, which is shown once.

        Args:
            action: may be repeated without harm.
            tries: give up after so many; None never does.

        Raises:
            TransientFault: ``timeout``, or the last one when all tries are used up.
            MinervasError: what `action` raises for a reason that lasts.
        """
        pause_s, said, tried = FIRST_PAUSE_S, "", 0
        while True:
            try:
                return action()
            except TransientFault as error:
                tried += 1
                if tried == tries:
                    raise
                if said != error.message:
                    said = error.message
                    self._say(f"{error} - trying on")
                self.pause(pause_s, str(error))
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
