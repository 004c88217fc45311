"""Fixtures: an admission of a test's own, and one with a broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.admission import AdmissionHome


@dataclass
class AdmissionWithBroker:
    """An admission and the broker that it rules."""

    home: AdmissionHome
    broker: BrokerServer


@pytest.fixture
def admission_home(work_dir: Path, node_database: NodeDatabase) -> AdmissionHome:
    """An admission that was made but does not run; there is no broker."""
    return AdmissionHome(work_dir, node_database)


@pytest.fixture
def admission_and_broker(work_dir: Path, node_database: NodeDatabase) -> Iterator[AdmissionWithBroker]:
    """An admission that was made but does not run, and its running broker."""
    port = free_port()
    home = AdmissionHome(work_dir, node_database, broker_port=port)
    broker = BrokerServer(work_dir / "broker", home.export_dir, port=port)
    home.sign_broker(broker)
    with broker:
        yield AdmissionWithBroker(home, broker)
