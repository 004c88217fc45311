"""Storing queued readings, at least once in a flush interval, and telling our own gateways what is stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

import msgspec
import psycopg

from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault
from minervas_core.node_market_messages import MAX_RANGES, ReadingsStored
from minervas_ledger import metrics, refusals
from minervas_ledger.one_thread import OneThread
from minervas_ledger.readings_intake import KIND, QueuedBatch, ReadingsIntake
from minervas_ledger.store.reading_batches import SignedBatch
from minervas_ledger.store.reading_runs import Range, ranges_of
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_ledger.templates import Sender
from minervas_runtime.clock import Clock, monotonic_ms

log = logging.getLogger(__name__)

MAX_FLUSH_READINGS = 5_000
"""In one transaction: a fraction of a second."""
RETRY_S = 1.0
"""Pause after the database was away."""
ASIDE_EVERY_MS = 30_000
"""How often readings that were put aside are looked at."""


class ReadingsFlush:
    """Owns the thread of the readings' connection.

    Args:
        member: whose node it is: only our own gateways are told.
        intake: the queue.
        store: where to.
        link: to the gateways.
        clock: time of day.
        interval_ms: how often.
    """

    def __init__(
        self,
        *,
        member: str,
        intake: ReadingsIntake,
        store: ReadingsStore,
        link: Sender,
        clock: Clock,
        interval_ms: int,
    ) -> None:
        self._member = member
        self._intake = intake
        self._store = store
        self._link = link
        self._clock = clock
        self._interval_ms = interval_ms
        self._thread = OneThread("readings")
        self._looked_aside_ms = -ASIDE_EVERY_MS
        self.trouble = ""
        """Why readings wait; empty if they do not."""

    async def run(self) -> None:
        """Store until cancelled."""
        while True:
            began_ms = monotonic_ms()
            try:
                while await self._flush():
                    pass
                await self._look_aside()
                self.trouble = ""
            except TransientFault as error:
                self.trouble = str(error)
                log.info("readings_wait", extra={"fields": {"code": error.code, "queued": self._intake.queued}})
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(max(0, began_ms + self._interval_ms - monotonic_ms()) / 1_000)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._thread.run(self._store.close)
        self._thread.close()

    async def _flush(self) -> bool:
        """Store the oldest batches; returns whether more are waiting.

        Raises:
            TransientFault: ``database_away``; then they stay in the queue.
        """
        batches = self._intake.take(MAX_FLUSH_READINGS)
        if not batches:
            return False
        try:
            stored = await self._store_those_that_can_be(batches)
        except TransientFault:
            self._intake.give_back(batches)
            raise
        await self._tell(stored)
        return self._intake.queued > 0

    async def _look_aside(self) -> None:
        """Store readings that were put aside and whose times are possible by now.

        Raises:
            TransientFault: ``database_away``.
        """
        if monotonic_ms() - self._looked_aside_ms < ASIDE_EVERY_MS:
            return
        now_ms, (earliest_ms, latest_ms) = self._clock.now_ms(), self._intake.possible_times()
        while await self._thread.run(lambda: self._store.store_due(earliest_ms, now_ms, latest_ms)):
            pass
        metrics.READINGS_ASIDE.set(await self._thread.run(self._store.count_aside))
        self._looked_aside_ms = monotonic_ms()

    async def _store_those_that_can_be(self, batches: Sequence[QueuedBatch]) -> list[QueuedBatch]:
        """Store batches in one transaction; if the database refuses that, each by itself. Returns what is stored."""
        try:
            await self._store_all(batches)
        except psycopg.Error as error:
            if len(batches) == 1:
                log.exception("readings_refused_by_database", exc_info=error)
                fault = LocalFault(Code.INTERNAL, "The database refuses these readings", spool=batches[0].body.spool)
                refusals.record(KIND, fault, origin=str(batches[0].sender))
                return []
            return [batch for each in batches for batch in await self._store_those_that_can_be([each])]
        except TransientFault as error:
            if error.code != Code.RATE_LIMITED:
                raise
            if len(batches) == 1:  # too many are put aside: they stay in the spool
                refusals.record(KIND, error, origin=str(batches[0].sender))
                return []
            return [batch for each in batches for batch in await self._store_those_that_can_be([each])]
        return list(batches)

    async def _store_all(self, batches: Sequence[QueuedBatch]) -> None:
        readings = [received for batch in batches for received in batch.received()]
        aside = [received for batch in batches for received in batch.received(aside=True)]
        own = [SignedBatch(each.batch, is_whole=each.is_whole) for each in batches if self._is_own(each)]
        now_ms = self._clock.now_ms()
        with metrics.READINGS_FLUSH_SECONDS.time():
            result = await self._thread.run(lambda: self._store.store(readings, now_ms, aside=aside, batches=own))
        metrics.READINGS_STORED.inc(result.stored)
        metrics.READINGS_CONFLICTS.inc(result.conflicts)
        if result.conflicts:
            log.warning("reading_conflicts", extra={"fields": {"conflicts": result.conflicts}})

    async def _tell(self, batches: Sequence[QueuedBatch]) -> None:
        """Tell our gateways what is committed. A gateway that misses it sends again, and is told again."""
        stored: dict[tuple[str, str], set[int]] = {}
        refused: dict[tuple[str, str], set[int]] = {}
        for batch in batches:
            if self._is_own(batch):
                key = batch.sender.service, batch.body.spool
                stored.setdefault(key, set()).update(each.reading.sequence for each in batch.received())
                refused.setdefault(key, set()).update(batch.aside)
        for (service, spool), numbers in stored.items():
            for told in _acknowledgements(spool, ranges_of(numbers), ranges_of(refused[service, spool])):
                try:
                    await self._link.send(service, "readings_stored", told)
                except MinervasError as error:
                    log.info("readings_stored_not_told", extra={"fields": {"service": service, "code": error.code}})

    def _is_own(self, batch: QueuedBatch) -> bool:
        """Whether a batch is of our own node, whoever showed it."""
        return batch.sender.member == self._member


def _acknowledgements(spool: str, stored: list[Range], refused: list[Range]) -> Iterator[ReadingsStored]:
    for first in range(0, max(len(stored), len(refused)), MAX_RANGES):
        put_aside = [list(each) for each in refused[first : first + MAX_RANGES]]
        ranges = [list(each) for each in stored[first : first + MAX_RANGES]]
        yield ReadingsStored(spool=spool, ranges=ranges, refused=put_aside or msgspec.UNSET)
