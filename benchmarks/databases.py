"""A PostgreSQL server for the benchmarks: durable as in production, on this machine, gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.naive.node import NaiveNode
from benchmarks.naive.store import NaiveStore, make_tables
from minervas_core.genesis import Genesis
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_devnet.workdir import WorkDir
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.settings import DatabaseSettings
from tests.support.ledger import migrated


class Databases:
    """Makes a fresh database for each ledger that is measured."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._made = 0

    def fresh(self) -> DatabaseSettings:
        """An empty database with the ledger's tables."""
        return migrated(self.empty())

    def empty(self) -> NodeDatabase:
        """An empty database."""
        self._made += 1
        return self.server.create_database(f"bench-{self._made}")

    def open_ledger(self, genesis: Genesis) -> NodeChain:
        """The project's chain over an empty database."""
        return opener(self.fresh(), genesis).open()

    def superuser_conninfo(self, database: str) -> str:
        """How to reach a database without the ledger's limits; with the password."""
        return self.server.superuser_conninfo(database)

    @contextmanager
    def naive_store(self) -> Iterator[NaiveStore]:
        """The naive node's tables, empty, on the same server."""
        with psycopg.connect(self.server.superuser_conninfo(), autocommit=True) as connection:
            make_tables(connection)
            yield NaiveStore(connection)


def opener(database: DatabaseSettings, genesis: Genesis) -> ChainOpener:
    """Opens the project's chain; it does not vote."""
    return ChainOpener(database, genesis, [])


@contextmanager
def databases() -> Iterator[Databases]:
    """A server that runs as long as the context."""
    work = WorkDir("bench")
    try:
        with PostgresServer(work.path / "postgres") as server:
            yield Databases(server)
    finally:
        work.close()


def naive_connect(node: NaiveNode, store: NaiveStore, raw: bytes) -> None:
    """All that the naive node does with a block."""
    block = node.validate(raw)
    store.write(node, block, raw, node.connect(block))
