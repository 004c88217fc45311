"""Rows about days whose readings went into archives."""

from __future__ import annotations

from collections.abc import Collection

from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection


def archived_days(connection: Connection, days: Collection[int]) -> set[int]:
    """Which of some days (since the epoch) have an archive."""
    rows = connection.execute(
        "SELECT DISTINCT day FROM reading_archives WHERE day = ANY(%s)", (list(days),), binary=True
    ).fetchall()
    return {as_int(day) for (day,) in rows}
