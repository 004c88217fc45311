"""Days of readings: which may go into an archive, what is in them, and which are in one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

from minervas_ledger.archive_file import ArchivedReading, WrittenArchive
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.readings_reads import READING_COLUMNS, reading_of

DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1)

DAYS = """
SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'readings'::regclass ORDER BY relname
"""
PARTITION = re.compile(r"readings_(\d{4})(\d{2})(\d{2})")

ANY = "SELECT count(*) FROM (SELECT FROM readings WHERE time_ms >= %(start)s AND time_ms < %(end)s LIMIT 1) AS one"

UNSETTLED = """
SELECT count(*) FROM statements s JOIN blocks b ON b.best_chain AND b.height = s.height
WHERE s.start_ms < %(end)s AND s.end_ms >= %(start)s AND (s.height > %(final)s OR b.time_ms > %(settled)s)
    AND EXISTS (
        SELECT FROM reading_channels c
        WHERE c.member = s.member AND c.meter = s.meter AND c.channel = s.channel
    )
"""
"""Statements over the day that are not final, or may still be disputed."""

UNSTATED = """
SELECT count(*) FROM (
    SELECT member, meter, channel FROM readings_hour WHERE hour_ms >= %(start)s AND hour_ms < %(end)s
    GROUP BY member, meter, channel
) AS h LEFT JOIN channel_registers r USING (member, meter, channel)
WHERE r.time_ms IS NULL OR r.time_ms < %(end)s
"""
"""Channels whose readings of the day may still be stated."""

OF_DAY = f"""
SELECT r.member, r.spool, r.stored_ms, {READING_COLUMNS} FROM readings r
WHERE r.time_ms >= %s AND r.time_ms < %s
ORDER BY r.member, r.meter, r.channel, r.time_ms, r.spool, r.sequence
"""  # noqa: S608 - names are constants

ARCHIVES = """
SELECT day, part, file, sha256 FROM reading_archives WHERE day BETWEEN %s AND %s ORDER BY day, part
"""

FETCHED_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that the database knows."""

    day: int
    part: int
    file: str
    sha256: str


def archived_days(connection: Connection, days: Collection[int]) -> set[int]:
    """Which of some days (since the epoch) have an archive."""
    rows = connection.execute(
        "SELECT DISTINCT day FROM reading_archives WHERE day = ANY(%s)", (list(days),), binary=True
    ).fetchall()
    return {as_int(day) for (day,) in rows}


def archives(connection: Connection, first_day: int, last_day: int) -> list[Archive]:
    """The files of some days, in order."""
    rows = connection.execute(ARCHIVES, (first_day, last_day), binary=True).fetchall()
    return [Archive(as_int(day), as_int(part), str(file), as_bytes(sha256).hex()) for day, part, file, sha256 in rows]


def stored_days(connection: Connection) -> list[int]:
    """Days since the epoch that have a partition of readings, oldest first."""
    found = (PARTITION.fullmatch(str(name)) for (name,) in connection.execute(DAYS, binary=True).fetchall())
    return [(date(*map(int, match.groups())) - EPOCH).days for match in found if match]


def oldest_day_ms(connection: Connection) -> int:
    """When the oldest day begins whose readings are here."""
    return min(stored_days(connection), default=0) * DAY_MS


def has_readings(connection: Connection, day: int) -> bool:
    """Whether there are any readings of a day: days are made ahead, and no gateway may have sent anything."""
    return _count(connection, ANY, day) > 0


def count_unsettled(connection: Connection, day: int, *, final_height: int, settled_ms: int) -> int:
    """Statements over a day that are not final, or whose block is later than a time."""
    return _count(connection, UNSETTLED, day, final=final_height, settled=settled_ms)


def count_unstated(connection: Connection, day: int) -> int:
    """Channels with readings of a day whose last statement ended before the day did."""
    return _count(connection, UNSTATED, day)


def readings_of_day(connection: Connection, day: int) -> Iterator[ArchivedReading]:
    """All readings of a day in the order of an archive; in a transaction."""
    with connection.cursor("readings_of_day") as cursor:
        cursor.itersize = FETCHED_ROWS
        cursor.execute(OF_DAY, (day * DAY_MS, (day + 1) * DAY_MS), binary=True)
        for member, spool, stored_ms, *columns in cursor:
            yield ArchivedReading(
                member=str(member),
                spool=as_bytes(spool).hex(),
                stored_ms=as_int(stored_ms),
                reading=reading_of(columns),
            )


def next_part(connection: Connection, day: int) -> int:
    """Number of the next file of a day."""
    row = connection.execute("SELECT coalesce(max(part), 0) + 1 FROM reading_archives WHERE day = %s", (day,))
    [part] = row.fetchone() or (1,)
    return as_int(part)


def drop_day(  # noqa: PLR0917 - a day, its file, and when
    connection: Connection, day: int, part: int, file: str, written: WrittenArchive, now_ms: int
) -> bool:
    """Drop the readings of a day and note where they are; False if there are more by now than were archived."""
    found = connection.execute(
        "SELECT drop_readings_day(%s, %s, %s, %s, %s, %s, %s)",
        (day, part, file, written.readings, written.bytes, bytes.fromhex(written.sha256), now_ms),
    ).fetchone()
    return found == (True,)


def _count(connection: Connection, question: str, day: int, **values: int) -> int:
    wanted = {"start": day * DAY_MS, "end": (day + 1) * DAY_MS, **values}
    [count] = connection.execute(question.encode(), wanted, binary=True).fetchone() or (0,)
    return as_int(count)
