"""Nodes that see each other agree on one chain, also after one of them was off."""

from __future__ import annotations

from minervas_devnet.node import Node
from tests.support.network import Network
from tests.support.wait import wait_until


def holds_all_keys(network: Network, node: Node) -> bool:
    """Whether a node can open what the others send."""
    keys = {peer.member: peer.their_key for peer in node.api.status().peers}
    return all(keys[other.member] == "held" for other in network.nodes if other is not node)


def test_three_members_mine_one_chain_that_follows_from_genesis(network: Network) -> None:
    network.goes_on(blocks=5)
    rosters = [node.api.members() for node in network.nodes]
    assert len({roster.roster_hash for roster in rosters}) == 1
    assert all(entry.admitted_height > 0 for entry in rosters[0].members)
    for node in network.nodes:
        assert node.api.status().standing == "active"
    wait_until(lambda: all(holds_all_keys(network, node) for node in network.nodes))
    network.audit_all()


def test_node_that_was_off_catches_up(network: Network) -> None:
    network.gamma.stop_services()
    network.wait_blocks(8, network.alpha, network.beta)
    before = network.height(network.alpha)
    network.gamma.start()
    network.gamma.wait_ready()
    assert network.sync_tips(at_least=before) >= before
    network.goes_on()
    passed, said = network.gamma.audit()
    assert passed, said
