"""An operator's ledger database with invented members, made in SQL: for dashboards, which only read it.

Readings go through the ledger's own staging table and roll-ups. The rest is written into its tables as it would stand
there; nothing checks it against a chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.readings_rollup import CONTENT, INSERT_NEW, KEY
from minervas_ledger.store.readings_writes import COUNT, MAKE_STAGING
from tests.support.ledger import database_settings
from tests.support.readers import Readers

CHANNELS = ("ch2", "ch3")
RATED_W = 120
DAY_MS = 86_400_000
BLOCK_MS = 15_000
CHECKPOINT_EVERY = 4
BLOCKS_PER_TRADE = 4

STAGE = f"""
INSERT INTO staging (place, {KEY}, {CONTENT}, stored_ms)
SELECT 0, member, 'roof', channel, at_ms, decode(md5(member || channel), 'hex'), at_ms / 1000, 'measured',
    round(peak_mw * greatest(0, sin(pi() * day_part)))::bigint, 18000 + at_ms / 1000 %% 900,
    round(peak_mw * greatest(0, sin(pi() * day_part)) / 18)::bigint,
    round(peak_mw * 12 / pi() * (2 * (local_ms / {DAY_MS})
        + 1 - cos(pi() * least(1, greatest(0, day_part)))))::bigint,
    NULL, '\\x0104', '\\x010404', at_ms + 500
FROM unnest(%(members)s::text[]) AS member CROSS JOIN unnest(%(channels)s::text[]) AS channel
CROSS JOIN LATERAL (SELECT 1000 * ({RATED_W} - 10 * right(member, 1)::integer - 5 * right(channel, 1)::integer)
    AS peak_mw) AS p
CROSS JOIN generate_series(%(from_ms)s::bigint, %(to_ms)s::bigint - 1, %(step_ms)s::bigint) AS at_ms
CROSS JOIN LATERAL (SELECT at_ms + 32400000 AS local_ms) AS l
CROSS JOIN LATERAL (SELECT ((local_ms %% {DAY_MS}) / 3600000.0 - 6) / 12 AS day_part) AS d
"""  # noqa: S608 - names and numbers are constants
"""A sunny day from six to six in Seoul, every day; the register is the exact integral of the power."""

BLOCKS = """
INSERT INTO blocks (hash, prev, height, miner, time_ms, difficulty, transactions, work, first_seen, best_chain, invalid,
    header, raw, undo)
SELECT sha256(int8send(height)), sha256(int8send(height - 1)), height, (%(members)s::text[])[1 + height %% %(count)s],
    %(from_ms)s + (height - 1) * %(every_ms)s, 100000 + height, 2, height * 100000, height, true, false,
    repeat('h', 300)::bytea, repeat('r', 900)::bytea, 'u'
FROM generate_series(1, %(blocks)s::bigint) AS height
"""
SIDE_BLOCK = """
INSERT INTO blocks (hash, prev, height, miner, time_ms, difficulty, transactions, work, first_seen, best_chain, header,
    raw)
SELECT sha256('side'), prev, height, miner, time_ms, difficulty, 0, work, first_seen + 1000000, false, header, raw
FROM blocks WHERE height = %(blocks)s
"""
TRADES = f"""
INSERT INTO trades (height, position, block, offer, bid, seller, buyer, energy_wh, price_micro, amount_micro, lots)
SELECT height, 0, hash, sha256('offer' || hash), sha256('bid' || hash),
    (%(members)s::text[])[1 + height / 4 %% %(count)s],
    (%(members)s::text[])[1 + (height / 4 + 1) %% %(count)s], 10 + height %% 7, 120000 + height %% 900,
    (10 + height %% 7) * (120000 + height %% 900), ARRAY[hash]
FROM blocks WHERE best_chain AND height %% {BLOCKS_PER_TRADE} = 0
"""  # noqa: S608 - a constant
STATE = """
INSERT INTO node_state (genesis_hash, tip_hash, tip_height, reorganisations, justified_hash, justified_height,
    final_hash, final_height)
