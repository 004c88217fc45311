"""What goes wrong: partitions, crashes, bad links, wrong clocks; members that come and go at any moment."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.authority import ADDRESS
from tests.sim.bus import GOOD, Quality
from tests.sim.disk import Disk
from tests.sim.liars import TWIN
from tests.sim.network import Network
from tests.sim.node import Node
from tests.sim.surroundings import INTERVAL_MS

MEAN_PAUSE_MS = 4 * INTERVAL_MS
MOST_SKEW_MS = 6 * INTERVAL_MS
"""More than blocks may be ahead."""
MOST_REVOKED = 2
"""Of a reckless authority; otherwise no more than can be borne with the liars."""
MOST_SET_BACK = 2


class Upheavals:
    """Something happens every few T, until the network's plan is through."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._newcomers = 0
        self._revoked = 0
        self._suspended: list[str] = []
        self._set_back_count = 0
        self._backups: dict[str, Disk] = {}
        self._kinds: list[tuple[int, str, Callable[[], None]]] = [
            (4, "split", self._split),
            (5, "join", self._join),
            (4, "crash", self._crash),
            (6, "restart", self._restart),
            (3, "weather", self._weather),
            (3, "skew", self._skew),
            (1 + network.plan.newcomers // 4, "admit", self._admit),
            (1, "revoke", self._revoke),
            (1, "suspend", self._suspend),
            (2, "resume", self._resume),
            (1, "backup", self._backup),
            (1, "set_back", self._set_back),
            (2, "withhold", self._withhold),
        ]
        network.watch.stormy = True
        self._plan_next()

    def _plan_next(self) -> None:
        weights = [weight for weight, *_ in self._kinds]
        _, name, happen = self._network.random.choices(self._kinds, weights)[0]

        def run() -> None:
            if self._network.watch.stormy:
                happen()
                self._plan_next()

        self._network.world.after(self._network.world.wait_ms(MEAN_PAUSE_MS), name, "", run)

    def _nodes(self, *, up: bool) -> list[Node]:
        return [node for node in self._network.nodes.values() if node.up is up]

    def _split(self) -> None:
        random, sides = self._network.random, self._network.random.choice([2, 2, 3])
        self._network.bus.sides = {address: random.randrange(sides) for address in [*self._network.nodes, ADDRESS]}
        self._part_twins(sides)

    def _part_twins(self, sides: int) -> None:
        """Put twins on different sides: there they do most harm."""
        placed = self._network.bus.sides
        for member in sorted(self._network.watch.liars):
            placed[member + TWIN] = (placed[member] + 1) % sides

    def _suspend(self) -> None:
        candidates = [node.member for node in self._network.members if node.member not in self._suspended]
        if self._may_remove() and len(candidates) > 2:
            self._suspended.append(self._network.random.choice(candidates))
            self._perhaps_split()
            self._network.authority.suspend(self._suspended[-1])

    def _resume(self) -> None:
        if self._suspended:
            self._network.authority.resume(self._suspended.pop())

    def _may_remove(self) -> bool:
        """Whether the votes can bear one member less: it counts as a liar until all know that it has no vote."""
        plan, gone = self._network.plan, self._revoked + len(self._suspended)
        return gone < (MOST_REVOKED if plan.reckless else plan.bearable - plan.liars)

    def _perhaps_split(self) -> None:
        """Let the authority be heard on one side only: then branches have different members."""
        if self._network.random.randrange(2):
            self._split()

    def _join(self) -> None:
        self._network.bus.sides = {}

    def _crash(self) -> None:
        running = self._nodes(up=True)
        if len(running) > 1:
            node = self._network.random.choice(running)
            if self._network.random.randrange(2):
                node.tears_next_commit = True
            else:
                node.stop()

    def _restart(self) -> None:
        stopped = self._nodes(up=False)
        if stopped:
            self._network.random.choice(stopped).start()

    def _weather(self) -> None:
        random = self._network.random
        self._network.bus.quality = random.choice(
            [
                GOOD,
                Quality(lost=random.choice([10, 100, 300]), doubled=100, delay_ms=200, stray=20),
                Quality(lost=20, doubled=300, delay_ms=random.choice([500, 2_000]), stray=100),
            ]
        )

    def _skew(self) -> None:
        random = self._network.random
        node = random.choice(list(self._network.nodes.values()))
        node.skew_ms = random.choice([0, random.randint(-MOST_SKEW_MS, MOST_SKEW_MS)])

    def _admit(self) -> None:
        if self._newcomers < self._network.plan.newcomers:
            self._newcomers += 1
            self._perhaps_split()
            node = self._network.add_node(f"n{self._newcomers}")
            self._network.authority.admit(node.member)

    def _backup(self) -> None:
        """Somebody makes a backup of a database."""
        running = [node for node in self._nodes(up=True) if node.honest]
        if running:
            node = self._network.random.choice(running)
            node.disk.save_state(node.chain)
            self._backups[node.address] = node.disk.backup()

    def _set_back(self) -> None:
        """Somebody loses a database and restores a backup."""
        if self._backups and self._set_back_count < MOST_SET_BACK:
            self._set_back_count += 1
            address = self._network.random.choice(list(self._backups))
            self._network.set_back(self._network.nodes[address], self._backups[address])

    def _withhold(self) -> None:
        """A liar keeps what it says to itself for a while."""
        liars = [node.address for node in self._network.nodes.values() if not node.honest]
        if liars:
            delay_ms = self._network.random.choice([0, 5, 30]) * INTERVAL_MS
            self._network.bus.outbound_ms[self._network.random.choice(liars)] = delay_ms

    def _revoke(self) -> None:
        candidates = self._network.members[1:]
        if self._may_remove() and len(candidates) > 2:
            self._revoked += 1
            self._perhaps_split()
            self._network.authority.revoke(self._network.random.choice(candidates).member)
