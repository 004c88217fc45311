"""Batches as gateways signed them, so that the operator's ledger can check what it gets from us.

Only the signature and the numbers are kept: the readings are in the database, and a batch is made again from them,
byte for byte. Of a batch whose readings are not all there as it had them, the whole is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.encoding import encode
from minervas_core.ledger_messages import (
    MAX_BATCHES_ANSWER_BYTES,
    MAX_BATCHES_PER_ANSWER,
    GetReadingBatches,
    ReadingBatches,
)
from minervas_core.metering import Reading, ReadingBatch, ReadingBatchBody
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reading_runs import Range, SpoolKey, contains
from minervas_ledger.store.readings_reads import READING_COLUMNS, reading_of

INSERT = """
INSERT INTO reading_batches (
    member, spool, first, last, sequences, first_ms, last_ms, gateway, signature, whole
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

FIND = """
SELECT first, last, sequences, first_ms, last_ms, gateway, signature, whole FROM reading_batches
WHERE member = %s AND spool = %s AND last >= %s AND first <= %s ORDER BY last, signature LIMIT %s
"""

CONTENT = f"""
SELECT r.sequence, {READING_COLUMNS}
FROM reading_channels c
CROSS JOIN LATERAL (
    SELECT * FROM readings
    WHERE member = c.member AND meter = c.meter AND channel = c.channel AND time_ms BETWEEN %s AND %s
        AND spool = %s AND sequence = ANY(%s)
) AS r WHERE c.member = %s
"""  # noqa: S608 - names are constants


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch that was taken, and whether the database has all of its readings as it had them."""

    batch: ReadingBatch
    is_whole: bool = True


def keep_batches(
    connection: Connection, batches: Iterable[SignedBatch], known: Mapping[SpoolKey, Sequence[Range]]
) -> None:
    """Keep those batches that bring something that was not there.

    Args:
        connection: in the transaction in which their readings are stored.
        batches: in the order of arrival.
        known: which numbers were there before, by member and spool.
    """
    brought: dict[SpoolKey, set[int]] = {}
    rows: list[tuple[object, ...]] = []
    for each in batches:
        body = each.batch.body
        numbers = [reading.sequence for reading in body.readings]
        seen, before = brought.setdefault((body.member, body.spool), set()), known.get((body.member, body.spool), ())
        if all(number in seen or contains(before, number) for number in numbers):
            continue
        seen.update(numbers)
        times = [reading.time_ms for reading in body.readings]
        is_plain = each.is_whole and len(set(numbers)) == len(numbers)
        rows.append(
            (
                *(body.member, bytes.fromhex(body.spool), min(numbers), max(numbers), numbers, min(times), max(times)),
                *(bytes.fromhex(body.gateway), bytes.fromhex(each.batch.signature)),
                None if is_plain else encode(each.batch),
            )
        )
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, rows)


def find_batches(connection: Connection, network: str, member: str, question: GetReadingBatches) -> ReadingBatches:
    """The batches that hold readings from `first` to `last` of a spool, as many as fit into an answer.

    What cannot be made again, because its readings are in an archive by now, is left out.
    """
    spool, found, size = bytes.fromhex(question.spool), list[msgspec.Raw](), 0
    wanted = (member, spool, question.first, question.last, MAX_BATCHES_PER_ANSWER + 1)
    rows = connection.execute(FIND, wanted, binary=True).fetchall()
    up_to = question.first
    for place, (_, last, sequences, first_ms, last_ms, gateway, signature, whole) in enumerate(rows):
        if place == MAX_BATCHES_PER_ANSWER or size >= MAX_BATCHES_ANSWER_BYTES:
            return ReadingBatches(batches=found, up_to=up_to)
        raw = as_bytes(whole) if whole is not None else b""
        if not raw and isinstance(sequences, list):
            span = as_int(first_ms), as_int(last_ms)
            readings = _readings(connection, member, spool, [as_int(number) for number in sequences], span)
            body = ReadingBatchBody(
                network=network, member=member, gateway=as_bytes(gateway).hex(), spool=question.spool, readings=readings
            )
            raw = encode(ReadingBatch(body=body, signature=as_bytes(signature).hex())) if readings else b""
        if raw:
            found.append(msgspec.Raw(raw))
            size += len(raw)
        up_to = max(up_to, min(as_int(last), question.last))
    return ReadingBatches(batches=found, up_to=question.last)


def _readings(
    connection: Connection, member: str, spool: bytes, sequences: list[int], span_ms: tuple[int, int]
) -> list[Reading]:
    """The readings of these numbers, in this order; empty if they are not there, each once."""
    rows = connection.execute(CONTENT, (*span_ms, spool, sequences, member), binary=True).fetchall()
    by_number = {as_int(number): reading_of(row) for number, *row in rows}
    if len(rows) != len(sequences) or by_number.keys() != set(sequences):
        return []
    return [by_number[number] for number in sequences]
