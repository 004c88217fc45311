"""Fixtures: a real PostgreSQL server for the run, and a fresh database for a test.

A machine without a server is a failure, never a skip: `make setup` installs one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(session_work_dir: Path) -> Iterator[PostgresServer]:
    """A server shared by all tests, not durable; a test that stops or kills it must make one of its own."""
    with PostgresServer(session_work_dir / "postgres", durable=False) as server:
        yield server


@pytest.fixture
def node_database(postgres_server: PostgresServer) -> NodeDatabase:
    """A fresh, empty database with an owner and a writer role."""
    return postgres_server.create_database(f"test-{next(_numbers)}")
