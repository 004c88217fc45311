"""One compose project of the test: the operator's, or a member's, each as on a host of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from minervas_devnet.api_client import NodeApi
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = "docker-compose.yml"
OVERLAY = "tests/compose/overlay.yaml"
GRAFANA_DOUBLE = "tests/compose/grafana-double.yaml"
COMMAND_S = 600.0
"""A command of compose that takes so long hangs."""
GREEN_S = 420.0
"""How long to wait for healthy containers on a machine that does much else."""


class CommandFailed(AssertionError):
    """A command ended with another status than 0; the message has its output."""


def run(*command: str | Path, timeout_s: float = COMMAND_S, environment: Mapping[str, str] | None = None) -> str:
    """Run a command in the repository and return its standard output.

    Raises:
        CommandFailed: if it fails.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout_s,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@dataclass
class Project:
    """Containers, volumes and networks under one name.

    Args:
        name: of the project.
        env_file: its ``.env``, filled in.
        member: whose node it is.
        console_port: of the node's API on this machine.
        overlays: compose files on top of the project's own.
    """

    name: str
    env_file: Path
    member: str
    console_port: int
    overlays: tuple[str, ...] = (OVERLAY,)
    api: NodeApi = field(init=False)

    def __post_init__(self) -> None:
        self.api = NodeApi(f"http://127.0.0.1:{self.console_port}")

    def compose(self, *arguments: str | Path, timeout_s: float = COMMAND_S) -> str:
        """Run docker compose for this project."""
        files = [part for file in (COMPOSE_FILE, *self.overlays) for part in ("--file", file)]
        prefix: tuple[str | Path, ...] = (
            "docker",
            "compose",
            "--project-name",
            self.name,
            "--env-file",
            self.env_file,
            *files,
        )
        return run(*prefix, *arguments, timeout_s=timeout_s)

    def exec(self, service: str, *command: str) -> str:
        """Run a command in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def containers(self, *, all_of_them: bool = True) -> dict[str, dict[str, Any]]:
        """What `docker inspect` says of each service's container."""
        ids = run(
            "docker", "ps", "--quiet", "--no-trunc", *(["--all"] if all_of_them else []),
            "--filter", f"label=com.docker.compose.project={self.name}",
        ).split()  # fmt: skip
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *ids)) if ids else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def states(self) -> dict[str, str]:
        """State of each service's container: ``healthy``, ``starting``, ``unhealthy``, ``done``, or its status."""
        return {service: _state(each) for service, each in self.containers().items()}

    def is_green(self) -> bool:
        """Whether everything runs and is healthy (it may wait for approval), and what runs once has ended well."""
        states = self.states()
        return bool(states) and set(states.values()) <= {"healthy", "done", "running"}

    def wait_green(self) -> None:
        """Wait for that."""
        wait_until(self.is_green, timeout=GREEN_S, describe=lambda: f"{self.name}: {self.states()}")

    def services(self) -> list[str]:
        """Services that go on running."""
        return sorted(service for service, state in self.states().items() if state == "healthy")

    def crash(self, *services: str) -> None:
        """Kill containers' processes as the kernel would, and wait until restart policies have brought them back."""
        before = {service: each["State"] for service, each in self.containers().items() if service in services}
        for state in before.values():
            os.kill(int(state["Pid"]), signal.SIGKILL)
        for service, state in before.items():
            wait_until(
                partial(self._came_back, service, state["StartedAt"]),
                timeout=GREEN_S,
                describe=lambda: f"{self.name}: {services} to come back: {self.states()}",
            )

    def _came_back(self, service: str, started_before: str) -> bool:
        container = self.containers()[service]
        return container["State"]["StartedAt"] != started_before and _state(container) == "healthy"

    def container_name(self, service: str) -> str:
        """Name of a service's container."""
        return str(self.containers()[service]["Name"]).lstrip("/")

    def volume(self, name: str) -> str:
        """Full name of a volume."""
        return f"{self.name}_{name}"

    def logs(self) -> str:
        """The end of what all containers said."""
        return self.compose("logs", "--no-color", "--tail", "60")

    def remove(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "--volumes", "--timeout", "10", "--remove-orphans")


def _state(container: dict[str, Any]) -> str:
    state = container["State"]
    if state["Status"] == "exited" and state["ExitCode"] == 0:
        return "done"
    if state["Status"] != "running":
        return f"{state['Status']} ({state['ExitCode']})"
    return str(state.get("Health", {}).get("Status", "running"))


def say(text: str) -> None:
    """Show a line at once (pytest -s)."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Steps:
    """Prints what the test does and how long it took."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.taken: list[tuple[str, float]] = []

    def done(self, text: str) -> None:
        """A step that held."""
        now = time.monotonic()
        self.taken.append((text, now - self._last))
        say(f"  {now - self._last:7.1f} s  {text}")
        self._last = now

    def total_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began
