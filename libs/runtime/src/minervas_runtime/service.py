"""What every long-running program does around its work: logging, health, signals, one clear line for known faults."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from minervas_core.errors import MinervasError
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import Clock, SystemClock
from minervas_runtime.health import HealthServer
from minervas_runtime.logs import setup_logging
from minervas_runtime.settings import HealthSettings, LogSettings, SettingsError

log = logging.getLogger(__name__)

STOP_GRACE_S = 1.8
"""How long a service may take to stop before the process ends anyway."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2


class ServiceSettings(Protocol):
    """What the runner reads of a service's settings. The member is `consortium` if the settings have none."""

    @property
    def health(self) -> HealthSettings:
        """Where /healthz is."""
        ...

    @property
    def log(self) -> LogSettings:
        """What is logged."""
        ...


S = TypeVar("S", bound=ServiceSettings)


@dataclass
class ServiceContext(Generic[S]):
    """What the runner hands to a service's main function."""

    name: str
    member: str
    settings: S
    clock: Clock
    status: dict[str, Any] = field(default_factory=lambda: {"status": "waiting"})
    """What /healthz shows. Set ``status`` to ``ok``, ``waiting`` or ``failing``; other keys are for people."""


def run_service(name: str, settings: S, main: Callable[[ServiceContext[S]], Awaitable[None]]) -> NoReturn:
    """Run a service until it ends, fails, or gets SIGTERM or SIGINT (then `main` is cancelled and cleans up).

    A known fault becomes one line on standard error; only an unknown one shows a traceback, in the log.

    Ends the process: once `main` has cleaned up there is nothing left to do, and Python's own end would still wait for
    every thread of an executor and take all modules and objects apart. Exit status: 0 stopped, 1 failed, 2 unusable
    settings.
    """
    member = str(getattr(settings, "member", RESERVED_MEMBER))
    setup_logging(name, member, settings.log.level)
    context = ServiceContext(name, member, settings, SystemClock())
    try:
        asyncio.run(_run(context, main))
    except KeyboardInterrupt:  # before our handlers were in place
        _end_process(EXIT_OK)
    raise AssertionError  # _run does not return


def report_errors(program: str, action: Callable[[], int]) -> int:
    """Run a command; a known fault becomes one line on standard error.

    Returns:
        What `action` returns, or 1, or 2 for unusable settings.
    """
    try:
        return action()
    except MinervasError as error:
        return say_fault(program, error)


def say_fault(program: str, error: MinervasError) -> int:
    """Print one line about a known fault; returns the exit status."""
    sys.stderr.write(f"{program}: error: {error}\n")
    sys.stderr.flush()
    return EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED


async def _run(context: ServiceContext[S], main: Callable[[ServiceContext[S]], Awaitable[None]]) -> NoReturn:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    work = asyncio.create_task(_with_health(context, main), name=context.name)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not work.done():
        log.info("stopping")
        work.cancel()
        await asyncio.wait({work}, timeout=STOP_GRACE_S)
    if not work.done():
        log.error("stop_timeout", extra={"fields": {"after_s": STOP_GRACE_S}})
        _end_process(EXIT_FAILED)  # whatever hangs would also hang an orderly end; the next start has to cope anyway
    _end_process(_outcome(context, work))


async def _with_health(context: ServiceContext[S], main: Callable[[ServiceContext[S]], Awaitable[None]]) -> None:
    health = context.settings.health
    server = HealthServer(health.host, health.port, lambda: context.status) if health.port else None
    if server:
        await server.start()
    try:
        await main(context)
    finally:
        if server:
            await server.stop()


def _end_process(status: int) -> NoReturn:
    """Exit now: no thread is joined, no exit handler runs, nothing is taken apart."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


def _outcome(context: ServiceContext[S], work: asyncio.Task[None]) -> int:
    """Exit status of a finished service; says why it failed."""
    error = None if work.cancelled() else work.exception()
    if error is None:
        log.info("stopped")
        return EXIT_OK
    faults = list(_leaves(error))
    known = [fault for fault in faults if isinstance(fault, MinervasError)]
    if len(known) < len(faults):
        log.error("service_failed", exc_info=(type(error), error, error.__traceback__))
        return EXIT_FAILED
    return say_fault(f"minervas-{context.name} ({context.member})", known[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The single exceptions inside (nested) groups, as task groups raise them."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
