"""Databases and login roles of a devnet's PostgreSQL, as infra/postgres makes them elsewhere.

Every node service with a database gets one of its own with two roles: the *owner*, who migrates and never works, and
the *writer*, who works and cannot change the schema. Nobody else may connect. Whatever tables the owner makes, the
writer may read and write; narrower rights (an append-only table) are the migration's business.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

READERS_SQL = Path(__file__).parents[3] / "infra" / "postgres" / "readers.sql"
"""The set-up of readers, which production runs, too."""


@dataclass(frozen=True, slots=True)
class Login:
    """A login role."""

    user: str
    password_file: Path
    """File of mode 0600 with the password and nothing else."""

    def password(self) -> str:
        """Read the password."""
        return self.password_file.read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True)
class NodeDatabase:
    """A database with its two roles, and where its server is."""

    name: str
    host: str
    """Loopback address; `socket_dir` may be used in its place."""
    port: int
    socket_dir: Path
    owner: Login
    writer: Login

    def conninfo(self, login: Login) -> str:
        """Return the connection string for one of its roles, password included: keep it out of logs."""
        return psycopg.conninfo.make_conninfo(
            host=self.host, port=self.port, dbname=self.name, user=login.user, password=login.password()
        )


def database_name(member: str) -> str:
    """Return the database name of a member; injective, because member ids contain no underscore."""
    return "minervas_" + member.replace("-", "_")


def write_password(path: Path) -> str:
    """Make a password of 192 random bits, write it to a new file of mode 0600 and return it."""
    password = secrets.token_urlsafe(24)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(password + "\n")
    return password


def make_login(connection: psycopg.Connection[tuple[object, ...]], user: str, password_file: Path) -> Login:
    """Create a login role with a new password, sent to the server only as its SCRAM verifier."""
    password = write_password(password_file)
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
            sql.Identifier(user), sql.Literal(verifier)
        )
    )
    return Login(user=user, password_file=password_file)


def make_database(connection: psycopg.Connection[tuple[object, ...]], name: str, owner: Login, writer: Login) -> None:
    """Create a database of `owner` that only the two roles may connect to. The connection is in autocommit mode."""
    names = {"db": sql.Identifier(name), "owner": sql.Identifier(owner.user), "writer": sql.Identifier(writer.user)}
    for statement in (
        "CREATE DATABASE {db} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
        "REVOKE ALL ON DATABASE {db} FROM PUBLIC",
        "GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {writer}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def grant_tables(connection: psycopg.Connection[tuple[object, ...]], owner: Login, writer: Login) -> None:
    """In the connected database, let the writer use whatever tables and sequences the owner makes."""
    names = {"owner": sql.Identifier(owner.user), "writer": sql.Identifier(writer.user)}
    for statement in (
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {writer}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE, SELECT ON SEQUENCES TO {writer}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def make_readers(connection: psycopg.Connection[tuple[object, ...]], writer: Login, access: Login) -> None:
    """In the connected database, the operator's ledger's, let `access` open and close readers; as a superuser.

    `minervas-ledger migrate` then says what they see.
    """
    for name, login in (("minervas.writer", writer), ("minervas.access", access)):
        connection.execute("SELECT set_config(%s, %s, false)", (name, login.user))
    connection.execute(READERS_SQL.read_bytes())
