"""A service for the tests of the runner; run as a program: sample_service.py SETTINGS BEHAVIOUR."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from pathlib import Path

import msgspec

from minervas_core.errors import Code, TransientFault
from minervas_runtime.service import ServiceContext, report_errors, run_service
from minervas_runtime.settings import HealthSettings, LogSettings, load_settings


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    member: str
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()


async def leave_thread() -> None:
    """A thread of the event loop's executor, which Python's end joins."""
    began = threading.Event()

    def hang() -> None:
        began.set()
        threading.Event().wait()

    asyncio.get_running_loop().run_in_executor(None, hang)
    await asyncio.to_thread(began.wait)


async def leave_task() -> None:
    """A task that takes no notice of being cancelled."""
    began = asyncio.Event()

    async def hang() -> None:
        while True:
            try:
                began.set()
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                continue

    left.append(asyncio.create_task(hang()))
    await began.wait()


async def leave_exit_handler() -> None:
    """What Python's end would call."""
    atexit.register(print, "too late")


LEFT_BEHIND = {
    "leaves a thread": leave_thread,
    "leaves a task": leave_task,
    "leaves an exit handler": leave_exit_handler,
}
left: list[asyncio.Task[None]] = []


async def work(context: ServiceContext[SampleSettings], behaviour: str) -> None:
    context.status["status"] = "ok"
    if behaviour in LEFT_BEHIND:
        await LEFT_BEHIND[behaviour]()
    print("ready", flush=True)  # noqa: T201  # what the test waits for
    if behaviour == "fault":
        raise TransientFault(Code.DATABASE_AWAY, "No database at the address given", host="db", port=5432)
    if behaviour == "grouped fault":
        async with asyncio.TaskGroup() as group:
            group.create_task(work(context, "fault"))
            group.create_task(asyncio.sleep(600))
    if behaviour == "bug":
        raise ZeroDivisionError
    if behaviour == "fault and bug":
        async with asyncio.TaskGroup() as group:
            group.create_task(work(context, "fault"))
            group.create_task(work(context, "bug"))
    try:
        await asyncio.sleep(600 if behaviour != "ends" else 0)
    finally:
        if behaviour == "slow to stop":
            await asyncio.sleep(600)
        print("cleaned up", flush=True)  # noqa: T201


def main() -> int:
    settings = load_settings(Path(sys.argv[1]), SampleSettings)
    return run_service("sample", settings, lambda context: work(context, sys.argv[2]))


if __name__ == "__main__":
    sys.exit(report_errors("minervas-sample", main))
