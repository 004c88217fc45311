"""Readers of the operator's ledger database: opened and closed by its functions (infra/postgres/readers.sql).

The role that admission has there may call these functions and nothing else: it can neither read nor write a table.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from minervas_admission.settings import DatabaseSettings
from minervas_admission.store.database import Connection, connect, database_away
from minervas_core.errors import Code, LocalFault

APPLICATION = "minervas-admission readers"
NOT_SET_UP = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName)


@dataclass(frozen=True, slots=True)
class OpenedReader:
    """A reader with the password that it got just now; it is nowhere else."""

    role: str
    password: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"OpenedReader(role={self.role!r})"


@dataclass(frozen=True, slots=True)
class ReaderRoles:
    """The readers of one database. A connection is opened for each work: there is little of it.

    Raises (all methods):
        TransientFault: ``database_away``.
        LocalFault: ``bad_settings`` if the database has no readers, or our role may not open them.
    """

    settings: DatabaseSettings

    async def open(self, member: str) -> OpenedReader:
        """Open a member's reader, or the operator's (`consortium`), with a new password."""
        password = secrets.token_urlsafe(32)
        async with self._connected() as connection:
            # The server gets the verifier only, so the password stands in none of its logs.
            verifier = connection.pgconn.encrypt_password(password.encode(), b"reader", b"scram-sha-256").decode()
            cursor = await connection.execute("SELECT access.open_reader(%s, %s)", (member, verifier))
            row = await cursor.fetchone()
        return OpenedReader(str(row[0]) if row else "", password)

    async def close(self, member: str) -> int:
        """Close a member's reader, if there is one, and end its sessions; returns how many there were."""
        async with self._connected() as connection:
            await connection.execute("SELECT access.close_reader(%s)", (member,))
            cursor = await connection.execute("SELECT access.end_sessions(%s)", (member,))
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def open_members(self) -> dict[str, str]:
        """The role of each member whose reader is open."""
        async with self._connected() as connection:
            cursor = await connection.execute("SELECT member, role FROM access.list_readers() WHERE open")
            return {str(member): str(role) for member, role in await cursor.fetchall()}

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await connect(self.settings, application=APPLICATION)
        try:
            yield connection
        except NOT_SET_UP as error:
            raise LocalFault(
                Code.BAD_SETTINGS,
                "This database has no readers, or not for this role; run readers.sql there, and migrate the ledger",
                name=self.settings.name,
                user=self.settings.user,
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise database_away(self.settings, error) from error
        finally:
            await connection.close()
