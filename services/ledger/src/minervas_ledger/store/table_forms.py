"""What a table of the market looks like in the database, and how records become its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minervas_core.encoding import Record

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class TableForm:
    """Name, columns and their types, and how many columns at the front are the key."""

    name: str
    columns: dict[str, str]
    key_columns: int

    @property
    def copy_statement(self) -> str:
        """A COPY of whole rows into the table."""
        return f"COPY {self.name} ({', '.join(self.columns)}) FROM STDIN (FORMAT binary)"

    @property
    def select_statement(self) -> str:
        """A SELECT of all columns, without conditions."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 - names are constants

    @property
    def key(self) -> dict[str, str]:
        """The key's columns and their types."""
        return dict(list(self.columns.items())[: self.key_columns])


@dataclass(frozen=True, slots=True)
class StateForm:
    """A table that holds just one of the state's tables (`minervas_core.market.state.ROW_TYPES`)."""

    state_table: str
    form: TableForm
    to_row: Callable[[str, Record], Row]
    from_row: Callable[[Row], tuple[str, Record]]

    def key_of(self, key: str) -> Row:
        """The key's columns."""
        return (bytes.fromhex(key),) if list(self.form.key.values()) == ["bytea"] else tuple(key.split("/"))
