"""The program: the application, and a server in a thread for tests."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI

from tests.support.grafana_double import (  # each enters its routes
    alerting,
    dashboards,
    datasources,
    folders,
    orgs,
    preferences,
    query,
    serviceaccounts,
    teams,
    users,
)
from tests.support.grafana_double.database import close_connections
from tests.support.grafana_double.pages import add_pages
from tests.support.grafana_double.routing import add_routes
from tests.support.grafana_double.state import VERSION, Grafana
from tests.support.wait import wait_until

PARTS = (alerting, dashboards, datasources, folders, orgs, preferences, query, serviceaccounts, teams, users)


def make_app(grafana: Grafana) -> FastAPI:
    """The whole double as an ASGI application."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    add_pages(app, grafana)
    add_routes(app, grafana)
    return app


class GrafanaDouble:
    """The double in a thread of this process, for the length of a `with` block."""

    def __init__(
        self,
        port: int,
        admin_password: str,
        *,
        admin_user: str = "admin",
        version: str = VERSION,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.state = Grafana(admin_user, admin_password, version)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        config = uvicorn.Config(
            make_app(self.state),
            host="127.0.0.1",
            port=port,
            log_config=None,
            lifespan="off",
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="grafana-double", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive(), describe="the Grafana double")
        if not self._server.started:
            raise RuntimeError(f"the Grafana double could not listen on {self.url}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        close_connections()
