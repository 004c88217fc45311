"""The chain in PostgreSQL: what is committed is what was in memory, and a block is there completely or not at all."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from minervas_core.blocks import Block, decode_header
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.node_messages import AbandonedSearch
from minervas_core.tree import HeaderNode
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import chain_reads
from minervas_ledger.store.abandoned_searches import newest_searches
from minervas_ledger.store.connection import Connection, connect
from tests.support.builders import FAR_FUTURE_MS, LocalChain, admit, make_genesis, mine_block, revoke
from tests.support.ledger import VOTER, StoredChain, audit, migrated
from tests.support.seed import seeded_random
from tests.support.wait import wait_until


@pytest.fixture
def local() -> LocalChain:
    """A second node with the same genesis, to make blocks with and to compare with."""
    return LocalChain()


@pytest.fixture
def stored(ledger_database: DatabaseSettings, local: LocalChain) -> Iterator[StoredChain]:
    chain = StoredChain(ledger_database, local.genesis)
    yield chain
    chain.now.close()


@pytest.fixture
def reader(ledger_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(ledger_database, application="test")
    yield connection
    connection.close()


def same_chain(stored: StoredChain, local: LocalChain) -> None:
    """The stored chain's state is the one in memory, and also after a restart; the audit agrees."""
    side_branches = stored.now.view().side_branches
    for chain in (stored.now, stored.reopen()):
        assert chain._chain.state.snapshot() == local.chain.state.snapshot()
        assert chain._chain.tip.hash == local.tip.hash
        assert chain._chain.tip.work == local.tip.work
        assert chain.view().side_branches == side_branches
    assert audit(stored.settings, stored.genesis).tip_hash == local.tip.hash


def fork(local: LocalChain, base: HeaderNode, miners: str, start: int) -> list[Block]:
    """A branch upon `base` that `local` is not told of."""
    other = LocalChain()
    for node in list(base.blocks())[::-1]:
        other.receive(block_of(local, node))
    return [other.extend(f"m{each}", start=start) for each in miners]


def block_of(local: LocalChain, node: HeaderNode) -> Block:
    return local.chain._stored(node)


# connecting and restarting


def test_empty_database_holds_genesis(stored: StoredChain, local: LocalChain) -> None:
    assert stored.now.view().tip.hash == local.genesis.hash
    same_chain(stored, local)


def test_restart_continues_where_it_was(stored: StoredChain, local: LocalChain) -> None:
    assert stored.take(local.found("m0", "m1", "m2")) == ["connected"]
    for height in range(2, 20):
        assert stored.take(local.extend(f"m{height % 3}")) == ["connected"]
        if height % 5 == 0:
            view = stored.now.view()
            assert stored.reopen().view() == view
    same_chain(stored, local)


def test_many_blocks_of_one_commit_equal_one_by_one(stored: StoredChain, local: LocalChain) -> None:
    blocks = [local.found("m0", "m1", "m2")] + [local.extend(f"m{height % 3}") for height in range(30)]
    assert stored.take(*blocks) == ["connected"] * 31
    same_chain(stored, local)


def test_signature_seen_in_the_queue_is_not_verified_again_in_a_block(
    ledger_database: DatabaseSettings, local: LocalChain
) -> None:
    opener = ChainOpener(ledger_database, local.genesis, [VOTER])
    opener.open().close()
    chain = opener.open()  # also after the database was away
    joining = admit("m0")
    assert chain.submit([joining], FAR_FUTURE_MS) == [True]
    misses = chain._chain.signatures.misses
    chain.take_blocks([local.mine("m0", [joining])], FAR_FUTURE_MS, origin="test")
    assert (chain._chain.tip.height, chain._chain.signatures.misses) == (1, misses)
    chain.close()


def test_orphans_are_stored_once_their_parent_comes(stored: StoredChain, local: LocalChain) -> None:
    first, *rest = [local.found("m0", "m1", "m2"), local.extend("m1"), local.extend("m2")]
    assert stored.take(*reversed(rest)) == ["orphan", "orphan"]
    assert stored.take(first) == ["connected"]
    same_chain(stored, local)


