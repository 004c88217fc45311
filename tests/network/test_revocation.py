"""A revoked member is cut off at once, leaves every roster, and does not come back."""

from __future__ import annotations

from minervas_devnet.health import health, is_status
from minervas_devnet.node import Node
from tests.support.metering import accepted, wait_in_block, wait_lots, wait_trades
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import HANG_S, wait_until

PRICE = 150_000


def test_revoked_member_is_cut_off_leaves_every_roster_and_stops_mining(network: Network) -> None:
    omega = network.add("omega")
    network.sync_tips()
    owned, resting = _let_it_trade(network, omega)
    epochs = {node.member: _epoch(node) for node in network.nodes if node is not omega}
    network.consortium.nodes.pop("omega")  # from here on it is not expected to agree
    network.consortium.outsiders.append(omega)
    network.consortium.revoke("omega")

    wait_until(lambda: "operator" in omega.api.status().bus_refusal, HANG_S, lambda: omega.api.status().bus_refusal)
    wait_until(lambda: health(omega.health_ports["miner"]).get("tries_per_second") == 0, HANG_S)
    wait_until(lambda: is_status(omega.health_ports["miner"], "failing"))

    def is_gone() -> bool:
        rosters = [node.api.members() for node in network.nodes]
        found = [entry for roster in rosters for entry in roster.members if entry.member == "omega"]
        return len({roster.roster_hash for roster in rosters}) == 1 and all(e.status == "revoked" for e in found)

    wait_until(is_gone, SYNC_TIMEOUT_S, network.consortium.describe_tips)
    network.goes_on()
    for node in network.nodes:
        assert not [order for order in node.market.orders() if order.member == "omega" or order.id == resting]
        assert [lot for lot in node.market.lots("omega") if lot.offer] == []
        assert {lot.id: lot.energy_wh for lot in node.market.lots("omega")} == owned
    wait_until(lambda: all(_epoch(node) > epochs[node.member] for node in network.nodes), SYNC_TIMEOUT_S)

    omega.stop_services()
    omega.start()
    for process in omega.services.values():
        assert process.wait_for_exit(timeout_s=HANG_S) == 1
        assert "revoked" in process.output().splitlines()[-1]


def _let_it_trade(network: Network, member: Node) -> tuple[dict[str, int], str]:
    """Let a member buy a lot and place a bid that nobody fills; returns its lots with their energy, and the bid."""
    [(lot, energy_wh)] = wait_lots(network.alpha, energy_wh=20)
    wait_in_block(network.nodes, accepted(network.alpha.market.offer(PRICE, lots=(lot,))))
    wait_trades(network.nodes, accepted(member.market.bid(energy_wh, PRICE)), energy_wh)
    resting = accepted(member.market.bid(10, 1))
    wait_in_block(network.nodes, resting)
    owned = {each.id: each.energy_wh for each in member.market.lots(member.member)}
    assert sum(owned.values()) == energy_wh
    return owned, resting


def _epoch(node: Node) -> int:
    return node.api.status().sender_key.epoch
