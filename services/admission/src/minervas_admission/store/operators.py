"""Operators who log in with a browser, and their sessions, in the database."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from minervas_admission.store.database import Connection

MAX_SESSIONS = 20
"""Sessions of one account; the oldest ends when there is one more."""


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """An operator account."""

    name: str
    password_hash: str
    must_change: bool
    """Nothing else can be done before the password is changed."""
    created_ms: int
    changed_ms: int
    """When the password was last set."""
    last_login_ms: int | None
    disabled_ms: int | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session."""

    token_hash: str
    operator: str
    created_ms: int
    seen_ms: int


async def insert_operator(connection: Connection, name: str, password_hash: str, now_ms: int) -> bool:
    """Store a new account whose password must be changed; False if the name is taken."""
    cursor = await connection.execute(
        """
        INSERT INTO operators (name, password_hash, must_change, created_ms, changed_ms)
        VALUES (%s, %s, true, %s, %s) ON CONFLICT DO NOTHING
        """,
        (name, password_hash, now_ms, now_ms),
    )
    return cursor.rowcount == 1


async def find_operator(connection: Connection, name: str) -> OperatorRow | None:
    """An account by its name."""
    async with connection.cursor(row_factory=class_row(OperatorRow)) as cursor:
        await cursor.execute("SELECT * FROM operators WHERE name = %s", (name,))
        return await cursor.fetchone()


async def lock_operator(connection: Connection, name: str) -> OperatorRow | None:
    """An account by its name, kept from being changed by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(OperatorRow)) as cursor:
        await cursor.execute("SELECT * FROM operators WHERE name = %s FOR UPDATE", (name,))
        return await cursor.fetchone()


async def lock_operators(connection: Connection) -> list[OperatorRow]:
    """All accounts by name, kept from being changed by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(OperatorRow)) as cursor:
        await cursor.execute("SELECT * FROM operators ORDER BY name FOR UPDATE")
        return await cursor.fetchall()


async def all_operators(connection: Connection) -> list[OperatorRow]:
    """All accounts by name."""
    async with connection.cursor(row_factory=class_row(OperatorRow)) as cursor:
        await cursor.execute("SELECT * FROM operators ORDER BY name")
        return await cursor.fetchall()


async def set_password(
    connection: Connection, name: str, password_hash: str, now_ms: int, *, must_change: bool
) -> None:
    """Store a new password and end all sessions."""
    await connection.execute(
        "UPDATE operators SET password_hash = %s, must_change = %s, changed_ms = %s WHERE name = %s",
        (password_hash, must_change, now_ms, name),
    )
    await end_sessions(connection, name)


async def replace_hash(connection: Connection, name: str, password_hash: str) -> None:
    """Store the hash of the same password under newer parameters."""
    await connection.execute("UPDATE operators SET password_hash = %s WHERE name = %s", (password_hash, name))


async def set_disabled(connection: Connection, name: str, disabled_ms: int | None) -> None:
    """Close an account and end its sessions, or open it again (None)."""
    await connection.execute("UPDATE operators SET disabled_ms = %s WHERE name = %s", (disabled_ms, name))
    await end_sessions(connection, name)


async def record_login(connection: Connection, name: str, now_ms: int) -> None:
    """Record when somebody logged in."""
    await connection.execute("UPDATE operators SET last_login_ms = %s WHERE name = %s", (now_ms, name))


async def insert_session(connection: Connection, token_hash: str, operator: str, now_ms: int) -> None:
    """Store a new session; the oldest ones beyond the limit end."""
    await connection.execute(
        "INSERT INTO operator_sessions (token_hash, operator, created_ms, seen_ms) VALUES (%s, %s, %s, %s)",
        (token_hash, operator, now_ms, now_ms),
    )
    await connection.execute(
        """
        DELETE FROM operator_sessions WHERE token_hash IN (
            SELECT token_hash FROM operator_sessions WHERE operator = %s ORDER BY seen_ms DESC, token_hash OFFSET %s)
        """,
        (operator, MAX_SESSIONS),
    )


async def find_session(connection: Connection, token_hash: str) -> SessionRow | None:
    """A session by the hash of its token."""
    async with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
        await cursor.execute("SELECT * FROM operator_sessions WHERE token_hash = %s", (token_hash,))
        return await cursor.fetchone()


async def touch_session(connection: Connection, token_hash: str, now_ms: int) -> None:
    """Record that the operator does something."""
    await connection.execute("UPDATE operator_sessions SET seen_ms = %s WHERE token_hash = %s", (now_ms, token_hash))


async def end_session(connection: Connection, token_hash: str) -> None:
    """End one session."""
    await connection.execute("DELETE FROM operator_sessions WHERE token_hash = %s", (token_hash,))


async def end_sessions(connection: Connection, operator: str) -> None:
    """End all sessions of an account."""
    await connection.execute("DELETE FROM operator_sessions WHERE operator = %s", (operator,))


async def sweep_sessions(connection: Connection, *, seen_before_ms: int, created_before_ms: int) -> None:
    """Delete sessions that are over."""
    await connection.execute(
        "DELETE FROM operator_sessions WHERE seen_ms < %s OR created_ms < %s", (seen_before_ms, created_before_ms)
    )