def test_transaction_ids_are_remembered_as_long_as_the_rules_say(stored: StoredChain, local: LocalChain) -> None:
    stored.take(local.found("m0", "m1", "m2"))
    for height in range(2, 12):
        idle_ms = local.tip.time_ms + 10_000  # so late that it does not matter whose turn it is
        block = local.mine("m0", [admit(f"n{height}", expires=height + 3)], time_ms=idle_ms)
        local.receive(block)
        assert stored.take(block) == ["connected"]
        same_chain(stored, local)


# reorganisations


def test_reorganisation_is_persisted(stored: StoredChain, local: LocalChain, reader: Connection) -> None:
    stored.take(local.found("m0", "m1", "m2"), local.extend("m1"))
    base = local.tip
    losing = [local.extend("m2", [admit("late", expires=8)]), local.extend("m0")]
    stored.take(*losing)
    winning = fork(local, base, "201", start=1000)
    assert stored.take(*winning) == ["side_branch", "side_branch", "connected"]
    for block in winning:
        local.receive(block)
    assert local.tip.hash == winning[-1].hash
    view = stored.now.view()
    assert (view.reorganisations, view.side_branches, view.mempool_transactions) == (1, 1, 1)
    same_chain(stored, local)
    assert stored.now.view().reorganisations == 1
    assert chain_reads.transaction_places(reader, [losing[0].transactions[0].id]) == {}
    detail = chain_reads.block_detail(reader, losing[1].hash)
    assert detail is not None
    assert (detail.raw, detail.best_chain, detail.depth) == (losing[1].raw, False, 0)


def test_reorganisation_there_and_back_in_one_commit(stored: StoredChain, local: LocalChain) -> None:
    stored.take(local.found("m0", "m1", "m2"))
    base = local.tip
    ours = [local.extend("m1"), local.extend("m2")]
    theirs = fork(local, base, "212", start=1000)
    assert stored.take(*ours, *theirs)[-1] == "connected"
    for block in theirs:
        local.receive(block)
    back = [local.extend("m0", on=ours[-1]), local.extend("m1", on=local.node(ours[-1]))]
    third = local.mine("m1", on=local.node(back[0]))
    local.receive(third)
    assert stored.take(back[0], back[1], third)[0] == "side_branch"
    same_chain(stored, local)


def test_transaction_may_stand_on_two_branches(stored: StoredChain, local: LocalChain, reader: Connection) -> None:
    stored.take(local.found("m0", "m1", "m2"))
    base, joining = local.tip, admit("late", expires=5)
    one = local.extend("m1", [joining])
    two = local.mine("m2", [joining], on=base)
    assert stored.take(one, two) == ["connected", "side_branch"]
    count = reader.execute("SELECT count(*) FROM transactions WHERE id = %s", (bytes.fromhex(joining.id),)).fetchone()
    assert count == (2,)
    assert chain_reads.transaction_places(reader, [joining.id])[joining.id].block == one.hash


def test_side_branch_that_turns_out_invalid_stays_marked(stored: StoredChain, local: LocalChain) -> None:
    """A block that is valid by itself, but revokes nobody's membership twice, only shows so when it is followed."""
    stored.take(local.found("m0", "m1", "m2"))
    base = local.tip
    stored.take(local.extend("m1"), local.extend("m2"))
    bad = mine_block(base, [revoke("nobody")], "m2", local.genesis)
    assert stored.take(bad) == ["side_branch"]
    node = stored.now._chain.tree.get(bad.hash)
    assert node is not None
    above = mine_block(node, [], "m1", local.genesis)
    above_node = HeaderNode(above.hash, above.header, node, node.work + above.header.difficulty)
    top = mine_block(above_node, [], "m0", local.genesis)
    assert stored.take(above, top) == ["side_branch", "refused"]
    assert stored.take(above) == ["refused"]
    stored.reopen()
    assert stored.take(bad) == ["refused"]
    same_chain(stored, local)


