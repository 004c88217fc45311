"""Finality on a running network: it waits for the members it needs, goes on with them, and is never undone."""

from __future__ import annotations

from minervas_devnet.node import Node
from tests.support.network import Network
from tests.support.wait import wait_until

FINALITY_TIMEOUT_S = 180.0
BLOCKS_WITHOUT = 10
"""Above the last final one: by then all votes of a member that is off have come."""


def final_height(node: Node) -> int:
    """Height of a node's last final block; -1 while its ledger does not answer."""
    return node.ledger_metric("minervas_finality_final_height")


def wait_final_above(network: Network, height: int) -> None:
    """Wait until every node has a final block above a height."""
    wait_until(
        lambda: all(final_height(node) > height for node in network.nodes),
        FINALITY_TIMEOUT_S,
        lambda: f"{network.consortium.describe_tips()}, final {[final_height(node) for node in network.nodes]}",
    )


def liars(network: Network) -> set[str]:
    """Members of whom any node has votes that contradict each other."""
    return {each.voter for node in network.nodes for each in node.api.finality().equivocations}


def waits_for_gamma(node: Node) -> bool:
    """Whether gamma's vote alone is missing, and whatever it cast before is in a block."""
    return node.api.finality().missing == ["gamma"] and node.ledger_metric("minervas_chain_height") >= (
        final_height(node) + BLOCKS_WITHOUT
    )


def test_finality_waits_for_a_member_that_is_off_and_goes_on_with_it(network: Network) -> None:
    wait_final_above(network, 0)
    network.gamma.services["ledger"].stop()
    wait_until(lambda: waits_for_gamma(network.alpha), FINALITY_TIMEOUT_S)
    paused = final_height(network.alpha)
    network.wait_blocks(6, network.alpha, network.beta)
    assert final_height(network.alpha) == paused, "blocks go on, but all three votes are needed"
    network.gamma.services["ledger"].start()
    network.gamma.wait_ready()
    wait_final_above(network, network.height(network.alpha))
    assert not liars(network)


def votes_above(network: Network, member: str, height: int) -> bool:
    """Whether the chain carries a member's vote for a checkpoint above a height."""
    finality = network.alpha.api.finality()
    return any(member in each.voted for each in finality.checkpoints if each.checkpoint.height > height)


def test_finality_goes_on_without_a_suspended_member_and_needs_it_again_once_it_is_resumed(network: Network) -> None:
    wait_final_above(network, 0)
    operator = network.consortium.admission
    others = (network.alpha, network.beta)
    network.gamma.services["ledger"].stop()
    operator.command("suspend", "--yes", "--reason", "for a test", "gamma")
    paused = max(network.height(node) for node in others)
    wait_until(lambda: all(final_height(node) > paused for node in others), FINALITY_TIMEOUT_S)
    assert network.alpha.api.finality().missing == []
    network.gamma.services["ledger"].start()
    network.gamma.wait_ready()
    operator.command("resume", "--yes", "--on-chain", "--timeout", str(FINALITY_TIMEOUT_S), "gamma")
    resumed = network.height(network.alpha)
    wait_until(lambda: votes_above(network, "gamma", resumed), FINALITY_TIMEOUT_S)
    wait_final_above(network, resumed)
    assert not liars(network)


def test_neither_side_of_a_partition_makes_anything_final_alone(network: Network) -> None:
    wait_final_above(network, 0)
    network.split(network.gamma)
    most = max(network.height(node) for node in network.nodes)
    network.wait_blocks(8)
    assert max(final_height(node) for node in network.nodes) <= most
    network.join(network.gamma)
    network.heal()
    wait_final_above(network, max(network.height(node) for node in network.nodes))
    network.sync_tips()
    shared = min(final_height(node) for node in network.nodes)
    assert len({node.api.block_hash(shared) for node in network.nodes}) == 1
    assert not liars(network)


def test_a_final_block_stays_whatever_happens_to_the_services(network: Network) -> None:
    wait_final_above(network, 0)
    height = min(final_height(node) for node in network.nodes)
    [block_hash] = {node.api.block_hash(height) for node in network.nodes}
    for service in ("ledger", "peer", "miner"):
        network.beta.services[service].kill()
    network.consortium.broker.kill()
    network.heal()
    wait_final_above(network, max(network.height(node) for node in network.nodes))
    assert {node.api.block_hash(height) for node in network.nodes} == {block_hash}
    assert not liars(network)
