"""Simulate a consortium, or many, by command.

python -m tests.sim --seed 7 --nodes 5 --steps 20000 --dump steps.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from tests.sim.network import Log, Network
from tests.sim.plan import Plan
from tests.sim.run import simulate
from tests.sim.watch import Violation


def main(arguments: list[str]) -> int:
    """Run the simulations that the command line asks for; 1 if one of them violates a property."""
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        log = _log_to(stack.enter_context(Path(options.dump).open("w", encoding="utf-8"))) if options.dump else None
        failed = sum(not _run(plan, log) for plan in _plans(options))
    if options.seeds > 1:
        print(f"{options.seeds} simulations, {failed} failed")
    return int(failed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Simulate a consortium.")
    parser.add_argument("--seed", type=int, default=0, help="what all chance follows from")
    parser.add_argument("--seeds", type=int, default=1, help="how many simulations, with seeds from --seed on")
    parser.add_argument("--nodes", type=int, default=Plan.nodes, help="founders")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="events before the network heals")
    parser.add_argument("--calm", action="store_true", help="without partitions, crashes and newcomers")
    parser.add_argument("--diversity", type=int, default=0, metavar="PER_MILLE", help="diversity of the miners")
    parser.add_argument("--liars", type=int, default=0, help="how many of the founders lie")
    parser.add_argument("--reckless", action="store_true", help="revoke whoever, however many lie")
    parser.add_argument("--newcomers", type=int, default=Plan.newcomers, help="most members that join later")
    parser.add_argument(
        "--unfounded", action="store_true", help="upheavals from the beginning, and one voter may found"
    )
    parser.add_argument("--dump", default="", metavar="FILE", help="write every step as a line of JSON")
    return parser


def _plans(options: argparse.Namespace) -> list[Plan]:
    return [
        Plan(
            seed=seed,
            nodes=options.nodes,
            steps=options.steps,
            upheavals=not options.calm,
            diversity_per_mille=options.diversity,
            liars=options.liars,
            reckless=options.reckless,
            newcomers=options.newcomers,
            unfounded=options.unfounded,
        )
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def _log_to(file: TextIO) -> Callable[[dict[str, object]], None]:
    def log(entry: dict[str, object]) -> None:
        file.write(json.dumps(entry) + "\n")

    return log


def _run(plan: Plan, log: Log | None) -> bool:
    began = time.perf_counter()
    try:
        network = simulate(plan, log)
    except Violation as violation:
        print(f"seed {plan.seed} VIOLATES\n{violation}\n")
        return False
    print(_summary(network, time.perf_counter() - began))
    return True


def _summary(network: Network, seconds: float) -> str:
    watch, tip = network.watch, network.members[0].chain.tip
    counts = watch.counts
    return (
        f"seed {network.plan.seed}: {network.steps} steps, {network.steps / seconds:.0f} steps/s, "
        f"{network.timeline.elapsed_ms // 1_000} virtual s, height {tip.height}, final {watch.final_height}, "
        f"{counts['mined']} mined, {counts['votes']} votes, {counts['lies']} lies, "
        f"{counts['reorganisations']} reorganisations up to {watch.deepest} deep, "
        f"{network.bus.lost} of {network.bus.sent} messages lost"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
