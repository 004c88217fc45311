"""A whole simulated consortium: founded, thrown about, healed, and brought to rest."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from minervas_core.signature_cache import SignatureCache
from tests.sim.authority import Authority
from tests.sim.bus import GOOD, Bus
from tests.sim.disk import Disk
from tests.sim.liars import TWIN, Echo
from tests.sim.node import Node
from tests.sim.plan import Plan
from tests.sim.surroundings import INTERVAL_MS, Surroundings, simulated_genesis
from tests.sim.timeline import Event, Timeline
from tests.sim.watch import Violation, Watch

REST_INTERVALS = 400
"""T within which a healed network must agree."""

POWER = 1_000
"""Of all founders together."""

Log = Callable[[dict[str, object]], None]
"""Takes a step as plain values."""


class Network:
    """Nodes and what is between them.

    Args:
        plan: what to simulate.
        log: gets every step, if wanted.
    """

    def __init__(self, plan: Plan, log: Log | None = None) -> None:
        self.plan = plan
        self.random = Random(f"simulation {plan.seed}")  # noqa: S311 - chance, not keys
        self.timeline = Timeline()
        self.bus = Bus(self.timeline, self.random)
        self.watch = Watch()
        genesis = simulated_genesis(plan.diversity_per_mille, founding_voters=1 if plan.unfounded else plan.nodes)
        self.world = Surroundings(genesis, self.timeline, self.bus, self.random, self.watch, SignatureCache(genesis))
        self.steps = 0
        self.nodes: dict[str, Node] = {}
        self._log = log
        for number in range(plan.nodes):
            self.add_node(f"m{number}")
        for number in range(plan.nodes - plan.liars, plan.nodes):
            self._corrupt(f"m{number}")
        self.authority = Authority(self.world, next(iter(self.nodes.values())))
        for number in range(plan.nodes):
            self.authority.admit(f"m{number}")

    def add_node(self, member: str, address: str = "") -> Node:
        """Create a node and bring it up."""
        node = Node(address or member, member, self.world, power=POWER // self.plan.nodes)
        self.nodes[node.address] = node
        node.start()
        return node

    def _corrupt(self, member: str) -> None:
        """Let a member lie from now on."""
        self.watch.liars.add(member)
        self.nodes[member].honest = False
        self.add_node(member, member + TWIN).honest = False
        Echo(member, self.world)

    @property
    def members(self) -> list[Node]:
        """Nodes of the members that were not expelled and that follow the rules."""
        return [each for each in self.nodes.values() if each.honest and self.authority.is_admitted(each.member)]

    def step(self) -> None:
        """Let the next event happen."""
        event = self.timeline.next()
        self.steps += 1
        if self._log is not None:
            self._log(self._entry(event))
        event.run()

    def run(self, steps: int) -> None:
        """Let so many events happen."""
        for _ in range(steps):
            self.step()

    def run_until(self, reached: Callable[[], bool], intervals: int, what: str) -> None:
        """Let events happen until a condition holds; it is asked once per T.

        Raises:
            Violation: if it does not hold in time.
        """
        end_ms = self.timeline.now_ms + intervals * INTERVAL_MS
        while True:
            pause_ms = self.timeline.now_ms + INTERVAL_MS
            while self.timeline.now_ms < pause_ms:
                self.step()
            if reached():
                return
            if self.timeline.now_ms > end_ms:
                raise Violation(f"not reached in {intervals} T: {what}; {self.describe()}")

    def set_back(self, node: Node, backup: Disk) -> None:
        """Restore a node's database from a backup."""
        if node.up:
            node.stop()
        node.disk = backup.backup()
        known = {raw for other in self.nodes.values() if other is not node for raw in other.disk.votes}
        self.watch.forget(node.address, node.member, known)
        node.start()

    def found(self) -> None:
        """Run in peace until every founder has a final block."""
        self.run_until(
            lambda: all(node.chain.final.height > 0 for node in self.members), REST_INTERVALS, "a first final block"
        )

    def heal(self) -> None:
        """End every outage: from now on the bus is good, all clocks are right and all nodes are up."""
        self.watch.stormy = False
        self.bus.quality = GOOD
        self.bus.sides.clear()
        self.bus.outbound_ms.clear()
        for node in self.nodes.values():
            node.skew_ms = 0
            node.tears_next_commit = False
            if not self.authority.is_admitted(node.member):
                if node.up:
                    node.stop()
            elif not node.up:
                node.start()

    def come_to_rest(self) -> None:
        """Heal, and go on until all honest members agree and nobody mines any more."""
        self.heal()
        self.run_until(self._all_decided, REST_INTERVALS, "every decision of the authority stands everywhere")
        height = max(node.chain.tip.height for node in self.members)
        self.run_until(lambda: self._is_final(height), REST_INTERVALS, f"final at {height} everywhere")
        self.run_until(self.agrees, REST_INTERVALS, "all honest members at one tip")

    def agrees(self) -> bool:
        """Whether all honest members are at one tip."""
        return len({node.chain.tip.hash for node in self.members}) == 1

    def _is_final(self, height: int) -> bool:
        return all(node.chain.final.height >= height for node in self.members)

    def _all_decided(self) -> bool:
        return all(self.authority.all_stand(node.chain) for node in self.members)

    def describe(self) -> str:
        """Where everybody is, for messages."""
        tips = [
            f"{node.address}:{node.chain.tip.height}/{node.chain.tip.hash[:8]} final {node.chain.final.height}"
            for node in self.members
        ]
        return f"at {self.timeline.elapsed_ms} ms, step {self.steps}: {' '.join(tips)}"

    def _entry(self, event: Event) -> dict[str, object]:
        entry: dict[str, object] = {
            "step": self.steps,
            "at_ms": self.timeline.elapsed_ms,
            "kind": event.kind,
            "to": event.subject,
            "from": event.source,
            "what": str(event.content),
        }
        node = self.nodes.get(event.subject)
        return entry | {"tip": f"{node.chain.tip.height} {node.chain.tip.hash[:12]}"} if node else entry