SELECT sha256('g'), hash, height, 3, hash, height - 4, hash, height - 8
FROM blocks WHERE best_chain ORDER BY height DESC LIMIT 1;
INSERT INTO roster (member, status, admitted_height, admitted_by, wallet_key, box_key, block_key, vote_key)
SELECT member, 'active', 1, sha256('a'), sha256('w'), 'b', sha256('k'), sha256('v')
FROM unnest(%(members)s::text[]) AS member;
INSERT INTO meters (member, meter, model, gateway, channels, rated_w, register_step_wh, registered_ms)
SELECT member, 'roof', 'pzem-017', sha256('gw'), %(channels)s, ARRAY[%(rated_w)s, %(rated_w)s], 1, %(from_ms)s
FROM unnest(%(members)s::text[]) AS member;
INSERT INTO state_rows (name, key, record) SELECT 'checkpoints', lpad(height::text, 16, '0'), 'r'
FROM generate_series(%(blocks)s / 4 * 4 - 12, %(blocks)s / 4 * 4, 4) AS height;
INSERT INTO votes (id, voter, source_height, source_hash, target_height, target_hash, own, seen_at_ms, raw)
SELECT sha256((member || number)::bytea), member, %(blocks)s / 4 * 4 - 60, sha256('s'),
    %(blocks)s / 4 * 4 - 4 * (number - 1), sha256('t'), false, %(to_ms)s, 'v'
FROM unnest(%(members)s::text[]) WITH ORDINALITY AS m (member, number);
INSERT INTO equivocations (first, second, voter, kind, seen_at_ms)
SELECT one.id, other.id, one.voter, 'double', %(to_ms)s FROM votes AS one, votes AS other
WHERE one.voter = (%(members)s::text[])[1] AND other.voter = (%(members)s::text[])[2];
INSERT INTO orders (id, side, member, price_micro, energy_wh, smallest_wh, valid_until_ms, height, index, buyer, lots,
    waiting, events, repeat_wh)
SELECT sha256(('o' || number)::bytea), CASE WHEN number %% 2 = 0 THEN 'offer' ELSE 'bid' END,
    (%(members)s::text[])[1 + number %% %(count)s], 120000 + number %% 9, 1000, 1, %(to_ms)s + 86400000, %(blocks)s,
    number, NULL, ARRAY[]::bytea[], false, 0, 0
FROM generate_series(1, 60) AS number;
INSERT INTO clearings (height, slot_ends_ms, price_micro, lowest_micro, highest_micro, energy_wh, offers, bids,
    offered_wh, wanted_wh, deals, deals_wh)
SELECT height, time_ms, 120000, 119000, 121000, 900, 3, 4, 1000, 1500, 0, 0
FROM blocks WHERE best_chain AND height %% 60 = 0
UNION ALL SELECT 1, %(to_ms)s - 1, NULL, NULL, NULL, 0, 0, 0, 500, 0, 0, 0;
INSERT INTO lots (id, owner, energy_wh, parent, offer, created_height, spent_height, origins, origin_wh, joined)
SELECT sha256(('l' || number)::bytea), (%(members)s::text[])[1 + number %% %(count)s], 500, sha256('p'),
    CASE WHEN number %% 3 = 0 THEN sha256('o') END, 1, NULL, ARRAY[sha256('p')], ARRAY[500], ARRAY[]::bytea[]
