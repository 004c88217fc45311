"""One member's node: its directory, its settings files, and its services as processes.

The directory is laid out as a container's volumes would be. The services start before the member is admitted, as they
do anywhere: each makes its keys, hands in its enrolment, and waits until `minervas join` has installed what the
consortium issued.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from minervas_devnet.api_client import NodeApi
from minervas_devnet.health import health, is_status, metric
from minervas_devnet.market_api import MarketApi
from minervas_devnet.options import GATEWAY, SERVICES, DevnetOptions
from minervas_devnet.ports import LOOPBACK, free_port, free_ports
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_devnet.programs import run_program, try_program
from minervas_devnet.proxy import TcpProxy
from minervas_devnet.simulated_meters import SimulatedMeters
from minervas_devnet.toml_text import Value, as_toml

ENROL_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 90.0

READINGS_PULL_S = 2
"""How often the operator's ledger looks for readings that it missed: short, because networks here live for minutes."""
DATABASE = "database"
"""Name of the proxy between a ledger and PostgreSQL."""

PROGRAMS = {service: f"minervas-{service}" for service in (*SERVICES, GATEWAY)}


class Tip(NamedTuple):
    """Head of a ledger's best chain."""

    height: int
    hash: str


class Node:
    """A member's node below a directory.

    Args:
        member: member id.
        directory: for everything of the node but its database.
        log_dir: where each service gets its log file.
        database: the ledger's.
        broker_port: of the broker, on loopback.
        options: of the devnet.
        replaces: the member's node that was lost; its meters go on.
    """

    def __init__(
        self,
        member: str,
        directory: Path,
        *,
        log_dir: Path,
        database: NodeDatabase,
        broker_port: int,
        options: DevnetOptions,
        replaces: Node | None = None,
    ) -> None:
        self.member = member
        self.name = directory.name
        self.replaces = replaces
        self.directory = directory
        self.database = database
        self.api_port = free_port()
        self.api = NodeApi(f"http://{LOOPBACK}:{self.api_port}")
        self.market = MarketApi(self.api, directory / "peer" / "api.token")
        names = options.services_of(member)
        self.health_ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.proxies = {
            name: TcpProxy(LOOPBACK, database.port if name == DATABASE else broker_port, name=f"{member}.{name}")
            for name in sorted(options.proxied & {*names, DATABASE})
        }
        """Between a service and the broker, by service; and between the ledger and PostgreSQL (`DATABASE`)."""
        self.services = {service: self._process(service, log_dir) for service in names}
        """The services' processes by name."""
        site = options.sites.get(member)
        own = SimulatedMeters(member, directory / "meters", log_dir, site) if site else None
        self.meters: SimulatedMeters | None = replaces.meters if replaces else own
        """What it meters; None for a mere consumer."""
        self._log_dir = log_dir
        self._options = options

    def settings_file(self, service: str) -> Path:
        """Settings file of one service."""
        return self.directory / f"{service}.toml"

    def write_settings(self) -> None:
        """Make the directory and the services' settings files."""
        self.directory.mkdir(mode=0o700, parents=True)
        if self.meters and not self.replaces:
            self.meters.write_settings()
        for service in self.services:
            self.settings_file(service).write_text(self._settings(service), encoding="utf-8")

    def migrate(self) -> None:
        """Make the ledger's tables."""
        run_program(PROGRAMS["ledger"], "migrate", "--config", self.settings_file("ledger"))

    def start(self) -> None:
        """Start proxies and services, as far as they do not run, without waiting for them."""
        for proxy in self.proxies.values():
            proxy.start()
        if self.meters:
            self.meters.process.start()
        for process in self.services.values():
            process.start()

    def wait_enrolled(self) -> None:
        """Wait until every service has handed in its enrolment."""
        for service, process in self.services.items():
            file = self.directory / "enrol" / f"{service}.json"
            process.wait_for(file.exists, timeout_s=ENROL_TIMEOUT_S, awaited="its enrolment")

    def wait_ready(self) -> None:
        """Wait until every service is connected and works."""
        for service, process in self.services.items():
            is_ready = partial(is_status, self.health_ports[service], "ok")
            process.wait_for(is_ready, timeout_s=READY_TIMEOUT_S, awaited="to be healthy")

    def join_process(self, admission_url: str, fingerprint: str) -> ManagedProcess:
        """Return the command with which the member applies and then waits for the operator's decision."""
        command: list[str | Path] = [
            *(console_script("minervas"), "join", admission_url, "--ca-fingerprint", fingerprint),
            *("--member", self.member, "--name", self.member, "--contact", f"post@{self.member}.example"),
            *("--node", self.directory, "--accept-visibility"),
            *(["--gateway"] if self.meters else []),
            *(["--replace"] if self.replaces else []),
        ]
        return ManagedProcess(f"{self.name}.join", command, self._log_dir / f"{self.name}.join.log")

    def stop_services(self) -> None:
        """Stop the services, the one that others need last."""
        for process in reversed(self.services.values()):
            process.stop()

    def stop(self) -> None:
        """Stop the services and end the proxies, for good."""
        if self.meters:
            self.meters.process.stop()
        self.lose()

    def lose(self) -> None:
        """Stop everything but the meters, which go on counting, for good."""
        self.stop_services()
        for proxy in self.proxies.values():
            proxy.stop()
        self.api.close()

    def cut(self, *services: str) -> None:
        """Cut services off from the broker, or the ledger from its database (`DATABASE`); all if none is named."""
        for service in services or self.proxies:
            self.proxies[service].cut()

    def restore(self, *services: str) -> None:
        """Join again what was cut; all if none is named."""
        for service in services or self.proxies:
            self.proxies[service].restore()

    def tip(self) -> Tip | None:
        """The tip that the ledger itself tells, also while its peer is cut off; None while it does not answer."""
        said = health(self.health_ports["ledger"])
        return Tip(said["height"], said["tip"]) if "tip" in said else None

    def ledger_metric(self, name: str) -> int:
        """A metric of the ledger; -1 while it does not answer."""
        return int(metric(self.health_ports["ledger"], name))

    def audit(self) -> tuple[bool, str]:
        """Replay the chain out of the database; whether everything in it follows, and what the audit said."""
        done = try_program(PROGRAMS["ledger"], "audit", "--config", self.settings_file("ledger"))
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def _process(self, service: str, log_dir: Path) -> ManagedProcess:
        command: list[str | Path] = [console_script(PROGRAMS[service]), "run", "--config", self.settings_file(service)]
        log_file = log_dir / f"{self.name}.{service}.log"
        return ManagedProcess(f"{self.name}.{service}", command, log_file, directory=log_dir)

    def _settings(self, service: str) -> str:
        tables: dict[str, Value] = {
            "paths": {"data": service, "enrol": "enrol", "issued": "issued", "secrets": "secrets"},
            "health": {"host": LOOPBACK, "port": self.health_ports[service]},
            "log": {"level": self._options.log_level},
        }
        if service in self.proxies:
            tables["broker"] = {"host": LOOPBACK, "port": self.proxies[service].port}
        match service:
            case "peer":
                tables["api"] = {"host": LOOPBACK, "port": self.api_port}
            case "ledger":
                tables["database"] = self._database_settings()
                owner = self.database.owner
                tables["database_owner"] = {"user": owner.user, "password_file": owner.password_file}
            case "miner":
                tables["search"] = {"nice": self._options.miner_nice}
        return as_toml({"member": self.member, **self._top_settings(service), **tables})

    def _top_settings(self, service: str) -> dict[str, Value]:
        """What one service is told besides the tables that all have."""
        if service == GATEWAY and self.meters:
            return self.meters.gateway_settings()
        if service == "ledger" and self.member == self._options.operator_member:
            return {"readings": "all", "readings_pull_s": READINGS_PULL_S}
        return {}

    def _database_settings(self) -> dict[str, Value]:
        writer = self.database.writer
        return {
            "host": self.database.host,
            "port": self.proxies[DATABASE].port if DATABASE in self.proxies else self.database.port,
            "name": self.database.name,
            "user": writer.user,
            "password_file": writer.password_file,
        }
