"""Reading the market's state back, at start and for the audit."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from minervas_core.encoding import Record, encode
from minervas_core.errors import Code, LocalFault
from minervas_core.record_tables import StateRow
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.lot_rows import LOT_COLUMNS, lot_of
from minervas_ledger.store.market_rows import STATE_FORMS
from minervas_ledger.store.table_forms import StateForm

FETCH_ROWS = 2_000

SELECT_UNSPENT = f"SELECT {', '.join(LOT_COLUMNS)} FROM lots WHERE spent_height IS NULL"  # noqa: S608 - names are constants


def read_market(connection: Connection) -> Iterator[StateRow]:
    """All rows of the state. The connection must be in a transaction."""
    for form in STATE_FORMS:
        for key, record in read_table(connection, form):
            yield StateRow(table=form.state_table, key=key, row=msgspec.Raw(encode(record)))
    with connection.cursor("unspent_lots", binary=True) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute(SELECT_UNSPENT.encode())
        for row in cursor:
            lot_id, lot = lot_of(row)
            yield StateRow(table="lots", key=lot_id, row=msgspec.Raw(encode(lot)))


def read_table(connection: Connection, form: StateForm) -> Iterator[tuple[str, Record]]:
    """All rows of one table. The connection must be in a transaction.

    Raises:
        LocalFault: ``audit_mismatch`` if a row cannot even be read.
    """
    with connection.cursor(f"read_{form.form.name}", binary=True) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute(form.form.select_statement.encode())
        for row in cursor:
            try:
                yield form.from_row(row)
            except (TypeError, ValueError) as error:
                key = "/".join(str(value) for value in row[: form.form.key_columns])
                raise LocalFault(
                    Code.AUDIT_MISMATCH,
                    "This row does not follow from genesis",
                    table=form.form.name,
                    row=key,
                    reason=str(error),
                ) from error
