"""A consortium on this machine: the servers, admission, and any number of members' nodes.

Theory of operation. Everything is a child process with a log file below the work directory, and started in the order
of who needs whom: PostgreSQL, admission's CA, the broker (its request signed by that CA), admission, nodes. A node
joins as it would anywhere; the operator's part is done with the operator's own commands. `stop` ends everything in
the reverse order, whatever went wrong before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Self

from minervas_devnet.admission import Admission
from minervas_devnet.broker import BrokerServer
from minervas_devnet.health import is_status
from minervas_devnet.node import Node
from minervas_devnet.options import DevnetOptions
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.processes import ManagedProcess, ProcessFailed, Supervisor, uninterrupted
from minervas_devnet.progress import Progress
from minervas_devnet.waiting import wait_until

ADMISSION_TIMEOUT_S = 60.0
APPLY_TIMEOUT_S = 60.0
JOIN_TIMEOUT_S = 60.0


class Consortium:
    """Servers, admission and nodes below one directory. A context manager: started inside, stopped at the end.

    Args:
        directory: where everything goes; the servers' system users must be able to pass through it.
        options: the consortium's numbers and how its programs run.
        progress: what is told meanwhile.
    """

    def __init__(self, directory: Path, options: DevnetOptions, *, progress: Progress | None = None) -> None:
        self.directory = directory
        self.options = options
        self.log_dir = directory / "logs"
        self.nodes: dict[str, Node] = {}
        """The members' nodes by member."""
        self.outsiders: list[Node] = []
        """Nodes that are no member's."""
        self.progress = progress or Progress()
        self.postgres = PostgresServer(directory / "postgres")
        self.admission = Admission(directory / "admission", self.log_dir / "admission.log", options)
        self.broker = BrokerServer(directory / "broker", self.admission.export_dir)
        self._supervisor = Supervisor()

    def start(self, members: Sequence[str] = ()) -> list[Node]:
        """Start servers and admission, and meanwhile the services of `members`, which then wait for approval.

        Raises:
            MinervasError: if one of them does not come up; what runs by then is stopped by `stop`.
        """
        self.log_dir.mkdir(mode=0o755)
        with self.progress.step("PostgreSQL runs"):
            self._supervisor.add(self.postgres).start()
        nodes = [self._start_node(member) for member in members]
        self._start_admission()
        self._finish_nodes(nodes)
        return nodes

    def _start_admission(self) -> None:
        with self.progress.step("admission made the certificate authority and the genesis"):
            self.admission.prepare(self.postgres.create_database("consortium"), self.broker.port)
        with self.progress.step("Mosquitto runs: TLS 1.3, client certificates, rights, revocation list"):
            self._start_broker()
        with self.progress.step("admission runs"):
            self._supervisor.add(self.admission.process).start()
            self.wait_admission()

    def wait_admission(self) -> None:
        """Wait until admission is connected and answers."""
        self.admission.process.wait_for(
            lambda: is_status(self.admission.health_port, "ok"),
            timeout_s=ADMISSION_TIMEOUT_S,
            awaited="to be healthy",
        )

    def add_nodes(self, members: Sequence[str]) -> list[Node]:
        """Make members' nodes and start their services, which then wait for approval."""
        nodes = [self._start_node(member) for member in members]
        self._finish_nodes(nodes)
        return nodes

    def make_outsider(self, member: str) -> Node:
        """Make a node that is not counted among the members'; its services are not started, its database is empty."""
        node = self._make_node(member, replace(self.options, proxied=frozenset()))
        self.outsiders.append(self.nodes.pop(member))
        node.write_settings()
        return node

    def replace(self, lost: Node) -> Node:
        """Let a member come with a fresh node, all of whose keys are new, for one that was lost; its meters go on.

        Raises:
            ProcessFailed: if the application or its approval fails.
        """
        lost.lose()
        node = self._make_node(lost.member, self.options, replaces=lost)
        node.write_settings()
        node.start()
        self._finish_nodes([node])
        self.join(node)
        return node

    def join(self, *nodes: Node) -> None:
        """Let nodes apply, approve them one after another as the operator would, and wait until they work.

        Raises:
            ProcessFailed: if an application or an approval fails.
        """
        applying = [self._supervisor.add(self._apply(node)) for node in nodes]
        pending = self.wait_pending(*nodes)
        for node, join in zip(nodes, applying, strict=True):
            fingerprint = pending[node.member]
            if fingerprint not in join.output():
                raise ProcessFailed(join.name, join.exit_status, f"another fingerprint than {fingerprint}")
            with self.progress.step(f"{node.member}: both sides see {fingerprint}, the operator approved"):
                self.admission.command("approve", "--yes", node.member)
                if (status := join.wait_for_exit(timeout_s=JOIN_TIMEOUT_S)) != 0:
                    raise ProcessFailed(join.name, status, join.output())
        for node in nodes:
            node.wait_ready()

    def wait_pending(self, *nodes: Node) -> dict[str, str]:
        """Wait until the operator sees the nodes' applications; returns their fingerprints by member."""
        members = {node.member for node in nodes}
        seen: dict[str, str] = {}

        def all_there() -> bool:
            seen.update(self.admission.pending())
            return members <= set(seen)

        wait_until(all_there, timeout_s=APPLY_TIMEOUT_S, awaited=f"the applications of {', '.join(sorted(members))}")
        return seen

    def revoke(self, member: str) -> str:
        """End a membership; returns what the operator's command said."""
        return self.admission.command("revoke", "--yes", "--reason", "for a test", member)

    def wait_same_tip(self, *, height: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until all nodes have the same tip, at least at this height.

        Raises:
            WaitTimeout: with every node's tip.
        """
        wait_until(
            lambda: self.common_height() >= height,
            timeout_s=timeout_s,
            awaited=f"one tip of height {height} or more on {', '.join(self.nodes)}",
            describe=self.describe_tips,
        )

    def common_height(self) -> int:
        """Height of the nodes' tip, if it is the same on all; else -1."""
        tips = [node.tip() for node in self.nodes.values()]
        first = tips[0]
        same = first is not None and all(tip == first for tip in tips)
        return first.height if first is not None and same else -1

    def describe_tips(self) -> str:
        """Every node's tip, for messages."""
        lines = []
        for member, node in self.nodes.items():
            tip = node.tip()
            lines.append(f"{member}: " + (f"height {tip.height} {tip.hash[:16]}" if tip else "away"))
        return "tips: " + "; ".join(lines)

    def stop(self) -> list[str]:
        """Stop everything, the nodes first; returns a line for each thing that could not be stopped."""
        with uninterrupted():
            failures = _on_each(Node.stop, [*self.nodes.values(), *self.outsiders])
            return [*map(str, failures), *self._supervisor.stop_all()]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_broker(self) -> None:
        request = self.broker.prepare()
        certificate = self.admission.directory / "broker.crt"
        self.admission.sign_server(request, certificate)
        self.broker.install((self.admission.export_dir / "ca.crt").read_bytes(), certificate.read_bytes())
        self._supervisor.add(self.broker).start()

    def _apply(self, node: Node) -> ManagedProcess:
        """Start a node's `minervas join`, which ends after the operator's decision."""
        joining = node.join_process(self.admission.url, self.admission.fingerprint)
        joining.start()
        return joining

    def _start_node(self, member: str) -> Node:
        """Start a node's services, which at first only make their keys and wait."""
        node = self._make_node(member, self.options)
        node.write_settings()
        node.start()
        return node

    def _finish_nodes(self, nodes: Sequence[Node]) -> None:
        """Make the tables of nodes that were started, and wait until their services have handed in their keys."""
        if not nodes:
            return
        with self.progress.step("the members' services made their keys, their databases have tables"):
            for failure in _on_each(Node.migrate, nodes):
                raise failure
            for node in nodes:
                node.wait_enrolled()

    def _make_node(self, member: str, options: DevnetOptions, *, replaces: Node | None = None) -> Node:
        name = member if replaces is None else f"{replaces.name}-2"
        node = Node(
            member,
            self.directory / "nodes" / name,
            log_dir=self.log_dir,
            database=self.postgres.create_database(name),
            broker_port=self.broker.port,
            options=options,
            replaces=replaces,
        )
        self.nodes[member] = node
        return node


def _on_each(action: Callable[[Node], None], nodes: Sequence[Node]) -> list[BaseException]:
    """Do something with all nodes, some at a time; returns what went wrong."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        outcomes = [pool.submit(action, node) for node in nodes]
    return [error for outcome in outcomes if (error := outcome.exception()) is not None]
