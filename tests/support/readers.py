"""Readers of a ledger's database, as Grafana's roles are: opened through the functions that admission calls.

readers = Readers(postgres_server, node_database)      # sets readers up, and migrates
with readers.connect("m1") as connection:              # as the login role of member m1
    connection.execute("SELECT ... FROM readings")
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import Login, NodeDatabase
from minervas_ledger.store.connection import Connection
from tests.support.ledger import migrated

OPERATOR = "consortium"
"""Whose role sees everybody's rows."""


class Readers:
    """The readers of one database, which is migrated when this is made."""

    def __init__(self, server: PostgresServer, database: NodeDatabase) -> None:
        self.database = database
        self._passwords: dict[str, tuple[str, str]] = {}
        self.access: Login = server.create_readers(database)
        """Admission's role in this database."""
        migrated(database)

    def open(self, member: str) -> str:
        """Open a member's reader, or the operator's, with a new password; returns the name of its login role."""
        password = secrets.token_urlsafe(24)
        with self.connect_access() as access:
            verifier = access.pgconn.encrypt_password(password.encode(), b"any", b"scram-sha-256").decode()
            row = access.execute("SELECT access.open_reader(%s, %s)", (member, verifier)).fetchone()
        assert row is not None
        self._passwords[member] = str(row[0]), password
        return str(row[0])

    def conninfo(self, member: str) -> str:
        """Connection string of a member's reader, which is opened if this did not open it before."""
        if member not in self._passwords:
            self.open(member)
        user, password = self._passwords[member]
        where = self.database
        return psycopg.conninfo.make_conninfo(
            host=where.host, port=where.port, dbname=where.name, user=user, password=password
        )

    @contextmanager
    def connect(self, member: str) -> Iterator[Connection]:
        """A connection in autocommit mode as a member's reader, like one of Grafana's."""
        with psycopg.connect(self.conninfo(member), autocommit=True) as connection:
            yield connection

    @contextmanager
    def connect_access(self) -> Iterator[Connection]:
        """A connection as admission's role."""
        with psycopg.connect(self.database.conninfo(self.access), autocommit=True) as connection:
            yield connection
