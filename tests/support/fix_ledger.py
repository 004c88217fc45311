"""Fixtures: an empty ledger database, and a ledger as a service between a fake peer and a fake miner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.schema import MIGRATION_TABLE, WRITER_RIGHTS
from tests.support.builders import make_genesis
from tests.support.ledger import LedgerNode, database_settings, migrated

TABLES = sorted(WRITER_RIGHTS.keys() - {MIGRATION_TABLE})
TRUNCATE_ALL = sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES)))


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> NodeDatabase:
    """One migrated database for all tests that only fill its tables: making a new one takes a second."""
    database = postgres_server.create_database("test-ledger")
    migrated(database)
    return database


@pytest.fixture
def ledger_database(postgres_server: PostgresServer, migrated_database: NodeDatabase) -> DatabaseSettings:
    """A migrated database without rows; the writer's settings of it."""
    with psycopg.connect(postgres_server.superuser_conninfo(migrated_database.name), autocommit=True) as connection:
        connection.execute(TRUNCATE_ALL)
    return database_settings(migrated_database)


@pytest_asyncio.fixture
async def ledger_node(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    """A running ledger with an empty chain."""
    node = LedgerNode(tmp_path, ledger_database, make_genesis())
    await node.start()
    yield node
    await node.stop()
