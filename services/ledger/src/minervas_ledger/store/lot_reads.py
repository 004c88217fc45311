"""Questions about lots and retirements. Every function is one statement, so its answer is of one moment.

An answer has at most `MAX_ORIGINS_PER_ANSWER` origins, so that it fits into a message; what is left out is on the next
page.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from minervas_core.node_market_messages import (
    MAX_ORIGINS_PER_ANSWER,
    GetLots,
    GetRetirements,
    LotDetail,
    LotEntry,
    Lots,
    RetirementEntry,
    Retirements,
    TracedOrigin,
)
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.lot_rows import LOT_COLUMNS, RETIREMENTS, lot_of, retirement_of
from minervas_ledger.store.market_rows import hexes
from minervas_ledger.store.table_forms import Row

TRACED = "o.statement, o.energy_wh, s.member, s.meter, s.channel, s.start_ms, s.end_ms"
"""Columns of a `TracedOrigin`, of the tables that `WITH_ORIGINS` joins."""
TRACED_COUNT = 7

WITH_ORIGINS = """
CROSS JOIN unnest(f.origins, f.origin_wh) WITH ORDINALITY AS o (statement, energy_wh, place)
JOIN statements s ON s.id = o.statement
"""
"""A row of `f` once for each of its origins, with the statement."""


def unspent_lots(connection: Connection, question: GetLots) -> Lots:
    """A page of the unspent lots, by id."""
    query = f"""
        SELECT {", ".join(LOT_COLUMNS)} FROM lots
        WHERE spent_height IS NULL AND (%(owner)s = '' OR owner = %(owner)s)
            AND (NOT %(free)s OR offer IS NULL) AND id > %(after)s
        ORDER BY id LIMIT %(limit)s
        """  # noqa: S608 - names are constants
    asked = {
        "owner": question.owner,
        "free": question.free,
        "after": bytes.fromhex(question.after),
        "limit": question.limit + 1,
    }
    rows = connection.execute(query.encode(), asked, binary=True).fetchall()
    entries = [LotEntry(id=lot_id, lot=lot) for lot_id, lot in map(lot_of, rows)]
    shown = _that_fit([len(entry.lot.origins) for entry in entries], question.limit)
    return Lots(lots=entries[:shown], more=shown < len(entries))


def lot_detail(connection: Connection, lot_id: str) -> LotDetail | None:
    """A lot of the best chain with its origins, or None."""
    columns = ", ".join(f"f.{column}" for column in LOT_COLUMNS)
    query = f"""
        SELECT {columns}, f.joined, f.created_height, f.spent_height, r.transaction, {TRACED}
        FROM lots f LEFT JOIN retirements r ON r.lot = f.id {WITH_ORIGINS} WHERE f.id = %s ORDER BY o.place
        """  # noqa: S608 - names are constants
    rows = connection.execute(query.encode(), (bytes.fromhex(lot_id),), binary=True).fetchall()
    if not rows:
        return None
    kept = len(LOT_COLUMNS)
    joined, created_height, spent_height, retired_by = rows[0][kept:-TRACED_COUNT]
    return LotDetail(
        id=lot_id,
        lot=lot_of(rows[0][:kept])[1],
        joined=hexes(joined),
        origins=[_traced(row) for row in rows],
        created_height=as_int(created_height),
        spent_height=msgspec.UNSET if spent_height is None else as_int(spent_height),
        retired_by="" if retired_by is None else as_bytes(retired_by).hex(),
    )


def retirements(connection: Connection, question: GetRetirements) -> Retirements:
    """A page of the retirements, newest first."""
    columns = ", ".join(f"f.{column}" for column in RETIREMENTS.columns)
    query = f"""
        SELECT {columns}, {TRACED} FROM (
            SELECT * FROM retirements
            WHERE (%(owner)s = '' OR owner = %(owner)s) AND (height, position) < (%(height)s, %(position)s)
            ORDER BY height DESC, position DESC LIMIT %(limit)s
        ) AS f {WITH_ORIGINS} ORDER BY f.height DESC, f.position DESC, o.place
        """  # noqa: S608 - names are constants
    asked = {
        "owner": question.owner,
        "height": question.before_height,
        "position": question.before_position,
        "limit": question.limit + 1,
    }
    rows = connection.execute(query.encode(), asked, binary=True).fetchall()
    kept = len(RETIREMENTS.columns)
    entries: list[RetirementEntry] = []
    for _, same in groupby(rows, lambda row: row[: RETIREMENTS.key_columns]):
        traced = list(same)
        entries.append(
            RetirementEntry(retirement=retirement_of(traced[0][:kept]), origins=[_traced(row) for row in traced])
        )
    shown = _that_fit([len(entry.origins) for entry in entries], question.limit)
    return Retirements(retirements=entries[:shown], more=shown < len(entries))


def _that_fit(origins: Sequence[int], limit: int) -> int:
    """How many entries an answer can have, from the first on, if they have so many origins each."""
    total = 0
    for place, count in enumerate(origins[:limit]):
        total += count
        if total > MAX_ORIGINS_PER_ANSWER:
            return place
    return min(len(origins), limit)


def _traced(row: Row) -> TracedOrigin:
    """The columns `TRACED` at the end of a row."""
    statement, energy_wh, member, meter, channel, start_ms, end_ms = row[-TRACED_COUNT:]
    return TracedOrigin(
        statement=as_bytes(statement).hex(),
        energy_wh=as_int(energy_wh),
        member=str(member),
        meter=str(meter),
        channel=str(channel),
        start_ms=as_int(start_ms),
        end_ms=as_int(end_ms),
    )
