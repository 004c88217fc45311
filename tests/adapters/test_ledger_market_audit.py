"""The audit finds whatever anybody changed in the tables of the market."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from minervas_core.errors import Code, LocalFault
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.store.connection import Connection
from tests.support.builders import MARKET, bid, make_genesis, offer
from tests.support.ledger import StoredChain, audit, migrated
from tests.support.ledger_market import TradingChain
from tests.support.lot_builders import merge, retire

WORDS = {
    "SPENT": "spent_height IS NOT NULL",
    "FREE": "spent_height IS NULL AND offer IS NULL",
    "HELD": "offer IS NOT NULL",
}
"""Which lots a statement of these tests means."""

TABLES = ("meters", "channel_registers", "statements", "lots", "orders", "trades", "obligations", "retirements")


@dataclass
class Tampered:
    """A stored chain with something in every table of the market, and a superuser who may change it."""

    stored: StoredChain
    superuser: Connection

    def change(self, statement: str) -> None:
        for word, condition in WORDS.items():
            statement = statement.replace(word, condition)
        assert self.superuser.execute(statement.encode()).rowcount > 0

    def fault(self) -> LocalFault:
        """What the audit finds."""
        with pytest.raises(LocalFault) as caught:
            audit(self.stored.settings, self.stored.genesis)
        assert caught.value.code == Code.AUDIT_MISMATCH
        return caught.value

    def keep_copies(self) -> None:
        for table in TABLES:
            copy = sql.SQL("CREATE TABLE {} AS TABLE {}")
            self.superuser.execute(copy.format(sql.Identifier(f"copy_{table}"), sql.Identifier(table)))

    def restore(self) -> None:
        for table in TABLES:
            name, copy = sql.Identifier(table), sql.Identifier(f"copy_{table}")
            self.superuser.execute(sql.SQL("DELETE FROM {}").format(name))
            self.superuser.execute(sql.SQL("INSERT INTO {} TABLE {}").format(name, copy))

    def drop_constraints(self) -> None:
        """Whoever can tamper with rows can also do that."""
        names = self.superuser.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f') AND conparentid = 0"
        ).fetchall()
        for table, name in names:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            self.superuser.execute(drop.format(sql.Identifier(str(table)), sql.Identifier(str(name))))


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[Tampered]:
    """Lots spent and unspent, merged, on sale and free; a bid that rests; two trades; a retired lot."""
    stored = StoredChain(migrated(postgres_server.create_database("test-audit-market")), make_genesis(MARKET))
    trading = TradingChain(stored)
    lots = [trading.mint("m0", 900), trading.mint("m1", 400)]
    trading.block(offer("m0", lots[:1], 100))
    trading.block(bid("m2", 300, 100), bid("m1", 50, 7))
    trading.block(bid("m2", 100, 100, salt="more"))
    trading.block(merge("m2", [*trading.lots_of("m2"), trading.mint("m2", 50)]))
    trading.block(retire("m2", [trading.mint("m2", 60)]))
    stored.now.close()
    with psycopg.connect(postgres_server.superuser_conninfo(stored.settings.name), autocommit=True) as superuser:
        made = Tampered(stored, superuser)
        made.drop_constraints()
        made.keep_copies()
        yield made


@pytest.fixture
def tampered(world: Tampered) -> Iterator[Tampered]:
    yield world
    world.restore()


def test_audit_passes_on_what_the_ledger_wrote(tampered: Tampered) -> None:
    report = audit(tampered.stored.settings, tampered.stored.genesis)
    assert (report.trades, report.lots, report.retirements) == (2, 9, 1)


@pytest.mark.parametrize(
    ("table", "change", "row"),
    [
        # meters
        ("meters", "UPDATE meters SET gateway = sha256('x') WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET model = 'other' WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET channels = '{ac}' WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET rated_w = '{7}' WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET register_step_wh = 2 WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET registered_ms = 0 WHERE member = 'm1'", "m1/roof"),
        ("meters", "UPDATE meters SET member = 'm9' WHERE member = 'm1'", "m1/roof"),
        ("meters", "DELETE FROM meters WHERE member = 'm2'", "m2/roof"),
        # registers
        ("channel_registers", "UPDATE channel_registers SET time_ms = time_ms + 1 WHERE member = 'm1'", "m1/roof/dc"),
        ("channel_registers", "UPDATE channel_registers SET register_wh = 0 WHERE member = 'm1'", "m1/roof/dc"),
        ("channel_registers", "UPDATE channel_registers SET statement = sha256('x') WHERE member = 'm1'", "m1/roof/dc"),
        ("channel_registers", "UPDATE channel_registers SET since_ms = 0 WHERE member = 'm1'", "m1/roof/dc"),
        ("channel_registers", "UPDATE channel_registers SET minted_wh = 0 WHERE member = 'm1'", "m1/roof/dc"),
        ("channel_registers", "DELETE FROM channel_registers WHERE member = 'm0'", "m0/roof/dc"),
        # statements
        ("statements", "UPDATE statements SET id = sha256('x') WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET member = 'm0' WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET meter = 'shed' WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET channel = 'ac' WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET start_ms = 0 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET start_wh = 1 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET end_ms = 0 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET end_wh = 1 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET measured = 7 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET substituted = 7 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET missing = 7 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET reset = NOT reset WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET readings_root = sha256('x') WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "UPDATE statements SET height = 99 WHERE member = 'm1'", "height 4, position 0"),
        ("statements", "DELETE FROM statements WHERE member = 'm1'", "height 4, position 0"),
        (
            "statements",
            (
                "INSERT INTO statements SELECT sha256('x'), 99, position, member, meter, channel, start_ms, start_wh,"
                " end_ms, end_wh, measured, missing, reset, readings_root, substituted FROM statements"
                " WHERE member = 'm1'"
            ),
            "height 99, position 0",
        ),
        # lots
        ("lots", "UPDATE lots SET owner = 'm9' WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET energy_wh = energy_wh + 1 WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET parent = sha256('x') WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET origins[1] = sha256('x') WHERE FREE", "id"),
        ("lots", "UPDATE lots SET origin_wh[1] = origin_wh[1] + 1 WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET joined = joined[:1] WHERE cardinality(joined) > 1", "id"),
        ("lots", "UPDATE lots SET joined = ARRAY[parent] WHERE FREE", "id"),
        ("lots", "UPDATE lots SET offer = NULL WHERE HELD", "id"),
        ("lots", "UPDATE lots SET offer = sha256('x') WHERE FREE", "id"),
        ("lots", "UPDATE lots SET offer = sha256('x') WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET spent_height = NULL WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET spent_height = spent_height + 1 WHERE SPENT", "id"),
        ("lots", "UPDATE lots SET spent_height = 8 WHERE FREE", "id"),
        ("lots", "UPDATE lots SET created_height = 99 WHERE FREE", "id"),
        ("lots", "DELETE FROM lots WHERE SPENT", "id"),
        ("lots", "DELETE FROM lots WHERE FREE", "id"),
        (
            "lots",
            (
                "INSERT INTO lots (id, owner, energy_wh, parent, origins, origin_wh, joined, created_height)"
                " SELECT sha256(id), owner, energy_wh, parent, origins, origin_wh, joined, 2 FROM lots WHERE HELD"
            ),
            "id",
        ),
        # orders
        ("orders", "UPDATE orders SET side = 'bid' WHERE side = 'offer'", ""),
        ("orders", "UPDATE orders SET member = 'm9' WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET price_micro = 8 WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET energy_wh = 51 WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET smallest_wh = 9 WHERE side = 'offer'", ""),
        ("orders", "UPDATE orders SET valid_until_ms = 9 WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET height = 1 WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET index = 9 WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET buyer = 'm1' WHERE side = 'offer'", ""),
        ("orders", "UPDATE orders SET lots = '{}' WHERE side = 'offer'", ""),
        ("orders", "UPDATE orders SET waiting = true WHERE side = 'bid'", ""),
        ("orders", "UPDATE orders SET events = 9 WHERE side = 'offer'", ""),
        ("orders", "DELETE FROM orders WHERE side = 'bid'", ""),
        # trades
        ("trades", "UPDATE trades SET block = sha256('x') WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET offer = sha256('x') WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET bid = sha256('x') WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET seller = 'm1' WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET buyer = 'm1' WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET energy_wh = 299 WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET price_micro = 1 WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET amount_micro = 1 WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET lots = '{}' WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "UPDATE trades SET position = 1 WHERE energy_wh = 300", "height 6, position 0"),
        ("trades", "DELETE FROM trades WHERE energy_wh = 100", "height 7, position 0"),
        (
            "trades",
            (
                "INSERT INTO trades SELECT height, 1, block, offer, bid, seller, buyer, energy_wh, price_micro,"
                " amount_micro, lots FROM trades WHERE energy_wh = 300"
            ),
            "height 6, position 1",
        ),
        # retirements
        ("retirements", "UPDATE retirements SET transaction = sha256('x')", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET owner = 'm0'", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET lot = sha256('x')", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET energy_wh = 59", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET origins[1] = sha256('x')", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET origin_wh[1] = 59", "height 11, position 0"),
        ("retirements", "UPDATE retirements SET position = 1", "height 11, position 0"),
        ("retirements", "DELETE FROM retirements", "height 11, position 0"),
        (
            "retirements",
            (
                "INSERT INTO retirements SELECT 99, position, transaction, owner, sha256('x'), energy_wh, origins,"
                " origin_wh FROM retirements"
            ),
            "height 99, position 0",
        ),
        # obligations
        ("obligations", "UPDATE obligations SET amount_micro = amount_micro - 1", "m2/m0"),
        ("obligations", "UPDATE obligations SET energy_wh = 1", "m2/m0"),
        ("obligations", "DELETE FROM obligations", "m2/m0"),
        ("obligations", "INSERT INTO obligations VALUES ('m0', 'm2', 0, 0)", "m0/m2"),
    ],
)
def test_audit_names_the_first_row_that_does_not_follow(tampered: Tampered, table: str, change: str, row: str) -> None:
    tampered.change(change)
    found = tampered.fault().values
    assert found["table"] == table
    assert row in str(found["row"]), found
    assert found["reason"]
