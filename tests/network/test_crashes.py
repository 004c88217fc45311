"""Any process may be killed at any time: the others go on, and it goes on where it was when it is started again."""

from __future__ import annotations

import pytest

from minervas_devnet.memory import group_memory
from tests.support.network import Network
from tests.support.wait import wait_until


@pytest.mark.parametrize("service", ["peer", "miner", "ledger"])
def test_network_goes_on_when_a_service_is_killed_and_started_again(network: Network, service: str) -> None:
    process = network.beta.services[service]
    leader = process.pid
    process.kill()
    network.wait_blocks(2, network.alpha, network.gamma)
    wait_until(lambda: group_memory(leader).resident == 0)  # nothing it had started is left, such as a search
    process.start()
    network.beta.wait_ready()
    network.goes_on()
    passed, said = network.beta.audit()
    assert passed, said


def test_network_goes_on_without_admission_and_admission_goes_on_after_a_crash(network: Network) -> None:
    admission = network.consortium.admission
    admission.process.kill()
    network.goes_on()
    admission.process.start()
    network.consortium.wait_admission()
    assert "Done" in admission.command("reconcile")  # the running service carries an operator's decision out


def test_network_goes_on_after_the_broker_was_killed(network: Network) -> None:
    network.consortium.broker.kill()
    network.consortium.broker.start()
    network.consortium.wait_admission()
    for node in network.nodes:
        node.wait_ready()
    network.goes_on()


def test_network_goes_on_after_postgresql_was_killed(network: Network) -> None:
    network.consortium.postgres.kill()
    network.consortium.postgres.start()
    network.goes_on()
    network.audit_all()
