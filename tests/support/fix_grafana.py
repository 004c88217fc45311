"""Fixture: Grafana's HTTP API, by the test double or, where MINERVAS_GRAFANA_URL names one, by a real Grafana.

MINERVAS_GRAFANA_PASSWORD_FILE then names a file with the password of the server admin (MINERVAS_GRAFANA_USER, else
`admin`). Tests use names of their own, so that they can run again on the same server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minervas_devnet.ports import free_port
from tests.support.grafana_double.server import GrafanaDouble
from tests.support.grafana_double.state import Grafana

ADMIN_PASSWORD = "grafana-admin-of-the-tests"  # noqa: S105 - of a server that lives as long as a test file


@dataclass(frozen=True)
class GrafanaServer:
    """A running Grafana, or its double."""

    url: str
    """Without a slash at its end."""
    admin_user: str
    admin_password: str
    password_file: Path
    state: Grafana | None
    """What the double knows; None for a real Grafana."""


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrafanaServer]:
    """One for all tests of a file; an empty one where it is the double."""
    real = os.environ.get("MINERVAS_GRAFANA_URL")
    if real:
        file = Path(os.environ["MINERVAS_GRAFANA_PASSWORD_FILE"])
        user = os.environ.get("MINERVAS_GRAFANA_USER", "admin")
        yield GrafanaServer(real.rstrip("/"), user, file.read_text().strip(), file, None)
        return
    file = tmp_path_factory.mktemp("grafana") / "admin-password"
    file.touch(mode=0o600)
    file.write_text(ADMIN_PASSWORD)
    with GrafanaDouble(free_port(), ADMIN_PASSWORD) as double:
        yield GrafanaServer(double.url, "admin", ADMIN_PASSWORD, file, double.state)
