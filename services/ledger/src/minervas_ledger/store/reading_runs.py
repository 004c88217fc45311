"""Which readings of each spool were ever stored: runs of numbers without gaps, kept in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minervas_core.ledger_messages import MAX_RUNS_PER_ANSWER, GetReadingRuns, ReadingRun, ReadingRuns
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection

SpoolKey = tuple[str, str]
"""Member and spool."""
Range = tuple[int, int]
"""First and last number of a run."""

TOUCHED = """
SELECT r.member, r.spool, r.first, r.last
FROM unnest(%s::text[], %s::bytea[], %s::bigint[], %s::bigint[]) AS s (member, spool, low, high)
JOIN reading_runs r ON r.member = s.member AND r.spool = s.spool AND r.last >= s.low AND r.first <= s.high
"""
DELETE = """
DELETE FROM reading_runs r USING unnest(%s::text[], %s::bytea[], %s::bigint[]) AS s (member, spool, first)
WHERE r.member = s.member AND r.spool = s.spool AND r.first = s.first
"""
INSERT = """
INSERT INTO reading_runs (member, spool, first, last)
SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bigint[], %s::bigint[])
"""
PAGE = """
SELECT spool, first, last FROM reading_runs
WHERE member = %s AND (spool, first) > (%s, %s) ORDER BY spool, first LIMIT %s
"""
OF_MEMBER = "SELECT spool, first, last FROM reading_runs WHERE member = %s ORDER BY spool, first"
GAPS = """
SELECT member, sum(missing)::bigint FROM (
    SELECT member, max(last) + 1 - sum(last - first + 1) AS missing FROM reading_runs GROUP BY member, spool
) AS spools GROUP BY member
"""


def ranges_of(numbers: Iterable[int]) -> list[Range]:
    """Runs without gaps, in order."""
    return joined((number, number) for number in numbers)


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Ranges in order, with those that touch or overlap made one."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def without(ranges: Iterable[Range], known: Iterable[Range]) -> list[Range]:
    """What of some ranges is in none of the known ones; both without overlaps."""
    rest: list[Range] = []
    others = sorted(known)
    for first, last in sorted(ranges):
        start = first
        for low, high in others:
            if high < start or low > last:
                continue
            if low > start:
                rest.append((start, low - 1))
            start = high + 1
        if start <= last:
            rest.append((start, last))
    return rest


def contains(ranges: Iterable[Range], number: int) -> bool:
    """Whether a number is in one of some ranges."""
    return any(first <= number <= last for first, last in ranges)


def count(ranges: Iterable[Range]) -> int:
    """How many numbers there are in ranges without overlaps."""
    return sum(last - first + 1 for first, last in ranges)


def known_runs(connection: Connection, wanted: Mapping[SpoolKey, list[Range]]) -> dict[SpoolKey, list[Range]]:
    """The stored runs that touch some ranges, by spool."""
    if not wanted:
        return {}
    rows: list[tuple[object, ...]] = [
        (member, bytes.fromhex(spool), ranges[0][0] - 1, ranges[-1][1] + 1)
        for (member, spool), ranges in wanted.items()
    ]
    found: dict[SpoolKey, list[Range]] = {key: [] for key in wanted}
    for member, spool, first, last in connection.execute(TOUCHED, _columns(rows), binary=True).fetchall():
        found[str(member), as_bytes(spool).hex()].append((as_int(first), as_int(last)))
    return found


def add_runs(
    connection: Connection, added: Mapping[SpoolKey, list[Range]], known: Mapping[SpoolKey, list[Range]]
) -> None:
    """Join ranges to the stored ones.

    Args:
        connection: in the transaction in which they are stored.
        added: by spool, in order.
        known: what `known_runs` found for them.
    """
    gone: list[tuple[object, ...]] = []
    new: list[tuple[object, ...]] = []
    for (member, spool), ranges in added.items():
        before = sorted(known[member, spool])
        after = joined([*before, *ranges])
        gone += [(member, bytes.fromhex(spool), first) for first, last in before if (first, last) not in after]
        new += [(member, bytes.fromhex(spool), first, last) for first, last in after if (first, last) not in before]
    if gone:
        connection.execute(DELETE, _columns(gone))
    if new:
        connection.execute(INSERT, _columns(new))


def page_of_runs(connection: Connection, member: str, question: GetReadingRuns) -> ReadingRuns:
    """The runs of a member, a page at a time."""
    after = bytes.fromhex(question.after_spool), question.after_first if question.after_spool else 0
    rows = connection.execute(PAGE, (member, *after, MAX_RUNS_PER_ANSWER + 1), binary=True).fetchall()
    runs = [
        ReadingRun(spool=as_bytes(spool).hex(), first=as_int(first), last=as_int(last)) for spool, first, last in rows
    ]
    return ReadingRuns(runs=runs[:MAX_RUNS_PER_ANSWER], more=len(runs) > MAX_RUNS_PER_ANSWER)


def runs_of_member(connection: Connection, member: str) -> dict[str, list[Range]]:
    """All stored runs of a member, by spool."""
    found: dict[str, list[Range]] = {}
    for spool, first, last in connection.execute(OF_MEMBER, (member,), binary=True).fetchall():
        found.setdefault(as_bytes(spool).hex(), []).append((as_int(first), as_int(last)))
    return found


def gaps(connection: Connection) -> dict[str, int]:
    """How many readings are missing below the newest one of each spool, by member; only members that have readings."""
    return {str(member): as_int(missing) for member, missing in connection.execute(GAPS, binary=True).fetchall()}


def _columns(rows: list[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
