"""The demo: three members join a new consortium, mine one chain, and everything that must hold is checked.

The scenario is what a newcomer of a real consortium goes through, step by step, with the programs and commands that a
real one uses; only the machine is shared. Times and memory of this run are measured and shown at the end.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from minervas_core.errors import MinervasError
from minervas_core.genesis import Parameters
from minervas_devnet import checks
from minervas_devnet.checks import Check
from minervas_devnet.consortium import Consortium
from minervas_devnet.hash_rate import fitting_difficulty
from minervas_devnet.node import Node
from minervas_devnet.options import DevnetOptions
from minervas_devnet.outsiders import Outsider
from minervas_devnet.progress import Progress, say_line
from minervas_devnet.report import print_report
from minervas_devnet.snapshot import take_snapshot
from minervas_devnet.view import View, make_view
from minervas_devnet.workdir import WorkDir

MEMBERS = ("mokpo-univ", "haenam-farm", "sinan-coop")
"""The first one is the operator's."""
OUTSIDER = "jindo-solar"
"""A node that nobody approved."""

BLOCK_INTERVAL_MS = 2_000
MIN_BLOCKS = 10
MINING_LIMIT_S = 45.0
"""How long to wait for every member to have mined, beyond the blocks that are needed."""
LOOK_EVERY_S = 0.25

SELF_MADE_REFUSED = "not issued by the certificate authority"
UNAPPROVED_REFUSED = "bus_denied"


def run_demo(*, once: bool) -> int:
    """Run the scenario; without `once` the consortium then stays up until Ctrl-C.

    Returns:
        Exit status: 0 only if every check held.
    """
    with _terminable(), WorkDir("demo") as work:
        try:
            return _run(work, once=once)
        except MinervasError as error:
            work.keep()
            sys.stderr.write(f"minervas-devnet: error: {error}\nlogs: {work.path / 'logs'}\n")
            return 1
        except KeyboardInterrupt:
            sys.stderr.write("stopped before the end of the scenario\n")
            return 130


def _run(work: WorkDir, *, once: bool) -> int:
    view = make_view()
    progress = Progress(view.say)
    options = DevnetOptions(
        name="Minervas demo",
        operator_member=MEMBERS[0],
        parameters=Parameters(
            block_interval_ms=BLOCK_INTERVAL_MS,
            initial_difficulty=fitting_difficulty(BLOCK_INTERVAL_MS, len(MEMBERS)),
        ),
    )
    consortium = Consortium(work.path, options, progress=progress)
    try:
        with view:
            refusals = _scenario(consortium, view)
            results = [*_final_checks(consortium, progress), *refusals]
        progress.say = say_line  # the live view is over
        passed = all(result.holds for result in results)
        print_report(consortium, results)
        if not passed:
            work.keep()
        if not once:
            _stay(consortium)
        return 0 if passed else 1
    finally:
        for failure in consortium.stop():
            sys.stderr.write(f"could not stop {failure}\n")


def _scenario(consortium: Consortium, view: View) -> list[Check]:
    progress = consortium.progress
    consortium.start()
    with progress.step("the members' services made their keys"):
        nodes = consortium.add_nodes(MEMBERS)
    for node in nodes:
        with progress.step(f"{node.member} applied, was approved by the operator, and runs"):
            consortium.join(node)
        view.show(take_snapshot(nodes))
    refusals = _refusals(consortium)
    with progress.step("the members mine one chain"):
        _mine(consortium, view)
    return refusals


def _refusals(consortium: Consortium) -> list[Check]:
    """Let a node that nobody approved try to get in, in two ways."""
    with consortium.progress.step(f"{OUTSIDER} was not approved and tried to get in twice"):
        outsider = Outsider(consortium.make_outsider(OUTSIDER), consortium.admission, consortium.broker.port)
        self_made = outsider.try_self_made()
        consortium.progress.say(f"          with a certificate of its own: {self_made}")
        unapproved = outsider.try_unapproved()
        consortium.progress.say(f"          with one of the CA, without approval: {unapproved}")
    return [
        checks.check_refusal("a self-made certificate is refused by the broker", self_made, SELF_MADE_REFUSED),
        checks.check_refusal("a certificate without approval opens nothing", unapproved, UNAPPROVED_REFUSED),
    ]


def _mine(consortium: Consortium, view: View) -> None:
    """Wait until the chain has what the checks ask for, and a little longer for every member to have mined."""
    nodes = list(consortium.nodes.values())
    began = time.monotonic()

    def has_enough() -> bool:
        snapshot = take_snapshot(nodes)
        view.show(snapshot)
        standings = [node.status.standing for node in snapshot.nodes if node.status]
        return snapshot.height >= MIN_BLOCKS and standings == ["active"] * len(nodes)

    _until(has_enough, MINING_LIMIT_S)
    left_s = MINING_LIMIT_S - (time.monotonic() - began)
    _until(lambda: _everybody_mined(nodes, view), left_s)


def _everybody_mined(nodes: list[Node], view: View) -> bool:
    view.show(take_snapshot(nodes))
    return set(checks.blocks_by_miner(nodes[0].api.all_blocks())) >= {node.member for node in nodes}


def _until(holds: Callable[[], bool], limit_s: float) -> None:
    """Look until something holds or the time is up; the checks at the end judge."""
    deadline = time.monotonic() + limit_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)


def _final_checks(consortium: Consortium, progress: Progress) -> list[Check]:
    nodes = list(consortium.nodes.values())
    with progress.step("all nodes have one tip, and the audits have run"):
        consortium.wait_same_tip(height=MIN_BLOCKS)
        return [
            *checks.check_chain(consortium, min_blocks=MIN_BLOCKS),
            checks.check_keys(nodes),
            *checks.check_audits(nodes),
        ]


def _stay(consortium: Consortium) -> None:
    """Show how to look at the consortium, and wait for Ctrl-C."""
    first = next(iter(consortium.nodes.values()))
    lines = ["", "The consortium stays up until Ctrl-C. The members' APIs:"]
    lines += [f"  {node.member:<12} {node.api.url}" for node in consortium.nodes.values()]
    lines += [
        "For example:",
        f"  curl -s {first.api.url}/v1/status",
        f"  .venv/bin/minervas --api {first.api.url} status",
        f"Logs and settings: {consortium.directory}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        sys.stdout.write("\nstopping everything\n")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that everything is stopped in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
