"""Wait for a condition in a test; never sleep. MINERVAS_TIMEOUT_FACTOR stretches all timeouts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from minervas_devnet import waiting
from minervas_devnet.waiting import WaitTimeout

__all__ = ["HANG_S", "WaitTimeout", "wait_until", "wait_until_async"]

DEFAULT_TIMEOUT_S = 30.0
"""Only a failure waits so long; a machine that is busy with other things must not look like one."""

HANG_S = waiting.stretched(60.0)
"""A program or an answer that takes so long hangs: for whatever else takes a timeout in seconds."""

Description = str | Callable[[], str]
"""What is awaited; or a function that says what things look like now, asked only on timeout."""


def _said(description: Description) -> tuple[str, Callable[[], str] | None]:
    return (description, None) if isinstance(description, str) else ("a condition of the test", description)


def wait_until(
    predicate: Callable[[], object], timeout: float = DEFAULT_TIMEOUT_S, describe: Description = "a condition"
) -> None:
    """Return as soon as `predicate`, looked at every 20 to 100 ms, is true; `timeout` is in seconds.

    Raises:
        WaitTimeout: if the time is up.
    """
    awaited, state = _said(describe)
    waiting.wait_until(predicate, timeout_s=timeout, awaited=awaited, describe=state)


async def wait_until_async(
    predicate: Callable[[], object | Awaitable[object]],
    timeout: float = DEFAULT_TIMEOUT_S,  # noqa: ASYNC109 - a deadline for a condition, not for a task to be cancelled
    describe: Description = "a condition",
) -> None:
    """As `wait_until`, in a coroutine; `predicate` may be a coroutine function.

    Raises:
        WaitTimeout: if the time is up.
    """
    awaited, state = _said(describe)
    await waiting.wait_until_async(predicate, timeout_s=timeout, awaited=awaited, describe=state)
