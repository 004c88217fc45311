"""Queries of data sources, on the real PostgreSQL: connections are kept, as Grafana's pool keeps them.

What a query leaves behind on a connection (`set_config`, `SET`) meets the next query of that data source, as it does
in Grafana. Every result set of a text with several statements is given back, so nothing that leaked stays hidden.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from tests.support.grafana_double.state import DataSource

CONNECT_TIMEOUT_S = 10
ROW_LIMIT = 1_000_000
_FILES = {
    "sslrootcert": ("sslRootCertFile", "tlsCACert"),
    "sslcert": ("sslCertFile", "tlsClientCert"),
    "sslkey": ("sslKeyFile", "tlsClientKey"),
}


class DatabaseError(Exception):
    """What PostgreSQL said."""


@dataclass(frozen=True)
class ResultSet:
    """The answer to one statement: names and type numbers of the columns, and the rows."""

    columns: list[tuple[str, int]]
    rows: list[tuple[Any, ...]]


_idle: dict[tuple[int, int], list[psycopg.Connection[Any]]] = {}
_lock = threading.Lock()


def run(source: DataSource, sql: str) -> list[ResultSet]:
    """Run any SQL under the data source's credentials; raises DatabaseError."""
    with _lock:
        kept = bool(_idle.get((source.id, source.version)))
    try:
        try:
            return _run(source, sql)
        except psycopg.OperationalError:
            if not kept:
                raise
            _forget(source)  # its connections were cut meanwhile: once more, on a new one
            return _run(source, sql)
    except psycopg.Error as error:
        raise DatabaseError(str(error).strip()) from error


def check_connection(source: DataSource) -> None:
    """Connect and ask for a number; raises DatabaseError."""
    run(source, "SELECT 1")


def close_connections() -> None:
    """Close everything that is kept."""
    with _lock:
        kept = [connection for connections in _idle.values() for connection in connections]
        _idle.clear()
    for connection in kept:
        connection.close()


def _run(source: DataSource, sql: str) -> list[ResultSet]:
    with _connection(source) as connection, connection.cursor() as cursor:
        cursor.execute(sql.encode())
        results = []
        while True:
            if cursor.description is not None:
                columns = [(column.name, column.type_code) for column in cursor.description]
                results.append(ResultSet(columns, cursor.fetchmany(ROW_LIMIT)))
            if not cursor.nextset():
                return results


@contextmanager
def _connection(source: DataSource) -> Iterator[psycopg.Connection[Any]]:
    key = (source.id, source.version)
    with _lock:
        kept = _idle.get(key)
        connection = kept.pop() if kept else None
    connection = connection or _connect(source)
    try:
        yield connection
    finally:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            with _lock:
                _idle.setdefault(key, []).append(connection)
        else:
            connection.close()


def _forget(source: DataSource) -> None:
    with _lock:
        kept = _idle.pop((source.id, source.version), [])
    for connection in kept:
        connection.close()


def _connect(source: DataSource) -> psycopg.Connection[Any]:
    more: dict[str, Any] = source.body["jsonData"]
    host, _, port = str(source.body["url"]).removeprefix("postgres://").rpartition(":")
    with tempfile.TemporaryDirectory(prefix="grafana-double-") as folder:
        options = {
            "host": host,
            "port": int(port),
            "user": source.body["user"],
            "dbname": more.get("database") or source.body["database"],
            "password": source.secrets.get("password", ""),
            "sslmode": more.get("sslmode", "verify-full"),
            "application_name": "Grafana",
            "connect_timeout": CONNECT_TIMEOUT_S,
            **_certificates(source, Path(folder)),
        }
        return psycopg.connect(**options, autocommit=True)


def _certificates(source: DataSource, folder: Path) -> dict[str, str]:
    files = {}
    for option, (file_setting, secret) in _FILES.items():
        path = str(source.body["jsonData"].get(file_setting) or "")
        if not path and source.secrets.get(secret):
            written = folder / option
            written.touch(mode=0o600)
            written.write_text(source.secrets[secret])
            path = str(written)
        if path:
            files[option] = path
    return files
