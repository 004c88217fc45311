"""The market's history, row by row in the order of the blocks, as the audit compares it."""

from __future__ import annotations

from collections.abc import Iterator

from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.table_forms import Row, TableForm

FETCH_ROWS = 2_000


class HistoryRows:
    """Rows of one table, handed out block by block. The connection must be in a transaction.

    Args:
        connection: in the audit's snapshot.
        form: the table.
        height_column: names the block.
        order: of the rows within a block.
    """

    def __init__(self, connection: Connection, form: TableForm, *, height_column: str, order: str) -> None:
        self._height_at = list(form.columns).index(height_column)
        query = f"{form.select_statement} ORDER BY {height_column}, {order}"
        self._rows = _stream(connection, f"audit_{form.name}", query)
        self._next = next(self._rows, None)

    def of(self, height: int) -> list[Row]:
        """The next rows, as long as they are of this block."""
        group: list[Row] = []
        while self._next is not None and as_int(self._next[self._height_at]) == height:
            group.append(self._next)
            self._next = next(self._rows, None)
        return group

    @property
    def left(self) -> Row | None:
        """The next row that was not handed out."""
        return self._next


def _stream(connection: Connection, name: str, query: str) -> Iterator[Row]:
    with connection.cursor(name, binary=True) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute(query.encode())
        yield from cursor
