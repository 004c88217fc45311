"""A ledger whose database is away, at start or later, says so, and goes on when it is back."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from minervas_core.errors import Code, LocalFault
from minervas_core.node_messages import BlockSummaries, GetBlocks
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.node_link import RemoteTrouble
from tests.support.builders import LocalChain, admit, make_genesis
from tests.support.ledger import LedgerNode, audit, database_settings, found_block, migrated
from tests.support.wait import wait_until_async

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def own_server(session_work_dir: Path) -> Iterator[PostgresServer]:
    """A server that these tests may stop and kill."""
    with PostgresServer(session_work_dir / "postgres-away") as server:
        yield server


@pytest.fixture
async def node(own_server: PostgresServer, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    """A ledger that is not started yet, on the server of these tests."""
    database = own_server.create_database(f"away-{next(_numbers)}")
    made = LedgerNode(tmp_path, migrated(database), make_genesis())
    await made.peer.start()
    await made.miner.start()
    yield made
    await made.stop()
    own_server.start()


async def come_back(node: LedgerNode, server: PostgresServer) -> None:
    """Start the server again once the ledger has noticed that it is gone, and wait until the chain is there."""
    await wait_until_async(lambda: node.context.status.get("database") == "away")
    server.start()
    await wait_until_async(lambda: node.context.status.get("status") == "ok")


async def test_ledger_waits_for_its_database_at_start(
    node: LedgerNode, own_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.stop()
    with caplog.at_level(logging.WARNING):
        await node.start_ledger(wait=False)
        await wait_until_async(lambda: "database_away" in caplog.messages)
    told = [record for record in caplog.records if record.message == "database_away"]
    reason = str(told[0].__dict__["fields"]["reason"])
    assert node.database.host in reason
    assert str(node.database.port) in reason
    assert node.database.name in reason
    assert "\n" not in reason
    own_server.start()
    await wait_until_async(lambda: node.peer.tips)
    assert len(told) == 1


async def test_block_that_was_not_committed_is_taken_when_the_database_is_back(
    node: LedgerNode, own_server: PostgresServer
) -> None:
    await node.start_ledger()
    local = LocalChain()
    assert (await node.peer.deliver(local.found("m0", "m1", "m2"))).status == "connected"
    await node.until_tip(local.tip.hash)
    before = node.peer.tips[-1]
    own_server.kill()
    block = local.extend("m1")
    with pytest.raises(RemoteTrouble) as caught:
        await node.peer.deliver(block)
    assert caught.value.code == Code.DATABASE_AWAY
    await wait_until_async(lambda: "database_away" in str(node.context.status.get("trouble")))
    assert node.context.status["status"] == "failing"
    assert node.peer.tips[-1] == before
    await come_back(node, own_server)
    assert (await node.peer.deliver(block)).status == "connected"
    await node.until_tip(block.hash)
    assert audit(node.database, node.genesis).tip_hash == block.hash


async def test_found_block_survives_a_database_that_is_away(node: LedgerNode, own_server: PostgresServer) -> None:
    """The template is remembered, so the miner can hand its block in again."""
    await node.start_ledger()
    local = LocalChain()
    await node.peer.deliver(local.mine("m1", [admit("m0"), admit("m1")]))
    found = found_block(await node.miner.template(height=2))
    own_server.stop()
    with pytest.raises(RemoteTrouble):
        await node.miner.hand_in(found)
    await come_back(node, own_server)
    assert (await node.miner.hand_in(found)).status == "connected"


async def test_queue_survives_a_database_that_is_away(node: LedgerNode, own_server: PostgresServer) -> None:
    await node.start_ledger()
    local = LocalChain()
    await node.peer.deliver(local.mine("m1", [admit("m1")]))
    await node.peer.submit(admit("late").raw)
    own_server.stop()
    with pytest.raises(RemoteTrouble):
        await node.peer.deliver(local.mine("m2"))
    await come_back(node, own_server)
    assert (await node.peer.status()).mempool_transactions == 1


async def test_questions_are_answered_again_after_the_database_was_away(
    node: LedgerNode, own_server: PostgresServer
) -> None:
    await node.start_ledger()
    await node.peer.deliver(LocalChain().found("m0", "m1"))
    assert len((await node.peer.ask("blocks", GetBlocks(), BlockSummaries)).blocks) == 1
    own_server.stop()
    with pytest.raises(RemoteTrouble) as caught:
        await node.peer.ask("blocks", GetBlocks(), BlockSummaries)
    assert caught.value.code == Code.DATABASE_AWAY
    own_server.start()
    assert len((await node.peer.ask("blocks", GetBlocks(), BlockSummaries)).blocks) == 1
    own_server.stop()
    own_server.start()  # a restart between two questions is no trouble at all
    assert len((await node.peer.ask("blocks", GetBlocks(), BlockSummaries)).blocks) == 1


async def test_ledger_refuses_a_database_that_was_not_migrated(
    own_server: PostgresServer, node: LedgerNode, node_database: NodeDatabase
) -> None:
    node.database = database_settings(node_database)
    node.context.settings = node.settings_for(node.database)
    await node.start_ledger(wait=False)
    assert node.running is not None
    with pytest.raises(LocalFault) as caught:
        await node.running
    assert caught.value.code == Code.SCHEMA_VERSION
