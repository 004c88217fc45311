"""A part of the chain state made of named tables of records, which can lie over another as a layer.

A row can be told as plain values (`StateRow`): that is how undo data, snapshots and the ledger's database hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

import msgspec

from minervas_core.encoding import Record, encode
from minervas_core.tables import Table


class StateRow(Record, frozen=True, kw_only=True):
    """One row of a table of the state, or that there is none."""

    table: str
    key: str
    row: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The record's canonical bytes; absent if the key is not in the table."""


class RecordTables:
    """Tables of records by name. Subclasses say which there are."""

    __slots__ = ("_below", "_tables")

    ROW_TYPES: ClassVar[Mapping[str, type[Record]]]
    """Type of each table's records."""

    def __init__(self, *, below: Self | None = None) -> None:
        self._below = below
        self._tables: dict[str, Table[str, Record]] = {
            name: below.table(name).over() if below else self._empty(name) for name in self.ROW_TYPES
        }

    def _empty(self, _name: str) -> Table[str, Record]:
        """A new table; some subclasses' rules ask for sorted lists."""
        return Table()

    def table(self, name: str) -> Table[str, Record]:
        """A table by its name in `ROW_TYPES`."""
        return self._tables[name]

    def merge_down(self) -> None:
        """Carry this layer's changes into the tables below."""
        for table in self._tables.values():
            table.merge_down()

    def changed_before(self) -> list[StateRow]:
        """What the rows that this layer changed hold below it, by table and key."""
        return [
            state_row(name, key, table.before(key))
            for name, table in self._tables.items()
            for key in sorted(table.changes())
        ]

    def put_back(self, rows: Iterable[StateRow]) -> None:
        """Restore rows as `changed_before` told them."""
        for row in rows:
            table = self._tables[row.table]
            if not isinstance(row.row, msgspec.UnsetType):
                table.put(row.key, msgspec.json.decode(row.row, type=self.ROW_TYPES[row.table]))
            elif row.key in table:
                table.drop(row.key)

    def rows(self) -> list[StateRow]:
        """All rows, by table and key."""
        return [
            state_row(name, key, record)
            for name, table in self._tables.items()
            for key, record in sorted(table.items(), key=lambda item: item[0])
        ]


def state_row(table: str, key: str, record: Record | None) -> StateRow:
    """A row as plain values; without a record, that there is none."""
    return StateRow(table=table, key=key, row=msgspec.UNSET if record is None else msgspec.Raw(encode(record)))