def test_side_branch_with_a_wrong_signature_is_deleted_and_may_come_right(
    stored: StoredChain, local: LocalChain, reader: Connection
) -> None:
    stored.take(local.found("m0", "m1", "m2"))
    base = local.tip
    stored.take(local.extend("m1"))
    forged = mine_block(base, [admit("late")], "m2", local.genesis, signer="m0")
    assert stored.take(forged) == ["side_branch"]
    right = mine_block(base, [admit("late")], "m2", local.genesis)
    assert right.hash == forged.hash
    node = HeaderNode(right.hash, right.header, base, base.work + right.header.difficulty)
    above = mine_block(node, [], "m0", local.genesis)
    assert stored.take(above) == ["refused"]
    for table in (b"blocks WHERE hash", b"transactions WHERE block"):
        query = b"SELECT count(*) FROM " + table + b" = %s"
        assert reader.execute(query, (bytes.fromhex(forged.hash),)).fetchone() == (0,)
    assert stored.take(right, above) == ["side_branch", "connected"]
    local.receive(right)
    local.receive(above)
    same_chain(stored, local)


# whole or not at all


@contextmanager
def sessions_cut_at(server: PostgresServer, database: DatabaseSettings, table: str) -> Iterator[None]:
    """Inside, the first write to a table ends the session that makes it, in the middle of its transaction."""
    with psycopg.connect(server.superuser_conninfo(database.name), autocommit=True) as connection:
        connection.execute(
            """
            CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
            """
        )
        create = sql.SQL("CREATE TRIGGER cut AFTER INSERT OR UPDATE ON {} EXECUTE FUNCTION cut()")
        connection.execute(create.format(sql.Identifier(table)))
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION cut CASCADE")


@pytest.mark.parametrize("table", ["blocks", "transactions", "roster", "node_state"])
def test_connection_lost_in_the_middle_of_a_commit_leaves_nothing_of_it(
    stored: StoredChain, local: LocalChain, postgres_server: PostgresServer, table: str
) -> None:
    stored.take(local.found("m0", "m1", "m2"), local.extend("m1"))
    base = local.tip
    stored.take(local.extend("m2"))
    before = stored.now.view()
    other = LocalChain()
    for node in list(base.blocks())[::-1]:
        other.receive(block_of(local, node))
    winning = [other.extend("m2", [admit("late", expires=6)], start=1000), other.extend("m0")]
    with sessions_cut_at(postgres_server, stored.settings, table):
        with pytest.raises((psycopg.OperationalError, psycopg.InterfaceError)):
            stored.take(*winning)
        assert not stored.now.usable
    assert stored.reopen().view() == before
    same_chain(stored, local)
    assert stored.take(*winning) == ["side_branch", "connected"]
    same_chain(stored, other)


def test_server_killed_in_the_middle_of_a_commit_leaves_nothing_of_it(work_dir: Path, local: LocalChain) -> None:
    with PostgresServer(work_dir / "postgres") as server:
        stored = StoredChain(migrated(server.create_database("m0")), local.genesis)
        stored.take(local.found("m0", "m1", "m2"), local.extend("m1"))
        before = stored.now.view()
        with psycopg.connect(server.superuser_conninfo(stored.settings.name), autocommit=True) as watcher:
            watcher.execute(
                """
                CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$
                """
            )
            watcher.execute("CREATE TRIGGER hang AFTER UPDATE ON node_state EXECUTE FUNCTION hang()")
            killer = threading.Thread(target=kill_when_hanging, args=(server, watcher))
            killer.start()
            with pytest.raises((psycopg.OperationalError, psycopg.InterfaceError)):
                stored.take(local.mine("m2"))
            killer.join()
        server.start()
        assert stored.reopen().view() == before
        same_chain(stored, local)
        stored.now.close()


def kill_when_hanging(server: PostgresServer, watcher: Connection) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until(lambda: watcher.execute(query).fetchone() == (1,), describe="a commit that hangs")
    server.kill()


# one database, one ledger, one genesis


def test_second_ledger_on_one_database_is_refused(stored: StoredChain) -> None:
    opener = ChainOpener(stored.settings, stored.genesis, [VOTER])
    with pytest.raises(TransientFault, match="Another ledger") as caught:
        opener.open()
    assert caught.value.code == Code.DATABASE_AWAY
    stored.now.close()
    opener.open().close()


def test_database_of_another_genesis_is_refused(stored: StoredChain) -> None:
    stored.now.close()
    other = make_genesis(name="Another consortium")
    with pytest.raises(LocalFault, match="another genesis") as caught:
        ChainOpener(stored.settings, other, [VOTER]).open()
    assert caught.value.code == Code.BAD_GENESIS
    assert caught.value.values["expected"] == other.hash


