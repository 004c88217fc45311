"""Membership transactions in the database, numbered in the order of signing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import kwargs_row

from minervas_admission.store.database import Connection

ALIVE = ("open", "settled")
"""States of a transaction that is or may come into a block."""

KEY_ACTIONS = ("admit", "rotate", "recover")
"""Actions that say which service keys a member has."""

ENDINGS = ("revoke", "leave")
"""Actions that end a membership."""


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A membership transaction and where it stands."""

    number: int
    id: str
    member: str
    """Whom it is about; empty if it is about the consortium."""
    action: str
    """Tag of the change, or type of a transaction that is about the consortium."""
    decision: int
    """0 if none of ours: another key of the authority."""
    raw: bytes
    expires_height: int
    signed_ms: int
    state: str
    """open, settled, expired, or moot."""
    height: int
    """Block that carries it; 0 if none does."""
    depth: int

    def described(self) -> str:
        """What a step that signed it shows."""
        return f"number {self.number}, id {self.id}, valid to height {self.expires_height}"


def _read(*, member: str | None, decision: int | None, **columns: Any) -> TransactionRow:
    return TransactionRow(member=member or "", decision=decision or 0, **columns)


async def next_number(connection: Connection) -> int:
    """The number of the next transaction; no other transaction can be numbered until the end of ours."""
    await connection.execute("LOCK TABLE membership_transactions IN SHARE ROW EXCLUSIVE MODE")
    cursor = await connection.execute("SELECT coalesce(max(number) + 1, 0) FROM membership_transactions")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert_transaction(connection: Connection, row: TransactionRow) -> None:
    """Store a transaction that was just signed."""
    await connection.execute(
        """
        INSERT INTO membership_transactions
            (number, id, member, action, decision, raw, expires_height, signed_ms, state)
        VALUES (%s, %s, nullif(%s, ''), %s, nullif(%s, 0), %s, %s, %s, 'open')
        """,
        (row.number, row.id, row.member, row.action, row.decision, row.raw, row.expires_height, row.signed_ms),
    )


async def transactions_from(connection: Connection, number: int, limit: int) -> tuple[list[bytes], int]:
    """Transactions from a number on, in order, and how many there are in all."""
    cursor = await connection.execute(
        "SELECT raw FROM membership_transactions WHERE number >= %s ORDER BY number LIMIT %s", (number, limit)
    )
    found = [bytes(raw) for (raw,) in await cursor.fetchall()]
    cursor = await connection.execute("SELECT count(*) FROM membership_transactions")
    row = await cursor.fetchone()
    return found, int(row[0]) if row else 0


async def find_transaction(connection: Connection, transaction_id: str) -> TransactionRow | None:
    """A transaction by its id."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute("SELECT * FROM membership_transactions WHERE id = %s", (transaction_id,))
        return await cursor.fetchone()


async def open_transactions(connection: Connection) -> list[TransactionRow]:
    """Transactions that are not settled yet, in order."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute("SELECT * FROM membership_transactions WHERE state = 'open' ORDER BY number")
        return await cursor.fetchall()


async def lock_open_transaction(connection: Connection, number: int) -> TransactionRow | None:
    """A transaction, kept from being changed by others until the end of ours; None if it is not open any more."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute(
            "SELECT * FROM membership_transactions WHERE number = %s AND state = 'open' FOR UPDATE", (number,)
        )
        return await cursor.fetchone()


async def transactions_of_member(connection: Connection, member: str) -> list[TransactionRow]:
    """All transactions about a member, in order."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute("SELECT * FROM membership_transactions WHERE member = %s ORDER BY number", (member,))
        return await cursor.fetchall()


async def transactions_of_decision(connection: Connection, decision_id: int) -> list[TransactionRow]:
    """All transactions that a decision led to, in order; one that expired may have a successor."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute(
            "SELECT * FROM membership_transactions WHERE decision = %s ORDER BY number", (decision_id,)
        )
        return await cursor.fetchall()


async def waits_for_chain(connection: Connection, decision_id: int) -> bool:
    """Whether a decision has a transaction that is not settled."""
    cursor = await connection.execute(
        "SELECT count(*) FROM membership_transactions WHERE decision = %s AND state = 'open'", (decision_id,)
    )
    row = await cursor.fetchone()
    return row is not None and row[0] > 0


async def parameter_transactions(connection: Connection) -> list[TransactionRow]:
    """The changes of parameters that are or may come on chain: first what blocks carry, in their order."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute(
            """
            SELECT * FROM membership_transactions WHERE action = 'parameters' AND state IN ('open', 'settled')
            ORDER BY height = 0, height, CASE height WHEN 0 THEN number ELSE 0 END, id
            """
        )
        return await cursor.fetchall()


async def newest_transaction(connection: Connection) -> TransactionRow | None:
    """The transaction that was signed last."""
    async with connection.cursor(row_factory=kwargs_row(_read)) as cursor:
        await cursor.execute("SELECT * FROM membership_transactions ORDER BY number DESC LIMIT 1")
        return await cursor.fetchone()


async def authority_changes(connection: Connection) -> list[bytes]:
    """The changes of the authority's key that are or may get on chain, in order."""
    cursor = await connection.execute(
        "SELECT raw FROM membership_transactions WHERE action = 'authority' AND state <> 'expired' ORDER BY number"
    )
    return [bytes(raw) for (raw,) in await cursor.fetchall()]


async def set_transaction_place(
    connection: Connection, number: int, *, state: str, height: int = 0, depth: int = 0
) -> None:
    """Record where a transaction stands."""
    await connection.execute(
        "UPDATE membership_transactions SET state = %s, height = %s, depth = %s WHERE number = %s",
        (state, height, depth, number),
    )


async def operator_tip(connection: Connection) -> int:
    """Height of the operator member's chain as last reported; 0 if it never was."""
    cursor = await connection.execute("SELECT height FROM operator_tip")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def set_operator_tip(connection: Connection, height: int, reported_ms: int) -> None:
    """Record the height of the operator member's chain."""
    await connection.execute("UPDATE operator_tip SET height = %s, reported_ms = %s", (height, reported_ms))
