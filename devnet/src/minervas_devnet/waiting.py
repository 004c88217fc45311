"""Wait for a condition instead of sleeping: used by the devnet itself and by the tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from minervas_core.errors import Code, TransientFault

POLL_S = 0.02
"""First pause between two looks at a condition."""
LONGEST_POLL_S = 0.1
POLL_GROWTH = 1.2
"""What takes seconds is looked at less and less often, or looking would cost more than what is awaited."""

TIMEOUT_FACTOR_VARIABLE = "MINERVAS_TIMEOUT_FACTOR"
"""Environment variable that stretches every timeout, for slow machines; 1 if unset."""


class WaitTimeout(TransientFault):
    """A condition did not come true in time; the message says what was awaited and what was seen last."""

    def __init__(self, awaited: str, timeout_s: float, seen: str) -> None:
        super().__init__(Code.TIMEOUT, f"waited {timeout_s:g} s for {awaited}" + (f"; {seen}" if seen else ""))


def stretched(timeout_s: float) -> float:
    """Return the timeout times the factor of the environment, in seconds."""
    return timeout_s * float(os.environ.get(TIMEOUT_FACTOR_VARIABLE, "1"))


def wait_until(
    predicate: Callable[[], object], *, timeout_s: float, awaited: str, describe: Callable[[], str] | None = None
) -> None:
    """Return as soon as `predicate` is true.

    Args:
        predicate: looked at until it returns something true; its exceptions are not caught.
        timeout_s: how long to wait at most, before the factor of the environment.
        awaited: what is waited for, for the error.
        describe: called only on timeout: what things look like now.

    Raises:
        WaitTimeout: if the time is up.
    """
    limit_s = stretched(timeout_s)
    deadline = time.monotonic() + limit_s
    pause_s = POLL_S
    while not predicate():
        if time.monotonic() > deadline:
            raise WaitTimeout(awaited, limit_s, describe() if describe else "")
        time.sleep(pause_s)
        pause_s = min(pause_s * POLL_GROWTH, LONGEST_POLL_S)


async def wait_until_async(
    predicate: Callable[[], object | Awaitable[object]],
    *,
    timeout_s: float,
    awaited: str,
    describe: Callable[[], str] | None = None,
) -> None:
    """As `wait_until`, without blocking the event loop; `predicate` may also be a coroutine function.

    Raises:
        WaitTimeout: if the time is up.
    """
    limit_s = stretched(timeout_s)
    deadline = time.monotonic() + limit_s
    while True:
        outcome = predicate()
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        if outcome:
            return
        if time.monotonic() > deadline:
            raise WaitTimeout(awaited, limit_s, describe() if describe else "")
        await asyncio.sleep(POLL_S)
