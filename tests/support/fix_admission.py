"""Fixtures: an admission of a test's own, and one with a broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.admission import AdmissionHome
from tests.support.databases import copy_database


@dataclass
class AdmissionWithBroker:
    """An admission and the broker that it rules."""

    home: AdmissionHome
    broker: BrokerServer


@pytest.fixture(scope="session")
def migrated_admission(postgres_server: PostgresServer, session_work_dir: Path) -> NodeDatabase:
    """A database with admission's tables, only to be copied: the migrations take longer than most tests."""
    database = postgres_server.create_database("test-admission")
    root = session_work_dir / "migrated-admission"
    root.mkdir()
    AdmissionHome(root, database)
    return database


@pytest.fixture
def admission_database(postgres_server: PostgresServer, migrated_admission: NodeDatabase) -> NodeDatabase:
    """A database with admission's tables and no rows."""
    return copy_database(postgres_server, migrated_admission)


@pytest.fixture
def admission_home(work_dir: Path, admission_database: NodeDatabase) -> AdmissionHome:
    """An admission that was made but does not run; there is no broker."""
    return AdmissionHome(work_dir, admission_database, migrate=False)


@pytest.fixture
def admission_and_broker(work_dir: Path, admission_database: NodeDatabase) -> Iterator[AdmissionWithBroker]:
    """An admission that was made but does not run, and its running broker."""
    port = free_port()
    home = AdmissionHome(work_dir, admission_database, broker_port=port, migrate=False)
    broker = BrokerServer(work_dir / "broker", home.export_dir, port=port)
    home.sign_broker(broker)
    with broker:
        yield AdmissionWithBroker(home, broker)