def test_damaged_tables_are_refused_at_start(
    stored: StoredChain, local: LocalChain, postgres_server: PostgresServer
) -> None:
    stored.take(local.found("m0", "m1", "m2"), local.extend("m1"))
    with psycopg.connect(postgres_server.superuser_conninfo(stored.settings.name)) as connection:
        connection.execute("UPDATE blocks SET work = work + 1 WHERE height = 1")
    with pytest.raises(LocalFault) as caught:
        stored.reopen()
    assert caught.value.code == Code.AUDIT_MISMATCH


# reads


def test_headers_follow_the_locator_on_the_best_chain(
    stored: StoredChain, local: LocalChain, reader: Connection
) -> None:
    stored.take(local.found("m0", "m1", "m2"), *[local.extend(f"m{each % 3}") for each in range(1, 8)])
    side = local.mine("m1", on=local.chain.tree.main_at(3))
    stored.take(side)
    for locator in ([], [local.tip.hash], ["ab" * 32, local.chain.tree.main_at(4).hash], [side.hash]):  # type: ignore[union-attr]
        expected = [node.hash for node in local.chain.tree.after(locator, 3)]
        found = chain_reads.headers_after(reader, locator, 3)
        assert [decode_header(raw).hash() for raw in found] == expected


def test_bodies_come_in_the_order_asked_and_are_cut_at_the_limit(
    stored: StoredChain, local: LocalChain, reader: Connection
) -> None:
    blocks = [local.found("m0", "m1", "m2"), local.extend("m1"), local.extend("m2")]
    stored.take(*blocks)
    first, second, third = blocks
    asked = [third.hash, "cd" * 32, first.hash, second.hash]
    assert chain_reads.bodies(reader, asked, 1_000_000) == [third.raw, first.raw, second.raw]
    assert chain_reads.bodies(reader, asked, len(third.raw) + len(first.raw)) == [third.raw, first.raw]
    assert chain_reads.bodies(reader, asked[1:], 1) == [first.raw]
    assert chain_reads.bodies(reader, ["cd" * 32], 1_000_000) == []


def test_abandoned_search_is_stored_once(stored: StoredChain, local: LocalChain, reader: Connection) -> None:
    header = local.found("m0").header
    searches = [
        AbandonedSearch(header=header, tries=5, elapsed_ms=7, lowest_hash=f"{number:064x}", stored_at_ms=number)
        for number in (1, 3, 2)
    ]
    assert [stored.now.store_search(each) for each in (*searches, searches[0])] == [True, True, True, False]
    assert [each.stored_at_ms for each in newest_searches(reader, 2)] == [3, 2]
    assert stored.now.view().abandoned_searches == 3
    assert stored.reopen().view().abandoned_searches == 3


# any history


@pytest.mark.parametrize("number", range(4))
def test_random_history_in_random_commits_equals_memory(stored: StoredChain, local: LocalChain, number: int) -> None:
    choose = seeded_random(f"ledger history {number}")
    made = [local.found("m0", "m1", "m2", "m3")]
    stored.take(*made)
    waiting: list[Block] = []
    for step in range(60):
        waiting.append(random_block(local, choose, step))
        if choose.random() < 0.3:
            choose.shuffle(waiting)
            stored.take(*waiting)
            waiting = []
        if choose.random() < 0.1:
            stored.take(*waiting)
            waiting = []
            stored.reopen()
    stored.take(*waiting)
    assert stored.now.view().tip.work == f"{local.tip.work:x}"
    chain = stored.now._chain
    same = LocalChain()
    for node in list(chain.tip.blocks())[::-1]:
        same.receive(stored.now._chain._stored(node))
    same_chain(stored, same)


def random_block(local: LocalChain, choose: random.Random, step: int) -> Block:
    """A block near the tip, perhaps with a membership change, that at least `local` finds valid by itself."""
    base = local.tip
    for _ in range(choose.choice([0, 0, 0, 0, 1, 2, 3])):
        base = base.parent if base.parent is not None and base.height > 1 else base
    changes = [admit(f"x{step}", expires=base.height + 4)] if choose.random() < 0.3 else []
    block = local.mine(f"m{choose.randrange(4)}", changes, on=base, start=step * 1000, time_ms=base.time_ms + 10_001)
    local.receive(block)
    return block
