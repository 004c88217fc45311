"""The search process: takes jobs from standard input, reports to standard output (`search_protocol`).

Its own process, because a `hashlib` loop holds the interpreter lock and would halve the speed of everything else in
the miner. It looks for a new job between two batches, which take `--batch-ms` each: that is how fast a new template
interrupts a search. Started by `search_worker`, not by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import time

from minervas_miner.nonce_search import RUN_TRIES, NonceSearch
from minervas_miner.search_protocol import ENDED, JOB_BYTES, REST, RUNNING, STARTED, Job, Report

JOBS_FD, REPORTS_FD = 0, 1
FIRST_BATCH_TRIES = 1_000
"""Small, because nothing is known yet about this machine's speed."""


class MinerGone(Exception):
    """The miner closed its pipe."""


class BatchSize:
    """How many tries take `batch_ms` here; follows the speed that is measured."""

    def __init__(self, batch_ms: int) -> None:
        self._wanted_ns = batch_ms * 1_000_000
        self.tries = FIRST_BATCH_TRIES

    def measured(self, tries: int, took_ns: int) -> None:
        """Adapt to a batch; at most doubles, so that one odd measurement does not make a long batch."""
        fitting = tries * self._wanted_ns // max(took_ns, 1)
        self.tries = max(1, min(fitting, 2 * self.tries, RUN_TRIES))


class SearchProcess:
    """One job at a time, until the pipe ends."""

    def __init__(self, batch_ms: int, report_ms: int) -> None:
        self._batch = BatchSize(batch_ms)
        self._report_ns = report_ms * 1_000_000
        self._job = REST
        self._search: NonceSearch | None = None
        self._report_due_ns = 0

    def run(self) -> None:
        """Work until the miner is gone."""
        while True:
            if self._search is None or _is_readable(JOBS_FD):
                self._take(Job.unpack(_read_exactly(JOBS_FD, JOB_BYTES)))
            if self._search is not None:
                self._advance(self._search)

    def _take(self, job: Job) -> None:
        """Close the running job and start another."""
        if self._search is not None:
            self._report(self._search, ENDED)
        self._job, self._search = job.number, None
        if job.number != REST:
            self._search = NonceSearch(job.seal, job.target, job.first_nonce)
            self._report(self._search, STARTED)

    def _advance(self, search: NonceSearch) -> None:
        """Try one batch."""
        before, began_ns = search.tries, time.monotonic_ns()
        search.advance(self._batch.tries)
        now_ns = time.monotonic_ns()
        self._batch.measured(search.tries - before, now_ns - began_ns)
        if search.found:
            self._report(search, ENDED)
            self._search = None
        elif now_ns >= self._report_due_ns:
            self._report(search, RUNNING)

    def _report(self, search: NonceSearch, stage: int) -> None:
        report = Report(self._job, stage, search.found, search.tries, search.lowest, search.lowest_nonce)
        _write(REPORTS_FD, report.pack())
        self._report_due_ns = time.monotonic_ns() + self._report_ns


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _read_exactly(descriptor: int, count: int) -> bytes:
    """Read `count` bytes, waiting for them.

    Raises:
        MinerGone: if the pipe ends first.
    """
    record = b""
    while len(record) < count:
        part = os.read(descriptor, count - len(record))
        if not part:
            raise MinerGone
        record += part
    return record


def _write(descriptor: int, record: bytes) -> None:
    """Write a record; it is shorter than PIPE_BUF, so it goes as a whole.

    Raises:
        MinerGone: if nobody reads any more.
    """
    try:
        os.write(descriptor, record)
    except BrokenPipeError as error:
        raise MinerGone from error


def main() -> None:
    """Search until the miner is gone."""
    parser = argparse.ArgumentParser(prog="minervas_miner.search_process", description="Internal: started by the miner")
    parser.add_argument("--batch-ms", type=int, required=True)
    parser.add_argument("--report-ms", type=int, required=True)
    parser.add_argument("--nice", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the miner decides when to end
    os.nice(arguments.nice)
    with contextlib.suppress(MinerGone):
        SearchProcess(arguments.batch_ms, arguments.report_ms).run()


if __name__ == "__main__":
    main()
