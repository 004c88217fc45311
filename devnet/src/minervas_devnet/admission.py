"""The devnet's admission: its settings, its process, and the operator's commands."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import msgspec

from minervas_devnet.options import DevnetOptions
from minervas_devnet.ports import LOOPBACK, free_ports
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_devnet.programs import run_program
from minervas_devnet.toml_text import as_toml
from minervas_runtime.key_files import write_atomic

PROGRAM = "minervas-admission"
READY_TIMEOUT_S = 60.0


class Admission:
    """Admission with its directory.

    Args:
        directory: for everything of it, and for what the broker reads (`export_dir`).
        log_file: of the running service.
        options: genesis parameters and names.
    """

    def __init__(self, directory: Path, log_file: Path, options: DevnetOptions) -> None:
        self.directory = directory
        self.export_dir = directory / "broker-export"
        """CA certificate and revocation list, readable for the broker's system user."""
        self.settings_file = directory / "admission.toml"
        self.passphrase_file = directory / "ca.passphrase"
        self.http_port, self.health_port = free_ports(2)
        self.fingerprint = ""
        """Of the CA, as applicants compare it."""
        self.url = f"https://{LOOPBACK}:{self.http_port}"
        self.process = ManagedProcess(
            "admission", [console_script(PROGRAM), "run", "--config", self.settings_file], log_file, directory=directory
        )
        self._options = options

    def prepare(self, database: NodeDatabase, broker_port: int) -> None:
        """Write settings and passphrase, make CA and genesis, and prepare the database."""
        self.directory.mkdir(mode=0o711, parents=True)
        self.export_dir.mkdir(mode=0o755)
        self.export_dir.chmod(0o755)
        write_atomic(self.passphrase_file, secrets.token_urlsafe(32).encode() + b"\n")
        self._write_settings(database, broker_port)
        said = self.command("init")
        self.fingerprint = next(word for word in said.split() if word.startswith("sha256:"))
        self.command("migrate")

    def command(self, verb: str, *arguments: str | Path) -> str:
        """Run one of the operator's commands and return what it printed.

        Raises:
            ProcessFailed: if it fails.
        """
        return run_program(PROGRAM, verb, "--config", self.settings_file, *arguments)

    def sign_server(self, csr_file: Path, certificate_file: Path) -> None:
        """Have a server's request signed, for the loopback address."""
        self.command(
            "sign-server", "--csr", csr_file, "--dns", "localhost", "--ip", LOOPBACK, "--out", certificate_file
        )

    def pending(self) -> dict[str, str]:
        """Members whose applications wait for a decision, with the fingerprint that both sides compare."""
        listed: list[dict[str, str]] = json.loads(self.command("pending", "--json"))
        return {each["member"]: each["fingerprint"] for each in listed}

    def _write_settings(self, database: NodeDatabase, broker_port: int) -> None:
        options = self._options
        text = as_toml(
            {
                "ca_passphrase_file": self.passphrase_file,
                "consortium": {
                    "name": options.name,
                    "currency": options.currency,
                    "time_zone": options.time_zone,
                    "operator_member": options.operator_member,
                },
                "genesis": msgspec.structs.asdict(options.parameters),
                "paths": {"data": self.directory / "data", "broker_export": self.export_dir},
                "http": {
                    "host": LOOPBACK,
                    "port": self.http_port,
                    "names": [LOOPBACK, "localhost"],
                    "applications_per_minute": 1_000,
                },
                "broker": {"host": LOOPBACK, "port": broker_port},
                "database": {
                    "host": database.host,
                    "port": database.port,
                    "name": database.name,
                    "user": database.writer.user,
                    "password_file": database.writer.password_file,
                },
                "database_owner": {
                    "user": database.owner.user,
                    "password_file": database.owner.password_file,
                },
                "chain": {
                    "confirm_depth": options.confirm_depth,
                    "publish_interval_ms": options.publish_interval_ms,
                },
                "health": {"host": LOOPBACK, "port": self.health_port},
                "log": {"level": options.log_level},
            }
        )
        self.settings_file.write_text(text, encoding="utf-8")
