"""The miner's hold on its search process: starts it, gives it jobs, hands on its reports, replaces it when it dies."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

from prometheus_client import Counter

from minervas_miner.search_protocol import REPORT_BYTES, REST, Job, Report

log = logging.getLogger(__name__)

PROCESS_STARTS = Counter("minervas_miner_search_process_starts", "Starts of the search process.")

REPORT_MS = 250
"""How often the process tells how a job goes."""

RESTART_PAUSE_S = 0.2
"""Pause before a process that died is replaced, so that one that cannot start does not spin."""

END_GRACE_S = 1.0
"""How long a process may take to notice that its pipe ended (one batch) before it is killed."""


class SearchWorker:
    """One search process, always running while `run` does.

    Args:
        batch_ms: how long the process searches before it looks for a new job.
        nice: how much the process steps back for others (0 to 19, see nice(1)).
    """

    def __init__(self, *, batch_ms: int, nice: int) -> None:
        self._options = ("--batch-ms", str(batch_ms), "--report-ms", str(REPORT_MS), "--nice", str(nice))
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the search process; None between two of them."""
        return self._process.pid if self._process else None

    def give(self, job: Job) -> None:
        """Replace the running job. Without a process nothing happens: `on_start` will ask for it again."""
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(job.pack())

    def rest(self) -> None:
        """End the running job; its last report still comes."""
        self.give(Job(REST))

    async def run(self, on_report: Callable[[Report], None], on_start: Callable[[], None]) -> None:
        """Keep a search process running until cancelled.

        Args:
            on_report: called for every report.
            on_start: called when a (new) process waits for a job: whatever the last one did is lost.
        """
        while True:
            process = await self._start()
            on_start()
            try:
                await _read_reports(process, on_report)
                status = await process.wait()
                log.error("search_process_died", extra={"fields": {"pid": process.pid, "status": status}})
            finally:
                self._process = None
                await _end(process)
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _start(self) -> Process:
        module = "minervas_miner.search_process"
        command = (sys.executable, "-m", module, *self._options)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        PROCESS_STARTS.inc()
        log.info("search_process_started", extra={"fields": {"pid": process.pid}})
        self._process = process
        return process


async def _read_reports(process: Process, on_report: Callable[[Report], None]) -> None:
    """Hand on reports until the process ends."""
    if process.stdout is None:  # a pipe was asked for, so it is there; this tells the type checker
        return
    while True:
        try:
            record = await process.stdout.readexactly(REPORT_BYTES)
        except asyncio.IncompleteReadError:
            return
        on_report(Report.unpack(record))


async def _end(process: Process) -> None:
    """Close the pipe and wait until the process is gone."""
    if process.stdin:
        process.stdin.close()
    if process.returncode is not None:
        return
    try:
        await asyncio.wait_for(process.wait(), END_GRACE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
