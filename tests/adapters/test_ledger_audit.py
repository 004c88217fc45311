"""The audit passes on what the ledger wrote, and finds whatever anybody changed in any table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import psycopg
import pytest
from psycopg import sql

from minervas_core.errors import Code, LocalFault
from minervas_core.node_messages import AbandonedSearch
from minervas_core.tree import HeaderNode
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger import progress
from minervas_ledger.audit import Audit, AuditReport
from minervas_ledger.store.connection import Connection, connect
from minervas_runtime.clock import ManualClock
from tests.support.builders import LocalChain, admit, make_genesis, mine_block, revoke
from tests.support.ledger import StoredChain, audit, migrated

WORDS = {"BEST": "best_chain AND height = 3", "SIDE": "NOT best_chain AND height = 3"}
"""Which block a statement of these tests means: there are two at height 3."""

TABLES = ("blocks", "transactions", "roster", "node_state", "abandoned_searches")

IMPOSSIBLE = 2**52
"""A difficulty that no hash of these tests fulfils."""


@dataclass
class Audited:
    """A stored chain with something in every table, and a superuser who may change it."""

    stored: StoredChain
    local: LocalChain
    superuser: Connection

    def run(self) -> AuditReport:
        return audit(self.stored.settings, self.stored.genesis)

    def tamper(self, statement: str, *values: object) -> None:
        """Change rows."""
        for word, condition in WORDS.items():
            statement = statement.replace(word, condition)
        assert self.superuser.execute(statement.encode(), values or None).rowcount > 0

    def drop_constraints(self) -> None:
        """Whoever can tamper with rows can also do that."""
        names = self.superuser.execute(
            """
            SELECT conrelid::regclass::text, conname FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f')
            """
        ).fetchall()
        for table, name in names:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            self.superuser.execute(drop.format(sql.Identifier(str(table)), sql.Identifier(str(name))))

    def keep_copies(self) -> None:
        """Remember all rows."""
        for table in TABLES:
            copy = sql.SQL("CREATE TABLE {} AS TABLE {}")
            self.superuser.execute(copy.format(sql.Identifier(f"copy_{table}"), sql.Identifier(table)))

    def restore(self) -> None:
        """Undo all tampering."""
        for table in TABLES:
            name, copy = sql.Identifier(table), sql.Identifier(f"copy_{table}")
            self.superuser.execute(sql.SQL("DELETE FROM {}").format(name))
            self.superuser.execute(sql.SQL("INSERT INTO {} TABLE {}").format(name, copy))

    def fault(self) -> LocalFault:
        """What the audit finds."""
        with pytest.raises(LocalFault) as caught:
            self.run()
        assert caught.value.code == Code.AUDIT_MISMATCH
        return caught.value


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[Audited]:
    """One chain for all tests that tamper with it."""
    with fill(postgres_server, postgres_server.create_database("test-audit")) as audited:
        audited.stored.now.close()
        audited.drop_constraints()
        audited.keep_copies()
        yield audited


@pytest.fixture
def audited(world: Audited) -> Iterator[Audited]:
    yield world
    world.restore()


@contextmanager
def fill(server: PostgresServer, database: NodeDatabase) -> Iterator[Audited]:
    """Seven blocks, two of them beside the best chain, one of those invalid; members; an abandoned search."""
    local = LocalChain()
    stored = StoredChain(migrated(database), local.genesis)
    stored.take(local.found("m0", "m1", "m2"), local.extend("m1"))
    base = local.tip
    stored.take(local.extend("m2", [admit("m3", expires=6)]))
    stored.take(local.mine("m2", [admit("m4", expires=6)], on=base, start=50))
    stored.take(local.extend("m0", [revoke("m1", expires=9)]), local.extend("m3"))
    follow_invalid(stored, local)
    hopeless = msgspec.structs.replace(local.mine("m2").header, difficulty=IMPOSSIBLE)
    stored.now.store_search(
        AbandonedSearch(header=hopeless, tries=3, elapsed_ms=1_000, lowest_hash=hopeless.hash(), stored_at_ms=1)
    )
    with psycopg.connect(server.superuser_conninfo(stored.settings.name), autocommit=True) as superuser:
        yield Audited(stored, local, superuser)
    stored.now.close()


def follow_invalid(stored: StoredChain, local: LocalChain) -> None:
    """Make the stored chain follow a branch that breaks a rule at its first block, and leave it again."""
    base = local.chain.tree.main_at(4)
    assert base is not None
    bad = mine_block(base, [revoke("nobody", expires=9)], "m2", local.genesis)
    node = HeaderNode(bad.hash, bad.header, base, base.work + bad.header.difficulty)
    assert stored.take(bad, mine_block(node, [], "m3", local.genesis)) == ["side_branch", "refused"]


def test_audit_passes_on_what_the_ledger_wrote(audited: Audited) -> None:
    report = audited.run()
    assert report.tip_hash == audited.local.tip.hash
    assert (report.height, report.target_height, report.members) == (5, 5, 4)
    assert (report.transactions, report.side_blocks, report.abandoned_searches) == (5, 2, 1)


def test_audit_passes_on_an_unused_database(node_database: NodeDatabase) -> None:
    report = audit(migrated(node_database), make_genesis())
    assert (report.height, report.members) == (0, 0)


def test_audit_of_another_genesis_names_the_first_block(audited: Audited) -> None:
    with pytest.raises(LocalFault) as caught:
        audit(audited.stored.settings, make_genesis(name="Another consortium"))
    assert "height 1," in str(caught.value.values["row"])


@pytest.mark.parametrize(
    ("change", "table", "row"),
    [
        # blocks on the best chain
        ("UPDATE blocks SET prev = sha256('x') WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET hash = sha256('x') WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET miner = 'm0' WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET time_ms = time_ms + 1 WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET difficulty = difficulty + 1 WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET transactions = 2 WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET work = work + 1 WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET invalid = true WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET header = 'x' WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET raw = raw || ' ' WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET raw = (SELECT raw FROM blocks WHERE SIDE) WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET undo = 'x' WHERE BEST", "blocks", "height 3,"),
        ("UPDATE blocks SET undo = NULL WHERE BEST", "blocks", "height 3,"),
        ("DELETE FROM blocks WHERE BEST", "blocks", "height 4,"),
        ("UPDATE blocks SET height = 9 WHERE best_chain AND height = 5", "blocks", "height 9,"),
        ("UPDATE blocks SET best_chain = false WHERE height = 5", "node_state", "the only row"),
        # blocks beside it
        ("UPDATE blocks SET miner = 'm0' WHERE SIDE", "blocks", "height 3,"),
        ("UPDATE blocks SET work = 1000 WHERE SIDE", "blocks", "height 3,"),
        ("UPDATE blocks SET raw = '{}' WHERE SIDE", "blocks", "height 3,"),
        ("UPDATE blocks SET undo = 'x' WHERE SIDE", "blocks", "height 3,"),
        ("UPDATE blocks SET invalid = true WHERE SIDE", "blocks", "height 3,"),
        # transactions
        ("UPDATE transactions SET id = sha256('x') WHERE raw LIKE '%m3%'::bytea", "transactions", "position 0"),
        ("UPDATE transactions SET kind = 'bid' WHERE raw LIKE '%m3%'::bytea", "transactions", "position 0"),
        ("UPDATE transactions SET raw = raw || 'x' WHERE raw LIKE '%m3%'::bytea", "transactions", "position 0"),
        ("UPDATE transactions SET position = 7 WHERE position = 1", "transactions", "position 1"),
        ("DELETE FROM transactions WHERE raw LIKE '%m3%'::bytea", "transactions", "position 0"),
        ("DELETE FROM transactions WHERE raw LIKE '%m4%'::bytea", "transactions", "position 0"),
        (
            "INSERT INTO transactions SELECT sha256('x'), hash, 1, 'bid', 'x' FROM blocks WHERE height = 2",
            "transactions",
            "position 1",
        ),
        (
            "INSERT INTO transactions SELECT sha256('x'), hash, 1, 'bid', 'x' FROM blocks WHERE SIDE",
            "transactions",
            "position 1",
        ),
        # roster
        ("UPDATE roster SET status = 'active', ended_height = 0 WHERE member = 'm1'", "roster", "m1"),
        ("UPDATE roster SET admitted_height = 2 WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET ended_height = 3 WHERE member = 'm1'", "roster", "m1"),
        ("UPDATE roster SET admitted_by = sha256('x') WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET wallet_key = sha256('x') WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET box_key = sha256('x') WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET block_key = sha256('x') WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET vote_key = sha256('x') WHERE member = 'm2'", "roster", "m2"),
        ("UPDATE roster SET member = 'm9' WHERE member = 'm2'", "roster", "m2"),
        ("DELETE FROM roster WHERE member = 'm3'", "roster", "m3"),
        (
            """
            INSERT INTO roster SELECT 'm5', status, admitted_height, ended_height, admitted_by, wallet_key, box_key,
                block_key, vote_key FROM roster WHERE member = 'm2'
            """,
            "roster",
            "m5",
        ),
        # the tip
        ("UPDATE node_state SET tip_height = 4", "node_state", "the only row"),
        ("UPDATE node_state SET tip_hash = sha256('x')", "node_state", "the only row"),
        ("UPDATE node_state SET genesis_hash = sha256('x')", "node_state", "the only row"),
        ("DELETE FROM node_state", "node_state", "the only row"),
        # abandoned searches
        ("UPDATE abandoned_searches SET lowest_hash = sha256('x')", "abandoned_searches", "lowest hash"),
        ("UPDATE abandoned_searches SET height = 1", "abandoned_searches", "lowest hash"),
        ("UPDATE abandoned_searches SET difficulty = 1", "abandoned_searches", "lowest hash"),
        ("UPDATE abandoned_searches SET tries = 2::bigint ^ 52", "abandoned_searches", "lowest hash"),
        ("UPDATE abandoned_searches SET header = '{}'", "abandoned_searches", "lowest hash"),
    ],
)
def test_audit_names_the_first_row_that_does_not_follow(audited: Audited, change: str, table: str, row: str) -> None:
    audited.tamper(change)
    found = audited.fault().values
    assert found["table"] == table
    assert row in str(found["row"]), found
    assert found["reason"]


def test_order_of_arrival_is_free_as_long_as_it_does_not_choose_another_tip(audited: Audited) -> None:
    audited.tamper("UPDATE blocks SET first_seen = 0 WHERE NOT best_chain AND height = 5")
    audited.run()


def test_audit_finds_a_better_block_that_is_hidden_as_invalid(audited: Audited) -> None:
    """Somebody cuts the best chain short, with all tables in agreement, and marks the rest invalid."""
    parent = audited.local.tip.parent
    assert parent is not None
    audited.tamper("UPDATE blocks SET best_chain = false, undo = NULL, invalid = true WHERE best_chain AND height = 5")
    audited.tamper("UPDATE node_state SET tip_height = 4, tip_hash = %s", bytes.fromhex(parent.hash))
    assert "invalid is True" in str(audited.fault().values["reason"])
    audited.tamper("UPDATE blocks SET invalid = false WHERE hash = %s", bytes.fromhex(audited.local.tip.hash))
    assert "better than the tip" in str(audited.fault().values["reason"])


def test_audit_sees_one_moment_while_the_ledger_works(
    postgres_server: PostgresServer, node_database: NodeDatabase
) -> None:
    with fill(postgres_server, node_database) as working:
        old_tip = working.local.tip.hash

        def connect_a_block(report: AuditReport) -> None:
            working.stored.take(working.local.extend("m0" if report.height % 2 else "m2", start=report.height))

        connection = connect(working.stored.settings, application="test audit")
        report = Audit(connection, working.stored.genesis, connect_a_block).run()
        connection.close()
        assert (report.height, report.tip_hash) == (5, old_tip)
        assert working.run().height == 10


def test_progress_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ManualClock(10_000)
    monkeypatch.setattr(progress, "monotonic_ms", now.now_ms)
    lines: list[str] = []
    tell = progress.Progress(lines.append, "audit")
    for height in range(1, 61):
        now.advance(100)
        tell(height, 1_000)
    assert lines == [
        f"audit: height {height} of 1000, 10 blocks/s, about {left} min left"
        for height, left in ((20, "1:38"), (40, "1:36"), (60, "1:34"))
    ]
