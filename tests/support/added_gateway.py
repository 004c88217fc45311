"""A further gateway of a running node, with meters of its own, added with `minervas join --add`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minervas_devnet.health import is_status
from minervas_devnet.node import PROGRAMS, Node
from minervas_devnet.options import GATEWAY
from minervas_devnet.ports import LOOPBACK, free_port
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_devnet.simulated_meters import SimulatedMeters
from minervas_devnet.site import Site
from minervas_devnet.toml_text import Value, as_toml
from tests.support.network import Network
from tests.support.wait import wait_until

TIMEOUT_S = 60.0


class AddedGateway:
    """The gateway's settings, its bus, and its process.

    Args:
        network: what runs.
        node: whose gateway.
        service: such as ``meter-gateway-2``.
        site: all meters on its bus; the settings may name fewer.
    """

    def __init__(self, network: Network, node: Node, service: str, site: Site) -> None:
        self._network = network
        self._node = node
        self._service = service
        logs = network.consortium.log_dir
        self.meters = SimulatedMeters(f"{node.member}.{service}", node.directory / f"{service}-meters", logs, site)
        self.meters.write_settings()
        self._health_port = free_port()
        command: list[str | Path] = [console_script(PROGRAMS[GATEWAY]), "run", "--config", self._settings_file]
        self.process = ManagedProcess(f"{node.member}.{service}", command, logs / f"{node.member}.{service}.log")

    @property
    def _settings_file(self) -> Path:
        return self._node.directory / f"{self._service}.toml"

    def write_settings(self, meters: Sequence[str]) -> None:
        """Let the gateway read these meters."""
        settings = self.meters.gateway_settings()
        listed = [each for each in _tables(settings["meters"]) if each["id"] in meters]
        tables: dict[str, Value] = {
            "member": self._node.member,
            "service": self._service,
            **settings,
            "meters": listed,
            "paths": {"data": self._service, "enrol": "enrol", "issued": "issued", "secrets": "secrets"},
            "health": {"host": LOOPBACK, "port": self._health_port},
        }
        self._settings_file.write_text(as_toml(tables), encoding="utf-8")

    def join(self) -> None:
        """Ask for the addition, compare fingerprints, approve, and wait until it is installed."""
        node, admission = self._node, self._network.consortium.admission
        command: list[str | Path] = [
            *(console_script("minervas"), "join", "--add", self._service, "--node", node.directory),
            *("--api", f"http://{LOOPBACK}:{node.api_port}", "--token-file", node.directory / "peer" / "api.token"),
        ]
        joining = ManagedProcess(
            f"{node.member}.add", command, self._network.consortium.log_dir / f"{node.member}.add.log"
        )
        joining.start()
        try:
            joining.wait_for(lambda: node.member in admission.pending(), timeout_s=TIMEOUT_S, awaited="to be pending")
            assert admission.pending()[node.member] in joining.output()
            admission.command("approve", "--yes", node.member)
            assert joining.wait_for_exit(timeout_s=TIMEOUT_S) == 0, joining.output()
        finally:
            joining.stop()

    def wait_ready(self) -> None:
        """Wait until it is connected and works."""
        wait_until(lambda: is_status(self._health_port, "ok"), TIMEOUT_S)

    def stop(self) -> None:
        """End gateway and bus."""
        self.process.stop()
        self.meters.process.stop()


def _tables(value: Value) -> list[dict[str, Value]]:
    assert isinstance(value, list)
    return [each for each in value if isinstance(each, dict)]
