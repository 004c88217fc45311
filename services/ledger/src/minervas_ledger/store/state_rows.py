"""State tables without SQL tables of their own: their rows are kept as canonical bytes under name and key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from minervas_core.encoding import encode
from minervas_core.record_tables import RecordTables, StateRow
from minervas_core.state import BlockUndo, ChainState
from minervas_ledger.store.arrays import Packed, text_array
from minervas_ledger.store.columns import as_bytes
from minervas_ledger.store.connection import Connection

FETCH_ROWS = 2_000

DELETE_ROWS = """
DELETE FROM state_rows USING unnest(%s::text[], %s::text[]) AS gone (name, key)
WHERE state_rows.name = gone.name AND state_rows.key = gone.key
"""
COPY_ROWS = "COPY state_rows (name, key, record) FROM STDIN (FORMAT binary)"
ROW_TYPES = ("text", "text", "bytea")


class StateRowsBatch:
    """Names of the rows that operations changed; their content is taken from the state at the end."""

    def __init__(self) -> None:
        self._changed: set[tuple[str, str]] = set()

    def name_rows(self, undo: BlockUndo) -> None:
        """A block was connected or taken back, and with it these rows."""
        self._changed.update((row.table, row.key) for row in changed_rows(undo))

    def write(self, connection: Connection, state: ChainState) -> None:
        """Write the rows as they are in `state`."""
        if not self._changed:
            return
        names, keys = zip(*sorted(self._changed), strict=True)
        connection.execute(DELETE_ROWS, (Packed(text_array(names)), Packed(text_array(keys))))
        tables = state_tables(state)
        with connection.cursor() as cursor, cursor.copy(COPY_ROWS) as copy:
            copy.set_types(list(ROW_TYPES))
            for name, key in sorted(self._changed):
                record = tables[name].table(name).get(key)
                if record is not None:
                    copy.write_row((name, key, encode(record)))


def state_tables(state: ChainState) -> Mapping[str, RecordTables]:
    """The parts of a state whose rows are kept here, by the names of their tables."""
    parts: tuple[RecordTables, ...] = (state.finality, state.governance)
    return {name: part for part in parts for name in part.ROW_TYPES}


def state_rows(state: ChainState) -> list[StateRow]:
    """All rows of a state that are kept here."""
    return [*state.finality.rows(), *state.governance.rows()]


def rows_of(part: type[RecordTables], rows: Iterable[StateRow]) -> Iterator[StateRow]:
    """Those of the rows that are in the tables of a part of the state."""
    return (row for row in rows if row.table in part.ROW_TYPES)


def changed_rows(undo: BlockUndo) -> list[StateRow]:
    """Rows of these tables that a block changed, as they were before it."""
    return [*undo.finality_before, *undo.governance_before]


def read_state_rows(connection: Connection) -> Iterator[StateRow]:
    """All rows. The connection must be in a transaction."""
    with connection.cursor("state_rows", binary=True) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute('SELECT name, key, record FROM state_rows ORDER BY name COLLATE "C", key COLLATE "C"')
        for name, key, record in cursor:
            yield StateRow(table=str(name), key=str(key), row=msgspec.Raw(as_bytes(record)))
