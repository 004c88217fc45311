"""Simulated consortia that vote: nothing final ever conflicts while fewer than a third lie, and finality goes on.

`MINERVAS_SIM_SEEDS` sets how many seeds the soak tries (200 by default).
"""

from __future__ import annotations

import os

import pytest

from tests.sim.authority import ADDRESS
from tests.sim.disk import Disk
from tests.sim.liars import ECHO, TWIN
from tests.sim.network import Network
from tests.sim.plan import Plan
from tests.sim.run import simulate
from tests.sim.surroundings import INTERVAL_MS
from tests.sim.watch import Violation
from tests.support.seed import SEED

SOAKED = int(os.environ.get("MINERVAS_SIM_SEEDS", "200"))
LONG = 40 * INTERVAL_MS


def plan_of(number: int, steps: int = 3_000) -> Plan:
    """A plan that is another in every test run, with as many liars as can be borne."""
    nodes = 4 + 3 * (number % 2)
    return Plan(
        SEED % 10**6 * 1_000 + number, nodes=nodes, liars=(nodes - 1) // 3, steps=steps, newcomers=4 * number % 12
    )


@pytest.mark.parametrize("number", range(3))
def test_no_blocks_conflict_finally_while_fewer_than_a_third_lie(number: int) -> None:
    simulate(plan_of(500 + number))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(SOAKED))
def test_many_networks_with_liars(number: int) -> None:
    simulate(plan_of(600 + number, steps=12_000))


def founded(nodes: int, liars: int, seed: int = 1) -> Network:
    """A network with its first final block, in which nothing goes wrong by itself."""
    network = Network(Plan(seed, nodes=nodes, liars=liars, upheavals=False))
    network.found()
    return network


def split(network: Network, *side: str) -> None:
    """Cut some addresses off from all others, but not the echoes of liars."""
    network.bus.sides = dict.fromkeys(side, 1)


def wait(network: Network, milliseconds: int = LONG) -> None:
    end_ms = network.timeline.now_ms + milliseconds
    while network.timeline.now_ms < end_ms:
        network.step()


def test_a_side_without_two_thirds_waits_and_joins_the_other() -> None:
    network = founded(4, 1)
    split(network, "m0", "m3" + TWIN)
    before = network.nodes["m0"].chain.final.height
    wait(network)
    assert network.nodes["m0"].chain.tip.height > before + 8
    assert network.nodes["m0"].chain.final.height <= before + 4
    assert network.nodes["m1"].chain.final.height > before + 8
    network.come_to_rest()


def test_finality_pauses_while_too_many_are_away_and_goes_on_when_they_are_back() -> None:
    network = founded(4, 0)
    for away in ("m2", "m3"):
        network.nodes[away].stop()
    paused = network.watch.final_height
    wait(network)
    assert network.watch.final_height <= paused + 4
    assert network.nodes["m0"].chain.tip.height > paused + 12
    network.come_to_rest()
    assert network.watch.final_height > paused + 12


def test_two_liars_of_four_make_two_branches_final_and_that_is_seen() -> None:
    network = founded(4, 2)
    split(network, "m0", "m2" + TWIN, "m3" + TWIN)
    with pytest.raises(Violation, match="conflicting final blocks"):
        wait(network)


def test_revocations_that_only_one_side_knows_count_like_lies() -> None:
    """Assumption 2 of the safety argument (spec/finality.md): one liar and two revoked of four are too many."""
    network = founded(4, 1)
    split(network, "m0", "m3" + TWIN, ADDRESS)
    network.authority.revoke("m1")
    network.authority.revoke("m2")
    with pytest.raises(Violation, match="conflicting final blocks"):
        wait(network, 3 * LONG)


def test_without_founding_voters_a_newcomer_makes_a_chain_of_its_own_final() -> None:
    """Whoever is admitted on a branch of its own is all of its voters."""
    network = Network(Plan(1, nodes=4, upheavals=False, unfounded=True))
    network.found()
    newcomer = network.add_node("n1")
    newcomer.stop()
    network.authority.admit("n1")
    split(network, "n1", ADDRESS)
    newcomer.start()
    with pytest.raises(Violation, match="conflicting final blocks"):
        wait(network)


def test_an_isolated_newcomer_gives_up_what_it_mined_for_the_chain_of_the_others() -> None:
    network = founded(4, 0)
    network.authority.admit("n1")
    newcomer = network.add_node("n1")
    split(network, "n1", ADDRESS)
    wait(network)
    assert newcomer.chain.final.height == 0
    network.come_to_rest()
    assert newcomer.chain.final.height > 0


def test_equivocations_are_noticed() -> None:
    network = founded(4, 1)
    split(network, "m0", "m3" + TWIN)
    wait(network)
    network.heal()
    wait(network)
    assert network.watch.counts["equivocation_double"] > 0
    assert network.watch.counts["lies"] > 0
    assert "m3" + ECHO in network.bus.addresses


def test_a_crash_between_storing_and_sending_a_vote_makes_no_second_one() -> None:
    """`Watch` raises when an honest member contradicts itself."""
    network = founded(4, 0)
    for _ in range(12):
        network.watch.stormy = True
        wait(network, 4 * INTERVAL_MS)
        network.watch.stormy = False
        for node in network.members:
            if not node.up:
                node.start()
    network.come_to_rest()


def test_a_ledger_that_lost_its_database_does_not_contradict_itself() -> None:
    network = founded(4, 0)
    wait(network)
    node = network.nodes["m1"]
    network.set_back(node, Disk(network.world.genesis))
    wait(network)
    network.come_to_rest()
    assert node.chain.final.height > 0


def test_a_ledger_set_back_to_an_old_backup_does_not_contradict_itself() -> None:
    network = founded(4, 0)
    node = network.nodes["m1"]
    node.disk.save_state(node.chain)
    backup = node.disk.backup()
    wait(network)
    split(network, "m0")
    network.set_back(node, backup)
    wait(network)
    network.come_to_rest()
    assert len(node.disk.votes) > len(backup.votes)
