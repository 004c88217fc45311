"""Filled-in forms in the database, by the hash of their one-time token."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from minervas_admission.store.database import Connection


@dataclass(frozen=True, slots=True)
class FormRow:
    """A form and what became of it."""

    token_hash: str
    member: str
    content: bytes | None
    """None once an application has it, or the token has expired."""
    remote_address: str
    made_ms: int
    expires_ms: int
    application: str | None
    """The application that brought the token."""


async def insert_form(connection: Connection, row: FormRow) -> None:
    """Store a form that was just filled in."""
    await connection.execute(
        """
        INSERT INTO application_forms (token_hash, member, content, remote_address, made_ms, expires_ms)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (row.token_hash, row.member, row.content, row.remote_address, row.made_ms, row.expires_ms),
    )


async def lock_form(connection: Connection, token_hash: str) -> FormRow | None:
    """A form, kept from being used by others until the end of the transaction."""
    async with connection.cursor(row_factory=class_row(FormRow)) as cursor:
        await cursor.execute("SELECT * FROM application_forms WHERE token_hash = %s FOR UPDATE", (token_hash,))
        return await cursor.fetchone()


async def set_form_used(connection: Connection, token_hash: str, application_id: str) -> None:
    """Record that an application has brought the token; what was filled in is kept there only."""
    await connection.execute(
        "UPDATE application_forms SET application = %s, content = NULL, remote_address = '' WHERE token_hash = %s",
        (application_id, token_hash),
    )


async def count_waiting_forms(connection: Connection, now_ms: int) -> int:
    """How many forms wait for their application."""
    cursor = await connection.execute(
        "SELECT count(*) FROM application_forms WHERE application IS NULL AND expires_ms > %s", (now_ms,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def forget_old_forms(connection: Connection, now_ms: int, remembered_ms: int) -> None:
    """Forget what was filled in when its token has expired, and some time later that there was a form."""
    await connection.execute(
        """
        UPDATE application_forms SET content = NULL, remote_address = '' WHERE content IS NOT NULL AND expires_ms <= %s
        """,
        (now_ms,),
    )
    await connection.execute("DELETE FROM application_forms WHERE expires_ms < %s", (now_ms - remembered_ms,))
