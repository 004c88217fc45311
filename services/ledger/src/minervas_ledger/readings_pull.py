"""Fetching what the operator's ledger missed from the ledgers of the members (design section 6).

Sequence numbers of a spool have no gaps, so a gap that stays, or a run that a member's ledger has and we do not, is
something that we missed while we, the broker or the network were away. A round with one member asks for its runs, takes
away what we have, and fetches the batches of the rest. They go the same way as those of gateways: checked, queued,
stored once. A round can end at any moment; the next one begins with what is stored by then.

A few members are asked at a time, each with pauses between its answers. Who does not answer, or answers what is wrong,
is left alone for a while that doubles, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from minervas_core.errors import Code, InvalidFrame, MinervasError, PeerFault, TransientFault
from minervas_core.ledger_messages import GetReadingBatches, GetReadingRuns, ReadingBatches, ReadingRuns
from minervas_core.metering import ReadingBatchBody
from minervas_ledger import metrics
from minervas_ledger.gateways import Gateways
from minervas_ledger.readings_intake import ReadingsIntake
from minervas_ledger.store import reading_runs
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.store.reading_runs import Range, joined, runs_of_member, without

log = logging.getLogger(__name__)

MAX_AT_ONCE = 4
"""Members that are asked at the same time."""
MAX_RUN_PAGES = 20
"""10,000 runs: a spool that lost nothing has one."""
ANSWER_PAUSE_S = 0.1
"""Between two answers of a member: some 2,000 readings a second at most."""
ROOM_S = 0.05
"""How often the queue is looked at while it has no room."""
TROUBLE_PAUSE_MS = 5_000
"""First pause after a member did not answer."""
LIE_PAUSE_MS = 60_000
"""First pause after a member answered what is wrong."""
LONGEST_PAUSE_MS = 3_600_000

OWN_TROUBLE = frozenset({Code.BUS_OFFLINE, Code.DATABASE_AWAY, Code.NOT_READY, Code.DISK_LOW})
"""Codes that say nothing about the member."""
NOT_NOW = frozenset({Code.FRAME_UNKNOWN_SENDER, Code.METER_UNKNOWN, Code.CHANNEL_UNKNOWN})
"""A batch that was fine once: its key or meter is not registered any more."""


class ReadingsSource(Protocol):
    """The ledgers of other members."""

    async def runs(self, member: str, question: GetReadingRuns) -> ReadingRuns:
        """A page of the runs that a member's ledger has.

        Raises:
            MinervasError: if it does not answer.
        """
        ...

    async def batches(self, member: str, question: GetReadingBatches) -> ReadingBatches:
        """Batches of a spool.

        Raises:
            MinervasError: if it does not answer.
        """
        ...


@dataclass(slots=True)
class _Member:
    """What is known of one member's ledger."""

    next_ms: int = 0
    """Not asked before."""
    pause_ms: int = 0
    """Last pause after a failure; 0 if there was none."""
    gap: int = 0
    """Readings that were missing at the last look."""
    accepted_gap: int = 0
    """Those that it could not show."""
    task: asyncio.Task[None] | None = None


