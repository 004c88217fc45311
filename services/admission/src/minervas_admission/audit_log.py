"""The audit log: who did what and when, append-only, each entry chained to the one before by its hash.

Changing or deleting an entry breaks the chain; deleting the newest ones contradicts the head, which stands in a table
of its own. Somebody who may write both tables could still write a whole new history: an operator who wants to notice
that keeps the head that `minervas-admission audit` prints somewhere else.

Names, contacts and addresses of applicants never go in here, because nothing can be deleted from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from minervas_admission.store.database import Connection
from minervas_core.encoding import Count, Hash, Record, TimeMs, encode, sha256_hex
from minervas_core.errors import Code, LocalFault

DOMAIN = b"minervas/v1/audit\0"
_HEAD = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")
FIRST_PREVIOUS = "0" * 64
"""What the first entry names as its predecessor's hash."""

SERVICE = "service"
"""`who` of what the service did by itself."""
APPLICANT = "applicant"
"""`who` of what an applicant did."""
MEMBER = "member"
"""`who` of what a member did with its wallet's signature."""


class AuditEntry(Record, frozen=True, kw_only=True):
    """One entry, as it is hashed."""

    number: Count
    """From 1, without gaps."""
    time_ms: TimeMs
    who: str
    action: str
    subject: str
    """Member, application or whatever it was done to."""
    details: dict[str, str]
    previous: Hash
    """Hash of the entry before."""

    def hash(self) -> str:
        """Hash of this entry."""
        return sha256_hex(DOMAIN + encode(self))


async def append(
    connection: Connection, *, time_ms: int, who: str, action: str, subject: str, **details: str | int
) -> None:
    """Add an entry in the caller's transaction; entries of parallel transactions wait for each other."""
    cursor = await connection.execute("SELECT number, hash FROM audit_head FOR UPDATE")
    head = await cursor.fetchone()
    if head is None:
        raise LocalFault(Code.AUDIT_MISMATCH, "The head of the audit log is gone")
    entry = AuditEntry(
        number=head[0] + 1,
        time_ms=time_ms,
        who=who,
        action=action,
        subject=subject,
        details={name: str(value) for name, value in details.items()},
        previous=head[1],
    )
    text = msgspec.json.encode(entry.details, order="sorted").decode()
    digest = entry.hash()
    await connection.execute(
        """
        INSERT INTO audit_log (number, time_ms, who, action, subject, details, hash)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (entry.number, time_ms, who, action, subject, text, digest),
    )
    await connection.execute("UPDATE audit_head SET number = %s, hash = %s", (entry.number, digest))


async def entries_of_subject(connection: Connection, subject: str) -> list[tuple[AuditEntry, str]]:
    """The entries about one subject with their hashes, oldest first, each checked by itself.

    Raises:
        LocalFault: ``audit_mismatch`` if one of them was changed.
    """
    cursor = await connection.execute(
        """
        SELECT * FROM (
            SELECT number, time_ms, who, action, subject, details, hash, coalesce(lag(hash) OVER (ORDER BY number), %s)
            FROM audit_log
        ) chained WHERE subject = %s ORDER BY number
        """,
        (FIRST_PREVIOUS, subject),
    )
    return [_verified(row[:7], row[7]) for row in await cursor.fetchall()]


async def read_unverified(connection: Connection) -> list[tuple[AuditEntry, str]]:
    """The entries that can still be read, of a log of which something was changed or deleted; oldest first."""
    cursor = await connection.execute(
        "SELECT number, time_ms, who, action, subject, details, hash FROM audit_log ORDER BY number"
    )
    entries: list[tuple[AuditEntry, str]] = []
    for row in await cursor.fetchall():
        try:
            entries.append((_restore(row, FIRST_PREVIOUS), str(row[6])))
        except LocalFault:  # its number is in the error of the check
            continue
    return entries


async def read_verified(connection: Connection) -> list[tuple[AuditEntry, str]]:
    """All entries with their hashes, oldest first, after checking the chain.

    Raises:
        LocalFault: ``audit_mismatch`` naming the first entry that is missing or changed.
    """
    cursor = await connection.execute(
        "SELECT number, time_ms, who, action, subject, details, hash FROM audit_log ORDER BY number"
    )
    entries: list[tuple[AuditEntry, str]] = []
    previous = FIRST_PREVIOUS
    for row in await cursor.fetchall():
        expected = len(entries) + 1
        if row[0] != expected:
            raise LocalFault(Code.AUDIT_MISMATCH, "An entry of the audit log is missing", number=expected)
        entries.append(_verified(row, previous))
        previous = row[6]
    cursor = await connection.execute("SELECT number, hash FROM audit_head")
    head = await cursor.fetchone()
    if head is None or (head[0], head[1]) != (len(entries), previous):
        raise LocalFault(
            Code.AUDIT_MISMATCH, "The newest entries of the audit log are missing, or its head was changed",
            entries=len(entries), head=head[0] if head else -1,
        )  # fmt: skip
    return entries


def check_head(entries: Sequence[tuple[AuditEntry, str]], head: str) -> None:
    """Compare a verified log with a head that was kept elsewhere: it still has this entry, and all before it.

    Args:
        entries: as `read_verified` returns them.
        head: ``NUMBER:HASH``, as `audit` prints it.

    Raises:
        LocalFault: ``bad_settings`` if it is not written so; ``audit_mismatch`` if the log is a different one.
    """
    match = _HEAD.fullmatch(head)
    if match is None:
        raise LocalFault(Code.BAD_SETTINGS, "A head is written NUMBER:HASH, as audit prints it", given=head)
    number = int(match[1])
    there = FIRST_PREVIOUS if number == 0 else entries[number - 1][1] if number <= len(entries) else ""
    if there != match[2]:
        what = "has another entry of this number" if there else "has lost entries"
        raise LocalFault(
            Code.AUDIT_MISMATCH, f"This audit log {what} since its head was kept", number=number, entries=len(entries)
        )


def head_of(entries: Sequence[tuple[AuditEntry, str]]) -> str:
    """Number and hash of the newest entry, to be kept elsewhere."""
    return f"{entries[-1][0].number}:{entries[-1][1]}" if entries else f"0:{FIRST_PREVIOUS}"


def as_object(entries: Sequence[tuple[AuditEntry, str]]) -> dict[str, Any]:
    """The log for programs: every entry as it is hashed, with its hash."""
    return {"head": head_of(entries), "entries": [entry_object(entry, digest) for entry, digest in entries]}


def entry_object(entry: AuditEntry, digest: str) -> dict[str, Any]:
    """One entry for programs."""
    return {**msgspec.structs.asdict(entry), "hash": digest}


def _verified(row: tuple[Any, ...], previous: str) -> tuple[AuditEntry, str]:
    entry, digest = _restore(row, previous), str(row[6])
    if entry.hash() != digest:
        raise LocalFault(
            Code.AUDIT_MISMATCH, "An entry of the audit log, or the one before it, was changed", number=entry.number
        )
    return entry, digest


def _restore(row: tuple[object, ...], previous: str) -> AuditEntry:
    number, time_ms, who, action, subject, details, _ = row
    try:
        return msgspec.convert(
            {
                "number": number,
                "time_ms": time_ms,
                "who": who,
                "action": action,
                "subject": subject,
                "details": msgspec.json.decode(str(details)),
                "previous": previous,
            },
            AuditEntry,
        )
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise LocalFault(
            Code.AUDIT_MISMATCH, "An entry of the audit log was changed", number=int(str(number)), reason=str(error)
        ) from error
