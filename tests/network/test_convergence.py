"""Nodes that see each other agree on one chain, also after one of them was off."""

from __future__ import annotations

from tests.support.network import Network


def test_three_members_mine_one_chain_that_follows_from_genesis(network: Network) -> None:
    network.goes_on(blocks=5)
    rosters = [node.api.members() for node in network.nodes]
    assert len({roster.roster_hash for roster in rosters}) == 1
    assert all(entry.admitted_height > 0 for entry in rosters[0].members)
    for node in network.nodes:
        status = node.api.status()
        assert status.standing == "active"
        others = {peer.member: peer.their_key for peer in status.peers}
        assert all(others[other.member] == "held" for other in network.nodes if other is not node)
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
