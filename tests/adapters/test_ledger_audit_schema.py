"""The audit covers the whole schema: tables and columns come from the database's catalogue, and each is tampered with.

Whoever adds a table or a column finds it here without doing anything: it is audited, or named with its reason in
`minervas_ledger.audit_scope`, or these tests fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import psycopg
import pytest
from psycopg import sql

from minervas_core.errors import Code, LocalFault
from minervas_core.node_messages import AbandonedSearch
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.audit_scope import HISTORY_COLUMNS, LEFT_ALONE, MAY_VANISH
from minervas_ledger.store.connection import Connection
from tests.support.builders import AUCTION, admit, bid, make_genesis, offer
from tests.support.ledger import StoredChain, audit, migrated
from tests.support.ledger_market import TradingChain
from tests.support.lot_builders import retire

TABLES_OF_THE_SCHEMA = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relname !~ '^(_yoyo|yoyo_lock|copy_)' ORDER BY relname
"""

COLUMNS_OF_A_TABLE = """
SELECT attname::text, atttypid::regtype::text,
    EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisunique AND attnum = ANY(indkey))
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

OTHER_VALUE = {
    "bytea": "sha256(coalesce({column}, '') || 'x')",
    "text": "coalesce({column}, '') || 'x'",
    "bigint": "coalesce({column}, 0) + (2::bigint ^ 52)::bigint",
    "integer": "coalesce({column}, 0) + 1000",
    "numeric": "coalesce({column}, 0) + 1",
    "boolean": "NOT {column}",
    "text[]": "array_append({column}, 'x')",
    "bytea[]": "array_append({column}, sha256('x'))",
    "integer[]": "array_append({column}, 1)",
    "bigint[]": "array_append({column}, 1::bigint)",
}
"""What a column is changed into, by type."""

ONE_FILL = msgspec.structs.replace(AUCTION, max_fills_per_block=1)

WHICH_ROW = {"blocks": "best_chain", "transactions": "block IN (SELECT hash FROM blocks WHERE best_chain)"}
"""Of tables that hold side branches, too, a row of the best chain is changed: those can stand alone."""

NAMED_ELSEWHERE = {("blocks", "best_chain"), ("blocks", "height"), ("transactions", "block")}
"""Columns that join tables: a change shows where they are joined."""


@dataclass(frozen=True)
class Column:
    """A column as the catalogue has it."""

    name: str
    type: str
    unique: bool

    def changed(self) -> sql.Composable:
        """An expression for another value."""
        assert self.type in OTHER_VALUE, f"say how a column of type {self.type} is changed"
        return sql.SQL(OTHER_VALUE[self.type]).format(column=sql.Identifier(self.name))


@dataclass
class World:
    """A stored chain with rows in every table, and a superuser who may change them."""

    stored: StoredChain
    superuser: Connection

    def tables(self) -> list[str]:
        return [str(row[0]) for row in self.superuser.execute(TABLES_OF_THE_SCHEMA.encode()).fetchall()]

    def audited(self) -> list[str]:
        return [table for table in self.tables() if table not in LEFT_ALONE]

    def columns(self, table: str) -> list[Column]:
        rows = self.superuser.execute(COLUMNS_OF_A_TABLE.encode(), (table,)).fetchall()
        return [Column(str(name), str(kind), bool(unique)) for name, kind, unique in rows]

    def keep_copies(self) -> None:
        for table in self.audited():
            copy = sql.SQL("CREATE TABLE {} AS TABLE {}")
            self.superuser.execute(copy.format(sql.Identifier(f"copy_{table}"), sql.Identifier(table)))

    def drop_constraints(self) -> None:
        """Whoever can tamper with rows can also do that."""
        names = self.superuser.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f') AND conparentid = 0"
        ).fetchall()
        for table, name in names:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            self.superuser.execute(drop.format(sql.Identifier(str(table)), sql.Identifier(str(name))))

    def finding(self, table: str, statement: str, **parts: sql.Composable) -> str:
        """Tamper with one row of a table; returns the table that the audit names, or an empty text. Undone at once."""
        name, copy = sql.Identifier(table), sql.Identifier(f"copy_{table}")
        row = sql.SQL("ctid = (SELECT ctid FROM {} AS t WHERE {} ORDER BY md5(t::text) LIMIT 1)").format(
            name, sql.SQL(WHICH_ROW.get(table, "true"))
        )
        assert self.superuser.execute(sql.SQL(statement).format(table=name, row=row, **parts)).rowcount == 1, table
        try:
            audit(self.stored.settings, self.stored.genesis)
        except LocalFault as fault:
            return str(fault.values["table"]) if fault.code == Code.AUDIT_MISMATCH else ""
        finally:
            self.superuser.execute(sql.SQL("DELETE FROM {}").format(name))
            self.superuser.execute(sql.SQL("INSERT INTO {} TABLE {}").format(name, copy))
        return ""


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[World]:
    """Members, meters, lots, orders, an auction whose second fill waits, a retirement, a side branch, a search."""
    stored = StoredChain(migrated(postgres_server.create_database("test-audit-schema")), make_genesis(ONE_FILL))
    trading = TradingChain(stored, ONE_FILL)
    trading.pay_a_month_later()
    until_ms = trading.local.tip.time_ms + 10**9
    lots = [trading.mint("m0", 900), trading.mint("m1", 400)]
    base = trading.local.tip
    trading.block(offer("m0", lots[:1], 100, until_ms=until_ms))
    wants = [bid("m2", 300, 100, until_ms=until_ms), bid("m2", 100, 100, salt="more", until_ms=until_ms)]
    trading.block(*wants, bid("m1", 50, 7, until_ms=until_ms))
    trading.block(retire("m1", lots[1:]))
    while not trading.local.chain.state.market.pending_fills.listed("all"):
        trading.block()
    stored.take(trading.local.mine("m1", [admit("m9")], on=base, start=99))
    hopeless = msgspec.structs.replace(trading.local.mine("m2").header, difficulty=2**50)
    stored.now.store_search(
        AbandonedSearch(header=hopeless, tries=3, elapsed_ms=1_000, lowest_hash=hopeless.hash(), stored_at_ms=1)
    )
    stored.now.close()
    with psycopg.connect(postgres_server.superuser_conninfo(stored.settings.name), autocommit=True) as superuser:
        made = World(stored, superuser)
        made.drop_constraints()
        made.keep_copies()
        yield made


def test_what_is_left_alone_exists_and_has_a_reason(world: World) -> None:
    assert set(LEFT_ALONE) <= set(world.tables())
    existing = {(table, column.name) for table in world.audited() for column in world.columns(table)}
    assert set(HISTORY_COLUMNS) <= existing
    assert set(MAY_VANISH) <= set(world.audited())
    assert all([*LEFT_ALONE.values(), *HISTORY_COLUMNS.values(), *MAY_VANISH.values()])


def test_untouched_tables_pass(world: World) -> None:
    report = audit(world.stored.settings, world.stored.genesis)
    assert (report.trades, report.side_blocks, report.abandoned_searches) == (2, 1, 1)


def test_every_column_of_every_table_is_compared(world: World) -> None:
    """A changed value is found, and the row's own table is named."""
    missed: list[tuple[str, str, str]] = []
    for table in world.audited():
        for column in world.columns(table):
            if (table, column.name) in HISTORY_COLUMNS:
                continue
            change = "UPDATE {table} SET {column} = {changed} WHERE {row}"
            named = world.finding(table, change, column=sql.Identifier(column.name), changed=column.changed())
            if named != table and not (named and (table, column.name) in NAMED_ELSEWHERE):
                missed.append((table, column.name, named))
    assert not missed


def test_every_missing_row_is_found(world: World) -> None:
    tables = [table for table in world.audited() if table not in MAY_VANISH]
    assert not [table for table in tables if not world.finding(table, "DELETE FROM {table} WHERE {row}")]


def test_every_row_too_many_is_found(world: World) -> None:
    """A copy of a row, with other values wherever they must differ."""
    missed: list[str] = []
    for table in world.audited():
        columns = world.columns(table)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        values = sql.SQL(", ").join(
            column.changed() if column.unique else sql.Identifier(column.name) for column in columns
        )
        add = "INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {row}"
        if not world.finding(table, add, names=names, values=values):
            missed.append(table)
    assert not missed
