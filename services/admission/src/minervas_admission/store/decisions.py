"""The operator's decisions and the steps by which the service carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from minervas_admission.store.database import Connection

DECISION_CHANNEL = "minervas_admission_decision"
"""Notified when a decision was made."""
PROGRESS_CHANNEL = "minervas_admission_progress"
"""Notified with a decision's id when something about it was recorded."""

VOTING = ("suspend", "resume")
"""Kinds of decisions about a member's vote; the newest one counts."""
ENDING = ("revoke", "leave")
"""Kinds of decisions that end a membership."""

OVER = ("done", "superseded", "refused")
"""States of a decision of which nothing more will come."""

INSTANCE_LOCK = 0x6D69_6E65_7276_6102
"""Advisory lock that the running service holds ("minerva", 2): there is one, and commands see whether it runs."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the operator decided."""

    id: int
    kind: str
    """approve, replace, rotate, reject, revoke, reconcile, suspend, resume, leave, or parameters."""
    member: str | None
    application: str | None
    reason: str
    who: str
    made_ms: int
    state: str
    """queued, carried_out, done, superseded, or refused."""
    finished_ms: int | None
    content: str
    """Canonical JSON of what is to be changed; empty but for kinds parameters and rotate."""
    outcome: str
    """Why it was superseded; the error (``code: text``) for which it was refused."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """What became of one step."""

    step: str
    state: str
    """failing or done."""
    attempts: int
    started_ms: int
    finished_ms: int
    took_us: int
    detail: str


async def insert_decision(
    connection: Connection,
    *,
    kind: str,
    member: str | None,
    application: str | None,
    reason: str,
    who: str,
    made_ms: int,
    state: str = "queued",
    content: str = "",
) -> int:
    """Store a decision and wake the service; returns its id."""
    cursor = await connection.execute(
        """
        INSERT INTO decisions (kind, member, application, reason, who, made_ms, state, content, finished_ms)
        VALUES (%(kind)s, %(member)s, %(application)s, %(reason)s, %(who)s, %(made_ms)s, %(state)s, %(content)s,
                CASE WHEN %(state)s = 'done' THEN %(made_ms)s END)
        RETURNING id
        """,
        {
            "kind": kind,
            "member": member,
            "application": application,
            "reason": reason,
            "who": who,
            "made_ms": made_ms,
            "state": state,
            "content": content,
        },
    )
    row = await cursor.fetchone()
    await connection.execute("SELECT pg_notify(%s, '')", (DECISION_CHANNEL,))
    return int(row[0]) if row else 0


async def queued_decisions(connection: Connection) -> list[Decision]:
    """Decisions that are not carried out yet, oldest first."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute("SELECT * FROM decisions WHERE state = 'queued' ORDER BY id")
        return await cursor.fetchall()


async def find_decision(connection: Connection, decision_id: int) -> Decision | None:
    """A decision by its id."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute("SELECT * FROM decisions WHERE id = %s", (decision_id,))
        return await cursor.fetchone()


async def decisions_before(connection: Connection, before: int | None, limit: int) -> list[Decision]:
    """Decisions with smaller ids than this one, or all for None: newest first, so many at most."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute(
            """
            SELECT * FROM decisions WHERE %(before)s::bigint IS NULL OR id < %(before)s
            ORDER BY id DESC LIMIT %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def newest_decision(connection: Connection, member: str, kinds: Sequence[str]) -> Decision | None:
    """The newest decision of these kinds about a member that was or will be carried out."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute(
            """
            SELECT * FROM decisions
            WHERE member = %s AND kind = ANY(%s) AND state NOT IN ('superseded', 'refused')
            ORDER BY id DESC LIMIT 1
            """,
            (member, list(kinds)),
        )
        return await cursor.fetchone()


async def finish_decision(
    connection: Connection, decision_id: int, state: str, finished_ms: int, outcome: str = ""
) -> None:
    """Record the end of a decision, or that only the chain is still to confirm it."""
    await connection.execute(
        """
        UPDATE decisions SET state = %s, finished_ms = %s, outcome = %s
        WHERE id = %s AND state IN ('queued', 'carried_out')
        """,
        (state, finished_ms, outcome, decision_id),
    )
    await notify_progress(connection, decision_id)


async def steps_of(connection: Connection, decision_id: int) -> list[StepRow]:
    """Steps of a decision in the order in which they began."""
    async with connection.cursor(row_factory=class_row(StepRow)) as cursor:
        await cursor.execute(
            """
            SELECT step, state, attempts, started_ms, finished_ms, took_us, detail FROM saga_steps
            WHERE decision = %s ORDER BY entry
            """,
            (decision_id,),
        )
        return await cursor.fetchall()


async def record_step(
    connection: Connection,
    decision_id: int,
    step: str,
    *,
    state: str,
    started_ms: int,
    finished_ms: int,
    took_us: int,
    detail: str,
) -> None:
    """Record an attempt at a step; a step that was done before and is done again counts one more attempt."""
    await connection.execute(
        """
        INSERT INTO saga_steps (decision, step, state, attempts, started_ms, finished_ms, took_us, detail)
        VALUES (%s, %s, %s, 1, %s, %s, %s, %s)
        ON CONFLICT (decision, step) DO UPDATE SET
            state = excluded.state, attempts = saga_steps.attempts + 1, finished_ms = excluded.finished_ms,
            took_us = excluded.took_us, detail = excluded.detail
        """,
        (decision_id, step, state, started_ms, finished_ms, took_us, detail),
    )
    await notify_progress(connection, decision_id)


async def notify_progress(connection: Connection, decision_id: int) -> None:
    """Tell waiting commands that something about a decision was recorded."""
    await connection.execute("SELECT pg_notify(%s, %s)", (PROGRESS_CHANNEL, str(decision_id)))


async def service_is_running(connection: Connection) -> bool:
    """Whether a service works on this database: whether somebody holds its lock."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND classid::bigint = %s AND objid::bigint = %s
        """,
        (INSTANCE_LOCK >> 32, INSTANCE_LOCK & 0xFFFF_FFFF),
    )
    row = await cursor.fetchone()
    return row is not None and row[0] > 0


async def decisions_of_member(connection: Connection, member: str) -> list[Decision]:
    """What was decided about a member, in order; not rejections of others who wanted its name."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute(
            """
            SELECT d.* FROM decisions d LEFT JOIN applications a ON a.id = d.application
            WHERE d.member = %s AND (d.kind <> 'reject' OR a.kind = 'add') ORDER BY d.id
            """,
            (member,),
        )
        return await cursor.fetchall()


async def decisions_of_applications(connection: Connection, applications: Sequence[str]) -> list[Decision]:
    """What was decided about applications, in order."""
    async with connection.cursor(row_factory=class_row(Decision)) as cursor:
        await cursor.execute("SELECT * FROM decisions WHERE application = ANY(%s) ORDER BY id", (list(applications),))
        return await cursor.fetchall()


async def clear_reasons(connection: Connection, *, member: str | None, applications: Sequence[str]) -> None:
    """Delete what the operator wrote about a member and about applications."""
    await connection.execute(
        """
        UPDATE decisions SET reason = ''
        WHERE reason <> '' AND (application = ANY(%s) OR member = %s AND kind <> 'reject')
        """,
        (list(applications), member),
    )
