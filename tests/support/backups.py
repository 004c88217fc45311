"""Hosts that are backed up and restored in tests: directories, a database of a member, and the settings for both."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from minervas_devnet.postgres import SUPERUSER, PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.backup import sealed_file
from minervas_runtime.backup.settings import BackupSettings, KeptDatabase, KeptDirectory

PASSPHRASE = b"correct horse battery staple"
CHEAP = 4
"""A cost of scrypt that does not slow tests down."""


def kept_database(server: PostgresServer, database: NodeDatabase) -> KeptDatabase:
    """How a backup reaches a database: as the superuser of the server."""
    return KeptDatabase(
        host=database.host, port=database.port, name=database.name, user=SUPERUSER, password_file=server.password_file
    )


@dataclass(frozen=True)
class NodeHost:
    """The private directories of a node, with a database if it has one."""

    root: Path
    databases: dict[str, KeptDatabase]
    owner: str = "alpha"

    @property
    def settings(self) -> BackupSettings:
        """What is kept."""
        names = ("peer", "ledger", "meter-gateway")
        return BackupSettings(
            kind="node",
            owner=self.owner,
            directories={name: KeptDirectory(path=self.root / name) for name in names},
            databases=self.databases,
        )

    def fill(self) -> dict[str, bytes]:
        """Put secrets into the directories; returns what is to be kept, by path."""
        files = {
            "peer/wallet.key": secrets.token_bytes(64),
            "peer/old/wallet-1.key": secrets.token_bytes(64),
            "peer/empty": b"",
            "ledger/archive/large.gz": secrets.token_bytes(3 * sealed_file.CHUNK_BYTES + 7),
            "meter-gateway/gateway.key": secrets.token_bytes(64),
        }
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o600)
        (self.root / "peer/old").chmod(0o500 if os.geteuid() else 0o710)
        return files

    def elsewhere(self, root: Path) -> NodeHost:
        """An empty host for the same parts."""
        return replace(self, root=root)


def drop_database(server: PostgresServer, database: NodeDatabase, *, with_roles: bool = True) -> None:
    """Lose a database and its roles, as with the host; roles that own others, too, have to stay."""
    with psycopg.connect(server.superuser_conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))
        for login in (database.owner, database.writer) if with_roles else ():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login.user)))
