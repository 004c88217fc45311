"""Numbers for the operator's first page."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from minervas_admission.store.database import Connection
from minervas_core.rights import ADMISSION


@dataclass(frozen=True, slots=True)
class Overview:
    """How the consortium stands."""

    members: int
    """Members whose membership has not ended."""
    suspended: int
    """Of these, those without a vote."""
    ended: int
    open_decisions: int
    """Decisions that are not carried out yet."""
    open_transactions: int
    """Transactions that the chain has not confirmed yet."""
    tip_height: int
    """Height of the operator member's chain as last reported; 0 if it never was."""
    tip_reported_ms: int
    """When it was; 0 if it never was."""
    server_expires_ms: int
    """The earliest end of the servers' newest certificates, besides our own, which we renew; 0 without any."""


async def read_overview(connection: Connection) -> Overview:
    """Count everything."""
    async with connection.cursor(row_factory=class_row(Overview)) as cursor:
        await cursor.execute(
            """
            SELECT (SELECT count(*) FROM members WHERE ended_ms IS NULL) AS members,
                   (SELECT count(*) FROM members WHERE ended_ms IS NULL AND suspended_ms IS NOT NULL) AS suspended,
                   (SELECT count(*) FROM members WHERE ended_ms IS NOT NULL) AS ended,
                   (SELECT count(*) FROM decisions WHERE state = 'queued') AS open_decisions,
                   (SELECT count(*) FROM membership_transactions WHERE state = 'open') AS open_transactions,
                   coalesce((SELECT height FROM operator_tip), 0) AS tip_height,
                   coalesce((SELECT reported_ms FROM operator_tip), 0) AS tip_reported_ms,
                   coalesce((SELECT min(newest) FROM (
                       SELECT max(not_after_ms) AS newest FROM certificates
                       WHERE purpose = 'server' AND revoked_ms IS NULL AND principal <> %(own)s
                       GROUP BY principal) servers), 0) AS server_expires_ms
            """,
            {"own": str(ADMISSION)},
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return row
