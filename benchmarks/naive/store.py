"""The naive node's tables, one SQL statement for each row that a block adds or changes."""

from __future__ import annotations

import psycopg

from benchmarks.naive.market import Changes
from benchmarks.naive.node import NaiveNode
from benchmarks.naive.records import Admit, Block, Generation, Membership, RegisterMeter

SCHEMA = """
CREATE SCHEMA naive;
CREATE TABLE naive.blocks (
    hash text PRIMARY KEY, height bigint UNIQUE, prev text, miner text, time_ms bigint, difficulty bigint, raw bytea
);
CREATE TABLE naive.transactions (
    id text PRIMARY KEY, block text REFERENCES naive.blocks, position int, kind text, raw bytea,
    UNIQUE (block, position)
);
CREATE TABLE naive.members (
    member text PRIMARY KEY, wallet text UNIQUE, box text, block_key text UNIQUE, vote text UNIQUE
);
CREATE TABLE naive.meters (member text, meter text, gateway text, declaration text, PRIMARY KEY (member, meter));
CREATE TABLE naive.registers (
    member text, meter text, channel text, time_ms bigint, register_wh bigint, statement text, since_ms bigint,
    minted_wh bigint, PRIMARY KEY (member, meter, channel)
);
CREATE TABLE naive.statements (
    id text PRIMARY KEY, height bigint, member text, meter text, channel text, start_ms bigint, start_wh bigint,
    end_ms bigint, end_wh bigint, measured bigint, substituted bigint, missing bigint, reset boolean, readings_root text
);
CREATE INDEX ON naive.statements (member, meter, channel, end_ms);
CREATE TABLE naive.lots (
    id text PRIMARY KEY, owner text, energy_wh bigint, parent text, origin text, offer text, created_height bigint,
    spent_height bigint
);
CREATE INDEX ON naive.lots (owner, id) WHERE spent_height IS NULL;
CREATE TABLE naive.orders (
    id text PRIMARY KEY, side text, member text, price_micro bigint, energy_wh bigint, smallest_wh bigint,
    valid_until_ms bigint, height bigint, place bigint, buyer text, lots text[], events bigint
);
CREATE TABLE naive.trades (
    height bigint, position int, offer text, bid text, seller text, buyer text, energy_wh bigint, price_micro bigint,
    lots text[], PRIMARY KEY (height, position)
);
CREATE TABLE naive.debts (debtor text, creditor text, amount_micro bigint, energy_wh bigint,
    PRIMARY KEY (debtor, creditor));
"""

PUT_REGISTER = """
INSERT INTO naive.registers VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (member, meter, channel) DO UPDATE SET time_ms = excluded.time_ms, register_wh = excluded.register_wh,
    statement = excluded.statement, since_ms = excluded.since_ms, minted_wh = excluded.minted_wh
"""

PUT_ORDER = """
INSERT INTO naive.orders VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET energy_wh = excluded.energy_wh, lots = excluded.lots, events = excluded.events
"""

PUT_DEBT = """
INSERT INTO naive.debts VALUES (%s, %s, %s, %s)
ON CONFLICT (debtor, creditor) DO UPDATE SET amount_micro = excluded.amount_micro, energy_wh = excluded.energy_wh
"""


def make_tables(connection: psycopg.Connection) -> None:
    """Make the tables afresh."""
    connection.execute("DROP SCHEMA IF EXISTS naive CASCADE")
    connection.execute(SCHEMA)


class NaiveStore:
    """Writes blocks over a connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def write(self, node: NaiveNode, block: Block, raw: bytes, changes: Changes) -> None:
        """Write a block and the rows that it changed: a statement for each, one commit."""
        with self._connection.transaction():
            self._write_block(block, raw)
            for member, meter, channel in changes.registers:
                last = node.market.registers[member, meter, channel]
                self._run(
                    PUT_REGISTER,
                    *(member, meter, channel, last.time_ms, last.register_wh, last.statement, last.since_ms),
                    last.minted_wh,
                )
            self._write_lots(node, block.header.height, changes)
            self._write_orders(node, changes)
            for position, trade in enumerate(changes.trades):
                self._run(
                    "INSERT INTO naive.trades VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    *(block.header.height, position, trade.offer, trade.bid, trade.seller, trade.buyer),
                    *(trade.energy_wh, trade.price_micro, trade.lots),
                )
            for debtor, creditor in dict.fromkeys(changes.debts):
                self._run(PUT_DEBT, debtor, creditor, *node.market.debts[debtor, creditor])

    def _run(self, statement: str, *values: object) -> None:
        self._connection.execute(statement.encode(), values)

    def _write_block(self, block: Block, raw: bytes) -> None:
        header = block.header
        block_hash = header.hash
        self._run(
            "INSERT INTO naive.blocks VALUES (%s, %s, %s, %s, %s, %s, %s)",
            *(block_hash, header.height, header.prev, header.miner, header.time_ms, header.difficulty, raw),
        )
        for position, transaction in enumerate(block.transactions):
            tx_id, body = transaction.id, transaction.body
            self._run(
                "INSERT INTO naive.transactions VALUES (%s, %s, %s, %s, %s)",
                *(tx_id, block_hash, position, body.type, transaction.raw),
            )
            if isinstance(body, Generation):
                self._run(
                    "INSERT INTO naive.statements VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    *(tx_id, header.height, body.member, body.meter, body.channel, body.start.time_ms),
                    *(body.start.register_wh, body.end.time_ms, body.end.register_wh, body.measured),
                    *(body.substituted, body.missing, body.reset, body.readings_root),
                )
            elif isinstance(body, Membership) and isinstance(body.change, Admit):
                keys = body.change.keys
                self._run(
                    "INSERT INTO naive.members VALUES (%s, %s, %s, %s, %s)",
                    *(body.change.member, keys.wallet, keys.box, keys.block, keys.vote),
                )
            elif isinstance(body, Membership) and isinstance(body.change, RegisterMeter):
                self._run(
                    "INSERT INTO naive.meters VALUES (%s, %s, %s, %s)",
                    *(body.change.member, body.change.meter.meter, body.change.gateway),
                    body.change.meter.model_dump_json(),
                )

    def _write_lots(self, node: NaiveNode, height: int, changes: Changes) -> None:
        made = dict(changes.new_lots)
        for lot_id, first in made.items():
            lot = node.market.lots.get(lot_id)
            kept = lot or first
            self._run(
                "INSERT INTO naive.lots VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                *(lot_id, kept.owner, kept.energy_wh, kept.parent, kept.origin, lot.offer if lot else None, height),
                None if lot else height,
            )
        for lot_id in dict.fromkeys(changes.lots):
            lot = node.market.lots.get(lot_id)
            if lot_id not in made:
                self._run(
                    "UPDATE naive.lots SET offer = %s, spent_height = %s WHERE id = %s",
                    *(lot.offer if lot else None, None if lot else height, lot_id),
                )

    def _write_orders(self, node: NaiveNode, changes: Changes) -> None:
        for order_id in dict.fromkeys(changes.orders):
            order = node.market.orders.get(order_id)
            if order is None:
                if order_id not in changes.new_orders:
                    self._run("DELETE FROM naive.orders WHERE id = %s", order_id)
                continue
            self._run(
                PUT_ORDER,
                *(order.id, order.side, order.member, order.price_micro, order.energy_wh, order.smallest_wh),
                *(order.valid_until_ms, *order.place, order.buyer, order.lots, order.events),
            )