FROM generate_series(1, 100) AS number;
INSERT INTO obligations (debtor, creditor, amount_micro, energy_wh)
SELECT debtor, creditor, 123456789, 1000
FROM unnest(%(members)s::text[]) AS debtor, unnest(%(members)s::text[]) AS creditor WHERE debtor <> creditor;
INSERT INTO abandoned_searches (lowest_hash, height, difficulty, tries, elapsed_ms, stored_at_ms, header)
SELECT sha256(('s' || number)::bytea), number, 1000, 900, 45000, %(to_ms)s - number * 60000, 'h'
FROM generate_series(1, 100) AS number;
INSERT INTO expected_output (member, meter, channel, time_ms, step_ms, power_mw, rated_w, model, made_ms)
SELECT member, 'roof', channel, at_ms, 900000, 60000, %(rated_w)s, 'clear', 1
FROM unnest(%(members)s::text[]) AS member, unnest(%(channels)s::text[]) AS channel,
    generate_series(%(to_ms)s / 900000 * 900000 - 86400000, %(to_ms)s, 900000) AS at_ms;
INSERT INTO fleet (member, service, state, version, last_seen_ms, changed_ms, certificate_expires_ms, tip_height,
    disk_use_per_mille, spool_use_per_mille, clock_offset_ms, clock_synchronised)
SELECT member, service, 'online', '0.1', %(to_ms)s, %(to_ms)s, %(to_ms)s + 2000000000, %(blocks)s, 300, 10, 5, true
FROM unnest(%(members)s::text[]) AS member, unnest(ARRAY['ledger', 'peer', 'meter-gateway']) AS service
"""


@dataclass(frozen=True)
class Span:
    """A time that is filled, in milliseconds, without its end."""

    from_ms: int
    to_ms: int
    step_ms: int = 1_000
    """From one sample to the next."""


class DashboardWorld:
    """A migrated database with readers. The digit that a member's name ends in sets its power."""

    def __init__(self, server: PostgresServer, database: NodeDatabase, members: Sequence[str]) -> None:
        self.members = list(members)
        self.name = database.name
        self._database = database
        self.readers = Readers(server, database)
        self.writer: Connection = connect(database_settings(database), application="dashboard world")
        self.writer.execute("SET statement_timeout = 0")
        self.writer.execute(MAKE_STAGING)

    @contextmanager
    def owner(self) -> Iterator[Connection]:
        """A connection as the owner of the tables."""
        with psycopg.connect(self._database.conninfo(self._database.owner), autocommit=True) as connection:
            yield connection

    def close(self) -> None:
        """Close the writing connection."""
        self.writer.close()

    def meter(self, span: Span, *, members: Sequence[str] = (), channels: Sequence[str] = CHANNELS) -> None:
        """Store readings as the ledger does, day by day: staged, then inserted and rolled up."""
        for day in range(span.from_ms // DAY_MS, (span.to_ms - 1) // DAY_MS + 1):
            self.writer.execute("SELECT make_readings_day(%s)", (day,))
            wanted = {
                "members": list(members) or self.members,
                "channels": list(channels),
                "from_ms": max(span.from_ms, day * DAY_MS),
                "to_ms": min(span.to_ms, (day + 1) * DAY_MS),
                "step_ms": span.step_ms,
            }
            with self.writer.transaction():
                self.writer.execute(STAGE.encode(), wanted)
                counted = self.writer.execute(INSERT_NEW.encode()).fetchall()
                for member, meter, channel, count, newest_ms in counted:
                    self.writer.execute(COUNT.encode(), (member, meter, channel, count, 0, newest_ms))

    def chain(self, span: Span) -> None:
        """Blocks every 15 seconds with their trades, and everything else that a dashboard looks at."""
        wanted = {
            "members": self.members,
            "count": len(self.members),
            "channels": list(CHANNELS),
            "rated_w": RATED_W,
            "from_ms": span.from_ms,
            "to_ms": span.to_ms,
            "every_ms": BLOCK_MS,
            "blocks": (span.to_ms - span.from_ms) // BLOCK_MS,
        }
        with self.writer.transaction():
            for statement in (BLOCKS, SIDE_BLOCK, TRADES, *STATE.split(";")):
                self.writer.execute(statement.encode(), wanted)
