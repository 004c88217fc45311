"""Old readings go into files: written, flushed and read again before their day is dropped. Roll-ups stay.

A day goes when it is old enough, every statement over it is final, and its time for disputes is over. A channel may
state late what it metered; so a day that is not wholly stated waits for another time for disputes, and then goes, too:
an archive is as good as the table for whoever verifies a statement. Readings that come still later make another part.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from minervas_core.errors import Code, MinervasError, TransientFault
from minervas_core.metering import Reading
from minervas_ledger import metrics
from minervas_ledger.archive_file import FORMAT, ArchivedReading, ArchiveHead, check_file, read_archive, write_archive
from minervas_ledger.settings import ArchiveSettings
from minervas_ledger.store import archive_rows
from minervas_ledger.store.archive_rows import DAY_MS
from minervas_ledger.store.chain_state import read_node_state
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reader import SideConnection
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

LOOK_S = 3_600.0
"""How often days are looked at that may be old enough by now."""


def day_name(day: int) -> str:
    """A day since the epoch as people write it."""
    return datetime.fromtimestamp(day * DAY_MS / 1_000, UTC).date().isoformat()


def due_days(connection: Connection, settings: ArchiveSettings, now_ms: int) -> list[int]:
    """Days since the epoch whose readings may be archived, oldest first."""
    state = read_node_state(connection)
    if state is None:
        return []
    dispute_ms = settings.dispute_days * DAY_MS
    last = now_ms // DAY_MS - settings.keep_days - 1
    found: list[int] = []
    for day in archive_rows.stored_days(connection):
        if day > last or not archive_rows.has_readings(connection, day):
            continue
        is_patient = (day + 1 + settings.keep_days) * DAY_MS + dispute_ms > now_ms
        if archive_rows.count_unsettled(
            connection, day, final_height=state.final_height, settled_ms=now_ms - dispute_ms
        ) or (is_patient and archive_rows.count_unstated(connection, day)):
            continue
        found.append(day)
    return found


class Archiver:
    """Archives one day at a time.

    Args:
        settings: where to, and when.
        network: network id.
        is_stopping: asked now and then; ends the work without having done anything.
    """

    def __init__(
        self, settings: ArchiveSettings, network: str, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._settings = settings
        self._network = network
        self._is_stopping = is_stopping

    def archive(self, connection: Connection, day: int, now_ms: int) -> int:
        """Archive a day and drop it; returns how many readings it had. Repeating it after a crash does no harm.

        Raises:
            LocalFault: ``bad_archive``; then the day stays.
            TransientFault: ``not_ready`` if readings of the day came meanwhile, or we are to stop.
        """
        part = archive_rows.next_part(connection, day)
        name = file_name(day, part)
        head = ArchiveHead(format=FORMAT, network=self._network, day=day_name(day), part=part)
        with connection.transaction():
            rows = self._stoppable(archive_rows.readings_of_day(connection, day))
            first = next(rows, None)
            if first is None:
                return 0
            written = write_archive(self._settings.directory / name, head, _chained(first, rows))
        if not archive_rows.drop_day(connection, day, part, name, written, now_ms):
            raise TransientFault(Code.NOT_READY, "Readings of the day came while it was archived", day=day_name(day))
        metrics.READINGS_ARCHIVED.inc(written.readings)
        fields = {"day": day_name(day), "file": name, "readings": written.readings, "bytes": written.bytes}
        log.info("readings_archived", extra={"fields": fields})
        return written.readings

    def _stoppable(self, rows: Iterator[ArchivedReading]) -> Iterator[ArchivedReading]:
        for row in rows:
            if self._is_stopping():
                raise TransientFault(Code.NOT_READY, "The ledger stops")
            yield row


def file_name(day: int, part: int) -> str:
    """Name of an archive."""
    return f"readings-{day_name(day)}{'' if part == 1 else f'-{part}'}.jsonl.gz"


def archived_readings(
    connection: Connection, directory: Path, network: str, span_ms: tuple[int, int]
) -> Iterator[ArchivedReading]:
    """Readings of a span of time (both ends included) that are in archives, checked as they are read.

    Raises:
        LocalFault: ``bad_archive`` if a file that the database knows is missing, damaged, or another.
    """
    first_ms, last_ms = span_ms
    for known in archive_rows.archives(connection, first_ms // DAY_MS, last_ms // DAY_MS):
        path = directory / known.file
        check_file(path, known.sha256)
        for each in read_archive(path, network=network):
            if first_ms <= each.reading.time_ms <= last_ms:
                yield each


def readings_of_channel(
    found: Iterator[ArchivedReading], channel: tuple[str, str, str]
) -> Iterator[tuple[str, Reading]]:
    """Those of one channel (member, meter, channel), each with its spool."""
    for each in found:
        if (each.member, each.reading.meter, each.reading.channel) == channel:
            yield each.spool, each.reading


class ArchiveDuty:
    """Archives what is due, once an hour; the connection is its own, for a day takes a while.

    Args:
        settings: where to, and when.
        network: network id.
        database: to read and drop with.
        clock: time of day.
    """

    def __init__(self, settings: ArchiveSettings, network: str, database: SideConnection, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._stopping = threading.Event()
        self._archiver = Archiver(settings, network, self._stopping.is_set)

    async def run(self) -> None:
        """Archive until cancelled."""
        try:
            while True:
                try:
                    await self._archive_due()
                except MinervasError as error:
                    metrics.ARCHIVE_FAILURES.labels(error.code).inc()
                    log.warning("readings_not_archived", extra={"fields": {"code": error.code, "reason": str(error)}})
                await asyncio.sleep(LOOK_S)
        finally:
            self._stopping.set()

    async def _archive_due(self) -> None:
        now_ms = self._clock.now_ms()
        for day in await self._database.ask(lambda connection: due_days(connection, self._settings, now_ms)):
            await self._archive(day, now_ms)

    async def _archive(self, day: int, now_ms: int) -> None:
        await self._database.ask(lambda connection: self._archiver.archive(connection, day, now_ms))


def _chained(first: ArchivedReading, rows: Iterator[ArchivedReading]) -> Iterator[ArchivedReading]:
    yield first
    yield from rows
