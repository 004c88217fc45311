"""From port threads to the spool: what happens while the spool takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio

from minervas_core.metering import Reading
from minervas_meter_gateway.metrics import REFUSED
from minervas_meter_gateway.port_worker import MeterSample
from minervas_meter_gateway.recorder import Recorder
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_meter_gateway.statement_book import StatementBook
from minervas_runtime.clock import SystemClock
from tests.support.gateway import MEMBER, NETWORK, NOW_MS, PV1, load, pzem_sample, write_settings
from tests.support.wait import wait_until_async

MAX_BYTES = 200_000


class Desk:
    """A recorder on a small spool."""

    def __init__(self, directory: Path) -> None:
        file = directory / "spool.db"
        self.recorded: list[Reading] = []
        self.ports = load(write_settings(directory, {"roof": "/dev/none"}, [PV1]))[1]
        self.spool = SpoolThread(
            lambda: Spool(file, network=NETWORK, member=MEMBER, max_bytes=MAX_BYTES, max_age_ms=10**12)
        )
        self.recorder: Recorder
        self._running: asyncio.Task[None]
        self._second = 0

    async def start(self) -> None:
        self.recorder = Recorder(
            ports=self.ports,
            book=await StatementBook.open(self.spool, [PV1.key]),
            spool=self.spool,
            clock=SystemClock(),
            clock_is_right=lambda: True,
            on_recorded=self._take,
        )
        self._running = asyncio.create_task(self.recorder.run())

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.spool.close()

    def samples(self, count: int, *, energy_wh: int = 7) -> list[MeterSample]:
        """Samples of consecutive seconds."""
        self._second += count
        return [
            pzem_sample(
                self.ports[0].meters[0], at_ms=NOW_MS + second * 1_000, monotonic_ms=second * 1_000, energy_wh=energy_wh
            )
            for second in range(self._second - count, self._second)
        ]

    async def fill(self) -> None:
        """Record 50 samples at a time until the spool takes no more."""
        wanted = 0

        def taken_or_refused() -> bool:
            return bool(self.recorder.trouble) or self.spool.file.next_sequence == wanted

        while not self.recorder.trouble:
            wanted = self.spool.file.next_sequence + 50
            self.recorder.offer(self.samples(50))
            await wait_until_async(taken_or_refused)

    def _take(self, readings: Sequence[Reading]) -> None:
        self.recorded += readings


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_samples_of_another_thread_become_numbered_readings(desk: Desk) -> None:
    await asyncio.to_thread(desk.recorder.offer, desk.samples(3))
    await wait_until_async(lambda: len(desk.recorded) == 3)
    assert [each.sequence for each in desk.recorded] == [0, 1, 2]
    assert desk.recorder.latest[PV1.key] == desk.recorded[-1]


async def test_a_full_spool_is_an_alarm_refuses_and_takes_again(desk: Desk) -> None:
    refused_before = REFUSED._value.get()
    await desk.fill()
    assert desk.recorder.is_alarming
    assert REFUSED._value.get() == refused_before + 50
    stored = desk.spool.file.next_sequence
    await desk.spool.run(lambda spool: spool.acknowledge([(0, stored // 2)]))
    desk.recorder.offer(desk.samples(1))
    await wait_until_async(lambda: not desk.recorder.trouble)
    assert desk.recorded[-1].sequence == stored
    assert not desk.recorder.is_alarming


async def test_after_a_restart_a_register_is_compared_with_the_last_one(desk: Desk) -> None:
    desk.recorder.offer(desk.samples(2, energy_wh=9_000))
    await wait_until_async(lambda: len(desk.recorded) == 2)
    desk._running.cancel()
    await asyncio.gather(desk._running, return_exceptions=True)
    await desk.start()
    desk.recorder.offer(desk.samples(3, energy_wh=0))
    await wait_until_async(lambda: len(desk.recorded) == 5)
    assert [each.fault for each in desk.recorded[2:4]] == ["implausible", "implausible"]
    assert desk.recorded[4].energy_mwh == 0
