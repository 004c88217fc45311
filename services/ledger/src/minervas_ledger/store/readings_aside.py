"""Readings with impossible times, put aside: nothing is lost if it was our clock that was wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, TransientFault
from minervas_core.metering import MAX_BATCH_BYTES, Reading
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection

MAX_ASIDE = 200_000
"""For each member; some 100 MB. Beyond them such readings are refused and stay in the spool."""

INSERT = """
INSERT INTO readings_aside (member, spool, sequence, digest, time_ms, reading, gateway, stored_ms)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
DUE = """
SELECT member, spool, digest, reading, gateway FROM readings_aside
WHERE time_ms BETWEEN %s AND %s ORDER BY time_ms LIMIT %s
"""
DELETE = "DELETE FROM readings_aside WHERE member = %s AND spool = %s AND sequence = %s AND digest = %s"
COUNT = "SELECT count(*) FROM readings_aside WHERE member = %s"
COUNT_ALL = "SELECT count(*) FROM readings_aside"


@dataclass(frozen=True, slots=True)
class ReceivedReading:
    """A reading and where it came from."""

    member: str
    gateway: str
    """The key that signed it."""
    spool: str
    reading: Reading

    @property
    def channel(self) -> tuple[str, str, str]:
        """Member, meter and channel."""
        return self.member, self.reading.meter, self.reading.channel


def put_aside(connection: Connection, readings: Sequence[ReceivedReading], now_ms: int) -> None:
    """Put readings aside, in the transaction of the caller.

    Raises:
        TransientFault: ``rate_limited`` if there are too many of a member; nothing of the transaction is to be kept.
    """
    rows = []
    for each in readings:
        raw = encode(each.reading)
        key = each.member, bytes.fromhex(each.spool), each.reading.sequence, hashlib.sha256(raw).digest()
        rows.append((*key, each.reading.time_ms, raw, bytes.fromhex(each.gateway), now_ms))
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
    for member in sorted({each.member for each in readings}):
        [count] = connection.execute(COUNT, (member,), binary=True).fetchone() or (0,)
        if as_int(count) > MAX_ASIDE:
            raise TransientFault(Code.RATE_LIMITED, "Too many readings with impossible times", member=member)


def due(connection: Connection, from_ms: int, to_ms: int, limit: int) -> list[ReceivedReading]:
    """Readings that were put aside, and whose times are possible by now, oldest first."""
    rows = connection.execute(DUE, (from_ms, to_ms, limit), binary=True).fetchall()
    return [
        ReceivedReading(
            member=str(member),
            gateway=as_bytes(gateway).hex(),
            spool=as_bytes(spool).hex(),
            reading=decode(as_bytes(raw), Reading, max_bytes=MAX_BATCH_BYTES),
        )
        for member, spool, _, raw, gateway in rows
    ]


def take_back(connection: Connection, readings: Sequence[ReceivedReading]) -> None:
    """They are stored where they belong, in the same transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(
            DELETE,
            [
                (each.member, bytes.fromhex(each.spool), each.reading.sequence, _digest(each.reading))
                for each in readings
            ],
        )


def count_aside(connection: Connection) -> int:
    """How many readings are put aside, of all members."""
    [count] = connection.execute(COUNT_ALL, binary=True).fetchone() or (0,)
    return as_int(count)


def _digest(reading: Reading) -> bytes:
    return hashlib.sha256(encode(reading)).digest()
