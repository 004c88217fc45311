"""A revoked member is cut off at once, leaves every roster, and does not come back."""

from __future__ import annotations

from minervas_devnet.health import health, is_status
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import HANG_S, wait_until


def test_revoked_member_is_cut_off_leaves_every_roster_and_stops_mining(network: Network) -> None:
    omega = network.add("omega")
    network.sync_tips()
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

    omega.stop_services()
    omega.start()
    for process in omega.services.values():
        assert process.wait_for_exit(timeout_s=HANG_S) == 1
        assert "revoked" in process.output().splitlines()[-1]
