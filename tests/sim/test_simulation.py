"""Whole consortia of simulated nodes: whatever happened to them, once healed they agree, and nothing is lost or won.

`MINERVAS_SIM_SEEDS` sets how many seeds the soak tries (200 by default). A failing one names the command to repeat it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from minervas_core.encoding import encode
from tests.sim.checks import check_end
from tests.sim.network import Network
from tests.sim.plan import Plan
from tests.sim.run import simulate
from tests.sim.watch import Violation
from tests.support.builders import revoke
from tests.support.seed import SEED

ROOT = Path(__file__).resolve().parents[2]
SOAKED = int(os.environ.get("MINERVAS_SIM_SEEDS", "200"))


def plan_of(number: int, steps: int = 4_000) -> Plan:
    """A plan that is another in every test run."""
    return Plan(
        SEED % 10**6 * 1_000 + number, nodes=3 + number % 4, steps=steps, diversity_per_mille=300 * (number % 2)
    )


@pytest.mark.parametrize("number", range(4))
def test_healed_networks_agree_and_conserve_energy_and_money(number: int) -> None:
    simulate(plan_of(number))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(SOAKED))
def test_many_healed_networks_agree_and_conserve_energy_and_money(number: int) -> None:
    simulate(plan_of(100 + number, steps=20_000))


def test_a_calm_network_trades_and_reorganises_little() -> None:
    network = simulate(Plan(1, upheavals=False))
    assert network.watch.deepest <= 3
    assert network.nodes["m0"].chain.state.market.obligations
    assert network.watch.counts["block_postponed"] == 0


def test_upheavals_lead_to_what_they_are_meant_to_test() -> None:
    missing = {"reorganisations", "block_orphan", "block_postponed", "block_side_branch", "sync_stalled"}
    seed = 0
    while missing:
        assert seed < 12, f"never happened: {missing}"
        missing -= set(simulate(Plan(seed, steps=3_000)).watch.counts)
        seed += 1


def test_a_seed_repeats_every_step_whatever_the_hashes_of_strings(tmp_path: Path) -> None:
    dumps = []
    for hash_seed in ("1", "2"):
        file = tmp_path / hash_seed
        command = [sys.executable, "-m", "tests.sim", "--seed", "5", "--steps", "2000", "--dump", str(file)]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        dumps.append(file.read_text())
    assert dumps[0] == dumps[1]
    entries = [json.loads(line) for line in dumps[0].splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, len(entries) + 1))


def test_a_violation_names_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.sim.run.check_end", lambda network: network.timeline.missing)
    with pytest.raises(Violation, match=r"python -m tests\.sim --seed 9 --nodes 3 --steps 100 --calm"):
        simulate(Plan(9, nodes=3, steps=100, upheavals=False))


def at_rest() -> Network:
    network = Network(Plan(4, nodes=3, upheavals=False))
    network.run(3_000)
    network.come_to_rest()
    check_end(network)
    return network


def test_energy_from_nowhere_is_noticed() -> None:
    network = at_rest()
    for node in network.members:
        lot = next(lot for _, lot in node.chain.state.market.lots.items())
        node.chain.state.market.lots.put("f" * 64, lot)
    with pytest.raises(Violation):
        check_end(network)


def test_a_chain_without_a_final_block_is_noticed() -> None:
    network = at_rest()
    network.watch.final[network.watch.final_height] = "f" * 64
    with pytest.raises(Violation, match="final elsewhere"):
        check_end(network)


def test_a_state_that_differs_is_noticed() -> None:
    network = at_rest()
    network.nodes["m1"].chain.state.forget_ids(network.nodes["m1"].chain.tip.height - 1)
    network.nodes["m1"].chain.state.remember_ids(1, (revoke("m1").id,))
    with pytest.raises(Violation, match="different states"):
        check_end(network)


def test_undo_data_that_does_not_undo_is_noticed() -> None:
    network = at_rest()
    node = network.nodes["m2"]
    first = node.chain.tree.main_at(1)
    assert first is not None
    undo = msgspec.structs.replace(node.disk.load_undo(first.hash), time_before_ms=1)
    node.disk.undo[first.hash] = encode(undo)
    with pytest.raises(Violation, match="undoing all"):
        check_end(network)
