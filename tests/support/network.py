"""Helpers of the network tests, after Bitcoin's functional tests: wait, sync, split, join, kill."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from minervas_core.genesis import Parameters, load_genesis
from minervas_devnet.api_client import ApiAway
from minervas_devnet.consortium import Consortium
from minervas_devnet.hash_rate import fitting_difficulty
from minervas_devnet.health import is_status
from minervas_devnet.node import Node
from minervas_devnet.options import GATEWAY, SERVICES, DevnetOptions
from minervas_devnet.site import MeteredChannel, Site
from minervas_devnet.workdir import WorkDir
from tests.support.seed import SEED
from tests.support.wait import WaitTimeout, wait_until

MEMBERS = ("alpha", "beta", "gamma")
"""The first one is the operator's."""

BLOCK_INTERVAL_MS = 500
SLOT_MS = 4_000
RECOVERY_WAIT_MS = 30_000
"""Long enough to see a node whose wallet waits."""

BETA_INTERVAL_MS = 500
"""As many samples in a second from beta's one meter as from alpha's two."""

SITES = {
    "alpha": Site(
        channels=(
            MeteredChannel("east", "array", "sdm630", address=1, rated_w=900_000, start_wh=500),
            MeteredChannel("west", "array", "sdm630", address=2, rated_w=900_000),
        ),
        baud=38_400,
    ),
    "beta": Site(
        channels=(MeteredChannel("roof", "array", "sdm630", address=1, rated_w=900_000),),
        baud=38_400,
        interval_ms=BETA_INTERVAL_MS,
        drop_per_mille=20,
        bad_crc_per_mille=20,
    ),
}
"""Arrays large enough for some hundred Wh in a slot of seconds; gamma is a mere consumer."""

HEAL_TIMEOUT_S = 120.0
SYNC_TIMEOUT_S = 120.0
SOON_S = 4.0


