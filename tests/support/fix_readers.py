"""Fixture: an operator's ledger database with readers, and readings of two members in it."""

from __future__ import annotations

import pytest

from minervas_devnet.postgres import PostgresServer
from tests.support.readers import Readers


@pytest.fixture(scope="module")
def readers(postgres_server: PostgresServer, request: pytest.FixtureRequest) -> Readers:
    """One for all tests of a file."""
    name = str(request.module.__name__).rpartition(".")[2].replace("_", "-").removeprefix("test-")
    return Readers(postgres_server, postgres_server.create_database(f"r-{name}"[:30].rstrip("-")))
