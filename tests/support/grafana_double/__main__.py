"""`python -m tests.support.grafana_double --listen 127.0.0.1:3000 --admin-password-file FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from tests.support.grafana_double.server import make_app
from tests.support.grafana_double.state import VERSION, Grafana


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="grafana_double", description="Test double of the Grafana HTTP API.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--admin-user", default="admin")
    parser.add_argument("--admin-password-file", required=True, type=Path)
    parser.add_argument("--version", default=VERSION, help="the version of Grafana that it reports")
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    grafana = Grafana(given.admin_user, given.admin_password_file.read_text().strip(), given.version)
    uvicorn.run(
        make_app(grafana),
        host=host,
        port=int(port),
        log_level="warning",
        lifespan="off",
        ssl_certfile=given.tls_certificate,
        ssl_keyfile=given.tls_key,
    )


if __name__ == "__main__":
    main()
