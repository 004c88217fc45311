"""What a member's database holds of its metering, asked of PostgreSQL itself rather than of the services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from minervas_devnet.postgres_roles import NodeDatabase


@dataclass(frozen=True, slots=True)
class StoredSpool:
    """Rows of one gateway's spool below a sequence number."""

    rows: int
    sequences: int
    """Different sequence numbers among them."""


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """Rows of one channel."""

    measured: int
    missing: dict[str, int]
    """Samples without values, by fault."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What the roll-ups by the minute say of one channel, and its rows at the same moment."""

    samples: int
    """Measured, substituted and missing ones together."""
    rows: int
    first_mwh: int
    """Register of the first sample that has one."""
    last_mwh: int
    """Of the last."""

    @property
    def energy_wh(self) -> int:
        """How far the register went, rounded down."""
        return (self.last_mwh - self.first_mwh) // 1000


@dataclass(frozen=True, slots=True)
class Span:
    """What the best chain's statements of one channel say together."""

    first_wh: int
    """Register at the start of the first."""
    stated_wh: int
    """What they minted."""
    end_ms: int
    """End of the newest."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Times from samples to their rows, in ms."""

    samples: int
    median_ms: int
    slowest_ms: int


class StoredMetering:
    """Questions to one member's database.

    Args:
        member: whose metering.
        database: the member's own.
    """

    def __init__(self, member: str, database: NodeDatabase) -> None:
        self._member = member
        self._database = database

    def spool(self, spool: str, below: int) -> StoredSpool:
        """What is stored of a spool (32 hex digits) below a sequence number."""
        [(rows, sequences)] = self._ask(
            "SELECT count(*), count(DISTINCT sequence) FROM readings"
            " WHERE member = %s AND spool = decode(%s, 'hex') AND sequence < %s",
            spool,
            below,
        )
        return StoredSpool(rows, sequences)

    def channels(self) -> dict[tuple[str, str], StoredChannel]:
        """All rows, by meter and channel."""
        rows = self._ask(
            "SELECT meter, channel, coalesce(fault, ''), count(*) FROM readings WHERE member = %s GROUP BY 1, 2, 3"
        )
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for meter, channel, fault, count in rows:
            counts.setdefault((meter, channel), {})[fault] = count
        return {
            key: StoredChannel(found.get("", 0), {fault: count for fault, count in found.items() if fault})
            for key, found in counts.items()
        }

    def rolled_up(self) -> dict[tuple[str, str], RolledUp]:
        """The roll-ups of all channels that have a register in them, by meter and channel."""
        rows = self._ask(
            "SELECT r.meter, r.channel, sum(measured + substituted + missing)::bigint, min(stored.rows),"
            " (array_agg(first_mwh ORDER BY first_ms) FILTER (WHERE first_mwh IS NOT NULL))[1],"
            " (array_agg(last_mwh ORDER BY last_ms DESC) FILTER (WHERE last_mwh IS NOT NULL))[1]"
            " FROM readings_minute r JOIN (SELECT member, meter, channel, count(*) AS rows FROM readings"
            " GROUP BY 1, 2, 3) AS stored USING (member, meter, channel) WHERE r.member = %s GROUP BY 1, 2"
        )
        return {(meter, channel): RolledUp(*found) for meter, channel, *found in rows if None not in found}

    def spans(self) -> dict[tuple[str, str], Span]:
        """Statements on the best chain, by meter and channel; those after a reset are not understood."""
        rows = self._ask(
            "SELECT meter, channel, min(start_wh), sum(end_wh - start_wh)::bigint, max(end_ms) FROM statements"
            " WHERE member = %s GROUP BY 1, 2"
        )
        return {(meter, channel): Span(first, stated, end) for meter, channel, first, stated, end in rows}

    def unlinked_statements(self) -> int:
        """Statements of one channel that do not start where the one before ended."""
        [(count,)] = self._ask(
            "SELECT count(*) FROM (SELECT start_ms, start_wh, reset, lag(end_ms) OVER chain AS last_ms,"
            " lag(end_wh) OVER chain AS last_wh FROM statements WHERE member = %s"
            " WINDOW chain AS (PARTITION BY meter, channel ORDER BY end_ms)) AS pairs"
            " WHERE last_ms IS NOT NULL AND NOT reset AND (start_ms, start_wh) <> (last_ms, last_wh)"
        )
        return int(count)

    def delays(self, since_ms: int) -> Delays:
        """How long samples taken after a time took to become rows."""
        [(samples, median_ms, slowest_ms)] = self._ask(
            "SELECT count(*), coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY stored_ms - time_ms), 0),"
            " coalesce(max(stored_ms - time_ms), 0) FROM readings WHERE member = %s AND time_ms > %s",
            since_ms,
        )
        return Delays(samples, median_ms, slowest_ms)

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask with the member as the first value."""
        with psycopg.connect(self._database.conninfo(self._database.owner), autocommit=True) as connection:
            return connection.execute(question.encode(), (self._member, *values)).fetchall()
