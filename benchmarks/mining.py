"""How fast the miner's search is against a plain loop, and how fast a new template interrupts it."""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
import time
from collections.abc import Callable

from benchmarks.results import Result, percentile
from minervas_miner.nonce_search import NonceSearch
from minervas_miner.search_protocol import STARTED, Job, Report
from minervas_miner.search_worker import SearchWorker

SEAL = hashlib.sha256(b"benchmark").digest()
NEVER = bytes(32)
BATCH_MS = 15
TRIES = 300_000
ROUNDS = 5
INTERRUPTS = 200
SPEED_S = 2.0


def measure() -> list[Result]:
    """Measure; takes about 15 seconds."""
    return [*_loops(), *asyncio.run(_process())]


def _loops() -> list[Result]:
    """Our loop against a plain one, in turns, so that both meet the same state of the machine."""
    plain, ours = [], []
    for _ in range(ROUNDS):
        plain.append(_per_second(_plain_loop))
        ours.append(_per_second(_our_loop))
    ratio = percentile([fast / slow for fast, slow in zip(ours, plain, strict=True)], 50)
    return [
        Result("mining.plain_loop", percentile(plain, 50), "tries/s"),
        Result("mining.our_loop", percentile(ours, 50), "tries/s"),
        Result("mining.our_loop_vs_plain", ratio, "x", goal=1.8),
    ]


def _per_second(loop: Callable[[int], None]) -> float:
    began = time.perf_counter()
    loop(TRIES)
    return TRIES / (time.perf_counter() - began)


def _plain_loop(count: int) -> None:
    """What one writes first: concatenate, hash, compare numbers."""
    for nonce in range(count):
        digest = hashlib.sha256(SEAL + struct.pack(">Q", nonce)).digest()
        if int.from_bytes(digest, "big") < 0:
            break


def _our_loop(count: int) -> None:
    search = NonceSearch(SEAL, NEVER, 0)
    while search.tries < count:
        search.advance(min(40_000, count - search.tries))


async def _process() -> list[Result]:
    """The real search process behind its pipes."""
    reports: asyncio.Queue[Report] = asyncio.Queue()
    started = asyncio.Event()
    worker = SearchWorker(batch_ms=BATCH_MS, nice=0)
    running = asyncio.create_task(worker.run(reports.put_nowait, started.set))
    await started.wait()
    rate = await _process_speed(worker, reports)
    latencies_ms = [await _interrupt(worker, reports, number) for number in range(2, INTERRUPTS + 2)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    shares = [
        Result(f"mining.interrupt.p{share}", percentile(latencies_ms, share), "ms", goal=50, better="lower")
        for share in (50, 90, 99)
    ]
    return [
        Result("mining.process", rate, "tries/s"),
        *shares,
        Result("mining.interrupt.max", max(latencies_ms), "ms"),
    ]


async def _process_speed(worker: SearchWorker, reports: asyncio.Queue[Report]) -> float:
    worker.give(Job(1, SEAL, NEVER, 0))
    first = await reports.get()
    while first.tries == 0:
        first = await reports.get()
    began, last = time.perf_counter(), first
    while time.perf_counter() - began < SPEED_S:
        last = await reports.get()
    return (last.tries - first.tries) / (time.perf_counter() - began)


async def _interrupt(worker: SearchWorker, reports: asyncio.Queue[Report], number: int) -> float:
    """Milliseconds from a new job to the report that it was taken up, at a random moment of a batch."""
    await asyncio.sleep(random.uniform(0, 2 * BATCH_MS / 1_000))  # noqa: S311 - a moment, not a secret
    began = time.perf_counter()
    worker.give(Job(number, SEAL, NEVER, number))
    while True:
        report = await reports.get()
        if (report.job, report.stage) == (number, STARTED):
            return (time.perf_counter() - began) * 1_000
