"""Fixture: a whole consortium of real processes, shared by the network tests of a run.

Starting it takes a quarter of a minute, so it is started once. A test gets it healed: every service runs, nobody is
cut off, all ledgers have one tip. What a test breaks, it need not repair.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minervas_devnet.workdir import WorkDir
from tests.support.network import Network, start_network


@pytest.fixture(scope="session")
def shared_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Servers, admission and three members; its directory is kept when any test failed."""
    with WorkDir("network") as work, start_network(work) as network:
        yield network
        if request.session.testsfailed:
            work.keep()
            network.hint()


@pytest.fixture
def network(shared_network: Network) -> Network:
    """The shared consortium, in good health."""
    shared_network.heal()
    return shared_network