class ReadingsPull:
    """Pulls what is missing.

    Args:
        member: whose node it is.
        gateways: registered on our tip; raises `TransientFault` ``not_ready`` before there is one.
        source: the other ledgers.
        reader: our database.
        intake: where batches go.
        monotonic_ms: for pauses.
        interval_ms: pause between two rounds with a member that misses nothing.
    """

    def __init__(
        self,
        *,
        member: str,
        gateways: Callable[[], Gateways],
        source: ReadingsSource,
        reader: DatabaseReader,
        intake: ReadingsIntake,
        monotonic_ms: Callable[[], int],
        interval_ms: int,
    ) -> None:
        self._member = member
        self._gateways = gateways
        self._source = source
        self._reader = reader
        self._intake = intake
        self._monotonic_ms = monotonic_ms
        self._interval_ms = interval_ms
        self._members: dict[str, _Member] = {}
        self._places = asyncio.Semaphore(MAX_AT_ONCE)

    def connection_changed(self, connected: bool) -> None:  # noqa: FBT001  # the bus' callback has this form
        """We may have missed something: everybody is asked again, except who was left alone."""
        for each in self._members.values():
            if connected and not each.pause_ms:
                each.next_ms = 0

    async def run(self) -> None:
        """Pull until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except TransientFault as error:
                    log.debug("readings_pull_waits", extra={"fields": {"code": error.code}})
                await asyncio.sleep(min(self._interval_ms, 10_000) / 1_000)
        finally:
            tasks = [each.task for each in self._members.values() if each.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Start a round with everybody who is due.

        Raises:
            TransientFault: ``not_ready`` or ``database_away``.
        """
        members = {gateway.member for gateway in self._gateways().values()} - {self._member}
        gaps = await self._reader.ask(reading_runs.gaps)
        now_ms = self._monotonic_ms()
        for member in sorted(members):
            known = self._members.setdefault(member, _Member())
            gap = gaps.get(member, 0)
            has_new_gap = gap > known.accepted_gap and known.gap > known.accepted_gap and not known.pause_ms
            known.gap = gap
            metrics.READINGS_GAP.labels(member).set(gap)
            if known.task is None and (known.next_ms <= now_ms or has_new_gap):
                known.task = asyncio.create_task(self._ask(member, known), name=f"readings of {member}")

    async def _ask(self, member: str, known: _Member) -> None:
        """A round with one member, and a judgement of how it behaved."""
        try:
            async with self._places:
                unshown = await self._round(member)
        except MinervasError as error:
            if error.code in OWN_TROUBLE:
                return
            first_ms = LIE_PAUSE_MS if isinstance(error, PeerFault) else TROUBLE_PAUSE_MS
            known.pause_ms = min(max(first_ms, 2 * known.pause_ms), LONGEST_PAUSE_MS)
            known.next_ms = self._monotonic_ms() + known.pause_ms
            metrics.READINGS_PULL_FAILURES.labels(error.code).inc()
            fields = {"from_member": member, "code": error.code, "reason": str(error), "pause_ms": known.pause_ms}
            log.warning("readings_not_pulled", extra={"fields": fields})
        else:
            known.pause_ms, known.accepted_gap = 0, unshown
            known.next_ms = self._monotonic_ms() + self._interval_ms
        finally:
            known.task = None

    async def _round(self, member: str) -> int:
        """Fetch all that a member's ledger has and we do not; returns how much of that it did not show.

        Raises:
            PeerFault: if it answers what is wrong.
            TransientFault: if it does not answer, or we cannot go on.
        """
        shown = await self._runs(member)
        stored = await self._reader.ask(lambda database: runs_of_member(database, member))
        fetched = unshown = 0
        for spool, runs in shown.items():
            for missing in without(runs, stored.get(spool, ())):
                new, wanting = await self._fetch(member, spool, missing)
                fetched, unshown = fetched + new, unshown + wanting
        if fetched:
            log.info("readings_pulled", extra={"fields": {"from_member": member, "readings": fetched}})
        return unshown

    async def _runs(self, member: str) -> dict[str, list[Range]]:
        found: dict[str, list[Range]] = {}
        after = "", 0
        for _ in range(MAX_RUN_PAGES):
            page = await self._source.runs(member, GetReadingRuns(after_spool=after[0], after_first=after[1]))
            for run in page.runs:
                if (run.spool, run.first) <= after or run.last < run.first:
                    raise InvalidFrame(Code.WRONG_SHAPE, "Runs out of order", member=member, spool=run.spool)
                found.setdefault(run.spool, []).append((run.first, run.last))
                after = run.spool, run.first
            if not page.more or not page.runs:
                break
            await asyncio.sleep(ANSWER_PAUSE_S)
        return {spool: joined(runs) for spool, runs in found.items()}

    async def _fetch(self, member: str, spool: str, missing: Range) -> tuple[int, int]:
        """Fetch a range; returns how many readings of it came, and how many did not."""
        first, last = missing
        came: set[int] = set()
        while first <= last:
            answer = await self._source.batches(member, GetReadingBatches(spool=spool, first=first, last=last))
            if not first <= answer.up_to <= last:
                raise InvalidFrame(Code.WRONG_SHAPE, "An answer to another question", member=member)
            for raw in answer.batches:
                came |= await self._take(member, spool, missing, bytes(raw))
            first = answer.up_to + 1
            await asyncio.sleep(ANSWER_PAUSE_S)
        metrics.READINGS_PULLED.inc(len(came))
        return len(came), missing[1] - missing[0] + 1 - len(came)

    async def _take(self, member: str, spool: str, missing: Range, raw: bytes) -> set[int]:
        """Check and queue a batch; returns which of the missing numbers it brings."""
        while not self._intake.has_room:  # noqa: ASYNC110 - the queue empties by itself, within a second
            await asyncio.sleep(ROOM_S)

        def numbers(body: ReadingBatchBody) -> set[int]:
            return {reading.sequence for reading in body.readings if missing[0] <= reading.sequence <= missing[1]}

        def check(body: ReadingBatchBody) -> None:
            if body.spool != spool or not numbers(body):
                raise InvalidFrame(Code.WRONG_SHAPE, "A batch that nobody asked for", member=member, spool=body.spool)

        try:
            return numbers(self._intake.take_in(member, raw, check))
        except PeerFault as error:
            if error.code not in NOT_NOW:
                raise
            return set()
