"""The demo: three members join a new consortium, mine, meter and trade, and everything that must hold is checked.

The scenario is what a newcomer of a real consortium goes through, step by step, with the programs and commands that a
real one uses; only the machine is shared. Times and memory of this run are measured and shown at the end.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from minervas_core.errors import MinervasError
from minervas_core.genesis import Parameters
from minervas_devnet import checks, market_checks, metering_checks
from minervas_devnet.api_client import ApiAway
from minervas_devnet.checks import Check
from minervas_devnet.consortium import Consortium
from minervas_devnet.demo_sites import COOPERATIVE, FARM, UNIVERSITY
from minervas_devnet.finality import FinalityPause, Pause, check_pause
from minervas_devnet.hash_rate import fitting_difficulty
from minervas_devnet.node import Node
from minervas_devnet.options import DevnetOptions
from minervas_devnet.outsiders import Outsider
from minervas_devnet.progress import Progress, say_line
from minervas_devnet.report import print_report
from minervas_devnet.snapshot import take_snapshot
from minervas_devnet.trading import Placed, Trading
from minervas_devnet.view import View, make_view
from minervas_devnet.waiting import stretched
from minervas_devnet.workdir import WorkDir

SITES = {"mokpo-univ": UNIVERSITY, "haenam-farm": FARM, "sinan-coop": COOPERATIVE}
MEMBERS = tuple(SITES)
"""The first one is the operator's."""
OUTSIDER = "jindo-solar"
"""A node that nobody approved."""

BLOCK_INTERVAL_MS = 2_000
SLOT_MS = 10_000
"""Short, for orders trade when it ends."""
VOTE_INTERVAL = 2
"""A checkpoint every two blocks, so that a pause of finality is short to watch."""
LWMA_WINDOW = 8
"""Short, so that the difficulty follows this machine's load within the demo."""
MIN_BLOCKS = 10
"""Blocks to mine while all three are active."""
MINING_LIMIT_S = 40.0
"""How long to wait for them, and for every member to have mined."""
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
        sites=SITES,
        parameters=Parameters(
            block_interval_ms=BLOCK_INTERVAL_MS,
            initial_difficulty=fitting_difficulty(BLOCK_INTERVAL_MS, len(MEMBERS)),
            lwma_window=LWMA_WINDOW,
            vote_interval=VOTE_INTERVAL,
            founding_voters=len(MEMBERS),
            slot_ms=SLOT_MS,
        ),
    )
    consortium = Consortium(work.path, options, progress=progress)
    try:
        with view:
            since_ms, seen, orders = _scenario(consortium, view)
            results = [*_final_checks(consortium, progress, orders[0].id), *seen]
            view.show(take_snapshot(consortium.nodes.values()))
        progress.say = say_line  # the live view is over
        passed = all(result.holds for result in results)
        print_report(consortium, results, orders=orders, since_ms=since_ms)
        if not passed:
            work.keep()
        if not once:
            _stay(consortium)
        return 0 if passed else 1
    finally:
        for failure in consortium.stop():
            sys.stderr.write(f"could not stop {failure}\n")


def _scenario(consortium: Consortium, view: View) -> tuple[int, list[Check], list[Placed]]:
    """Run everything that happens.

    Returns:
        When all gateways worked, in ms; what was checked on the way; the orders that were placed.
    """
    progress = consortium.progress
    nodes = consortium.start(MEMBERS)
    with progress.step("the members applied, were approved by the operator, and run"):
        consortium.join(*nodes)
    view.show(take_snapshot(nodes))
    refusals = _refusals(consortium)
    with progress.step("the members mine one chain together"):
        _mine(consortium, view)
    since_ms = time.time_ns() // 1_000_000
    with progress.step("what they metered became lots, was offered, bid for, and traded"):
        orders = _trade(consortium, view)
    off = MEMBERS[-1]
    with progress.step(f"{off} was off: finality waited for its votes, and went on when it was back"):
        pause = _pause_finality(consortium, view, off)
    return since_ms, [*refusals, *check_pause(pause)], orders


def _pause_finality(consortium: Consortium, view: View, off: str) -> Pause:
    nodes = list(consortium.nodes.values())

    def look() -> None:
        view.show(take_snapshot(nodes))
        time.sleep(LOOK_EVERY_S)

    pause = FinalityPause(nodes, look).run(consortium.nodes[off], consortium.nodes[MEMBERS[0]])
    consortium.progress.say(
        f"          without {off} block {pause.final_height} stayed final up to block {pause.tip_height}; "
        f"with it, block {pause.resumed_height} is"
    )
    return pause


def _trade(consortium: Consortium, view: View) -> list[Placed]:
    university, farm, cooperative = (consortium.nodes[member] for member in MEMBERS)
    nodes = list(consortium.nodes.values())
    if university.meters:
        metering_checks.disturb(university.meters)

    def look() -> None:
        view.show(take_snapshot(nodes))
        time.sleep(LOOK_EVERY_S)

    placed = Trading(nodes, look).run(farm, cooperative, university)
    for order in placed:
        consortium.progress.say(f"          {order.what}: in block {order.height}")
    return placed


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
    """Wait for the blocks that the checks ask for, mined while all are active; or until the time is up."""
    nodes = list(consortium.nodes.values())
    deadline = time.monotonic() + stretched(MINING_LIMIT_S)
    together_from: int | None = None
    while time.monotonic() < deadline:
        snapshot = take_snapshot(nodes)
        view.show(snapshot)
        if all(node.status and node.status.standing == "active" for node in snapshot.nodes):
            together_from = snapshot.height if together_from is None else together_from
            if snapshot.height >= together_from + MIN_BLOCKS and _all_mined(nodes):
                return
        time.sleep(LOOK_EVERY_S)


def _all_mined(nodes: list[Node]) -> bool:
    """Whether each member has a block on the chain of the first."""
    try:
        mined = checks.blocks_by_miner(nodes[0].api.all_blocks())
    except ApiAway:  # for a moment, on a busy machine
        return False
    return all(mined[node.member] for node in nodes)


def _final_checks(consortium: Consortium, progress: Progress, order: str) -> list[Check]:
    nodes = list(consortium.nodes.values())
    with progress.step("all nodes have one tip, and the audits have run"):
        consortium.wait_same_tip(height=MIN_BLOCKS)
        return [
            *checks.check_chain(consortium, min_blocks=MIN_BLOCKS),
            checks.check_keys(nodes),
            *_market_checks(consortium),
            *checks.check_audits(nodes),
            checks.check_proof(nodes[0], order, consortium.directory),
        ]


def _market_checks(consortium: Consortium) -> list[Check]:
    nodes = list(consortium.nodes.values())
    trade = nodes[0].market.trades()[-1]
    return [
        *metering_checks.check_faults(nodes),
        *metering_checks.check_roll_ups(nodes, SLOT_MS),
        *market_checks.check_registers(nodes, SLOT_MS),
        *market_checks.check_readings(nodes),
        *market_checks.check_bad_orders(consortium.nodes[trade.seller], trade),
        *market_checks.check_market(consortium),
    ]


def _stay(consortium: Consortium) -> None:
    """Show how to look at the consortium, and wait for Ctrl-C."""
    first = next(iter(consortium.nodes.values()))
    lines = ["", "The consortium stays up until Ctrl-C. The members' APIs:"]
    lines += [f"  {node.member:<12} {node.api.url}" for node in consortium.nodes.values()]
    lines += [
        "For example:",
        f"  curl -s {first.api.url}/v1/status",
        f"  .venv/bin/minervas status --api {first.api.url}",
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