class Network:
    """A running consortium and what tests do to it."""

    def __init__(self, consortium: Consortium) -> None:
        self.consortium = consortium
        self.alpha, self.beta, self.gamma = (consortium.nodes[member] for member in MEMBERS)

    @property
    def network_id(self) -> str:
        """The consortium's network id."""
        genesis = self.consortium.admission.directory / "data" / "genesis.json"
        return load_genesis(genesis.read_bytes()).network

    @property
    def nodes(self) -> list[Node]:
        """The members' nodes."""
        return list(self.consortium.nodes.values())

    @property
    def metered(self) -> list[Node]:
        """The nodes that have meters."""
        return [node for node in self.nodes if node.meters]

    def sync_tips(self, *nodes: Node, at_least: int = 1, timeout: float = SYNC_TIMEOUT_S) -> int:
        """Wait until nodes (all if none is named) have the same tip at some height or more; returns the height.

        Raises:
            WaitTimeout: with every node's tip.
        """
        compared = nodes or self.nodes
        heights: list[int] = []

        def same() -> bool:
            tips = [node.tip() for node in compared]
            first = tips[0]
            if first is None or first.height < at_least or any(tip != first for tip in tips):
                return False
            heights.append(first.height)
            return True

        def agreed() -> bool:
            """On a busy machine the next block is there before all have this one: then no more come for a while."""
            if _soon(same):
                return True
            with self.mining_paused():
                return _soon(same)

        wait_until(agreed, timeout, self.consortium.describe_tips)
        return heights[-1]

    def height(self, node: Node) -> int:
        """Height of a node's tip; -1 while it does not answer."""
        tip = node.tip()
        return tip.height if tip else -1

    def wait_blocks(self, count: int, *nodes: Node, timeout: float = SYNC_TIMEOUT_S) -> None:
        """Wait until each of these nodes (all if none is named) has that many more blocks than now."""
        wanted = [(node, self.height(node) + count) for node in nodes or self.nodes]
        wait_until(
            lambda: all(self.height(node) >= height for node, height in wanted), timeout, self.consortium.describe_tips
        )

    def wait_admitted(self) -> None:
        """Wait until every node's own tip has all members: before, their messages are a newcomer's."""
        wanted = {node.member for node in self.nodes}
        wait_until(lambda: all(_active_members(node) == wanted for node in self.nodes), SYNC_TIMEOUT_S)

    def goes_on(self, blocks: int = 2) -> None:
        """Check that the network still makes blocks and agrees on them."""
        self.wait_blocks(blocks)
        self.sync_tips()

    @contextmanager
    def mining_paused(self) -> Iterator[None]:
        """Stop the clock of all miners, so that the tip stays where it is while nodes are compared."""
        groups = [pid for node in self.nodes if (pid := node.services["miner"].pid) is not None]
        for group in groups:
            os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            for group in groups:
                os.killpg(group, signal.SIGCONT)

    def split(self, *nodes: Node) -> None:
        """Cut these nodes' peers off: each goes on with its own chain."""
        for node in nodes:
            node.cut("peer")
        ports = [node.health_ports["peer"] for node in nodes]
        wait_until(lambda: not any(is_status(port, "ok") for port in ports))

    def join(self, *nodes: Node) -> None:
        """Let them see the others again."""
        for node in nodes:
            node.restore("peer")

    def add(self, member: str) -> Node:
        """Let one more member join."""
        [node] = self.consortium.add_nodes([member])
        self.consortium.join(node)
        return node

    def forget(self, node: Node) -> None:
        """Stop a node and leave it out from now on."""
        node.stop()
        self.consortium.nodes.pop(node.member, None)

    def heal(self) -> None:
        """Start whatever does not run, connect whoever is cut off, and wait until all agree."""
        consortium = self.consortium
        consortium.postgres.start()
        consortium.broker.start()
        consortium.admission.process.start()
        for node in self.nodes:
            node.restore()
            node.start()
            if node.meters:
                node.meters.wait_ready()
                node.meters.repair()
        consortium.wait_admission()
        for node in self.nodes:
            node.wait_ready()
        wait_until(lambda: all(_answers(node) for node in self.nodes), HEAL_TIMEOUT_S)
        self.sync_tips(timeout=HEAL_TIMEOUT_S)

    def refusals(self, node: Node) -> dict[str, int]:
        """What a node's peer has refused since its start, by code."""
        return node.api.status().refusals

    def audit_all(self) -> None:
        """Check every database against a replay from genesis."""
        for node in self.nodes:
            passed, said = node.audit()
            assert passed, f"{node.member}: {said}"

    def hint(self) -> None:
        """Say how to look at what happened."""
        directory = self.consortium.directory
        sys.stderr.write(f"seed {SEED}; all logs in order of time: .venv/bin/minervas-devnet logs {directory}\n")


def _soon(condition: Callable[[], bool]) -> bool:
    """Whether something comes true in a few seconds."""
    with suppress(WaitTimeout):
        wait_until(condition, SOON_S)
        return True
    return False


def _active_members(node: Node) -> set[str]:
    """Active members on a node's own tip; none while it does not answer."""
    try:
        return {entry.member for entry in node.api.members().members if entry.status == "active"}
    except ApiAway:
        return set()


def _answers(node: Node) -> bool:
    """Whether a node's API has its ledger's answers: a peer that was left waiting by one asks it again a bit later."""
    try:
        node.market.orders()
    except ApiAway:
        return False
    return True


@contextmanager
def start_network(work: WorkDir, members: Sequence[str] = MEMBERS) -> Iterator[Network]:
    """Run a consortium of these members, all of whose services reach the broker and the database through proxies."""
    options = DevnetOptions(
        name="Network tests",
        operator_member=members[0],
        proxied=frozenset((*SERVICES, GATEWAY, "database")),
        sites=SITES,
        miner_nice=19,
        parameters=Parameters(
            block_interval_ms=BLOCK_INTERVAL_MS,
            initial_difficulty=fitting_difficulty(BLOCK_INTERVAL_MS, len(members)),
            lwma_window=8,
            slot_ms=SLOT_MS,
            diversity_per_mille=0,  # a member that is cut off can go on alone
            recovery_wait_ms=RECOVERY_WAIT_MS,
        ),
    )
    consortium = Consortium(work.path, options)
    try:
        consortium.join(*consortium.start(members))
        network = Network(consortium)
        network.wait_admitted()
        yield network
    except Exception:
        work.keep()
        raise
    finally:
        consortium.stop()
