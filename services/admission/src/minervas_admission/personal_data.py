"""What admission holds about a person or organisation: all of it in one document, and its deletion.

Personal are name, contact and address of an application, the application as it was received, reasons that the operator
wrote, and when a member's processes were there. They are deleted once the membership has ended or the application was
rejected. What stays says nothing of a person: ids, hashes, public keys, certificates, transactions, and the audit log,
into which no personal data goes (docs/adr/0032). A fingerprint or id cannot be used to guess a deleted name, for an
application has 16 random bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from minervas_admission import audit_log
from minervas_admission.store.applications import (
    SIGNED_KINDS,
    ApplicationRow,
    applications_of,
    find_application,
    forget_application,
    keys_of_application,
    rejected_applications,
)
from minervas_admission.store.certificates import certificates_of_member
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import (
    clear_reasons,
    decisions_of_applications,
    decisions_of_member,
    queued_decisions,
    steps_of,
)
from minervas_admission.store.grafana import find_access
from minervas_admission.store.members import ENDED, MemberRow, clear_end_reason, lock_member
from minervas_admission.store.presence import delete_presence, presences
from minervas_admission.store.transactions import transactions_of_member
from minervas_core.errors import Code, LocalFault

FORMAT = "minervas-admission-export-1"
FORGET_AT_ONCE = 500
"""Applications that are forgotten in one transaction of the housekeeping."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom it is about."""

    name: str
    """The member id that they have, had, or applied for."""
    member: MemberRow | None
    """None if they never were a member."""
    applications: tuple[ApplicationRow, ...]

    @property
    def ids(self) -> list[str]:
        """Of the applications."""
        return [row.id for row in self.applications]


async def find_subject(connection: Connection, wanted: str) -> Subject:
    """Find a member, or an application that led to no membership, and lock the member.

    Applications that were rejected under the name of a member may come from somebody else: they have their own ids.

    Args:
        connection: the database.
        wanted: member id or application id.

    Raises:
        LocalFault: ``not_found``.
    """
    by_id = await find_application(connection, wanted)
    name = by_id.member if by_id is not None else wanted
    member = await lock_member(connection, name)
    if by_id is not None and (member is None or by_id.state == "rejected"):
        return Subject(name, None, (by_id,))
    rows = await applications_of(connection, name)
    own = tuple(row for row in rows if member is None or row.state != "rejected" or row.kind in SIGNED_KINDS)
    if not own:
        raise LocalFault(Code.NOT_FOUND, "There is no member and no application of this name or id", wanted=wanted)
    return Subject(name, member, own)


async def export_data(connection: Connection, subject: Subject, *, who: str, now_ms: int) -> dict[str, Any]:
    """Everything that is held about somebody, for JSON; that it was handed out goes into the audit log."""
    await audit_log.append(
        connection, time_ms=now_ms, who=who, action="export", subject=subject.name, application=",".join(subject.ids)
    )
    member = subject.name if subject.member is not None else ""
    decisions = await (
        decisions_of_member(connection, member) if member else decisions_of_applications(connection, subject.ids)
    )
    return {
        "format": FORMAT,
        "exported_ms": now_ms,
        "name": subject.name,
        "member": asdict(subject.member) if subject.member is not None else {},
        "applications": [_application(row) for row in subject.applications],
        "keys": [asdict(key) for each in subject.ids for key in await keys_of_application(connection, each)],
        "certificates": [asdict(row) for row in await certificates_of_member(connection, member)],
        "presence": [asdict(row) for row in await presences(connection, member=member)],
        "grafana": [asdict(row) for row in [await find_access(connection, member)] if row is not None],
        "decisions": [
            {**asdict(row), "steps": [asdict(step) for step in await steps_of(connection, row.id)]} for row in decisions
        ],
        "transactions": [_with_json(row, "raw") for row in await transactions_of_member(connection, member)],
        "audit": [audit_log.entry_object(entry, digest) async for entry, digest in _entries_about(connection, subject)],
    }


async def forget(connection: Connection, subject: Subject, *, who: str, now_ms: int) -> int:
    """Delete somebody's personal data; returns how many applications had any.

    Raises:
        LocalFault: ``member_active`` for a living membership; ``not_ready`` while its end is being carried out, or
            while an application waits for a decision.
    """
    await _check_over(connection, subject)
    full = [row for row in subject.applications if row.forgotten_ms is None]
    for row in full:
        await forget_application(connection, row.id, now_ms)
    await clear_reasons(connection, member=subject.name if subject.member else None, applications=subject.ids)
    if subject.member is not None:
        await clear_end_reason(connection, subject.name)
        await delete_presence(connection, subject.name)
    if full:
        await audit_log.append(
            connection, time_ms=now_ms, who=who, action="forget", subject=subject.name,
            application=",".join(row.id for row in full),
        )  # fmt: skip
    return len(full)


async def forget_rejected(connection: Connection, *, before_ms: int, now_ms: int) -> int:
    """Delete the personal data of applications that were rejected before a time; returns how many there were."""
    found = await rejected_applications(connection, before_ms, FORGET_AT_ONCE)
    for row in found:
        await forget(connection, Subject(row.member, None, (row,)), who=audit_log.SERVICE, now_ms=now_ms)
    return len(found)


async def _check_over(connection: Connection, subject: Subject) -> None:
    if subject.member is not None and subject.member.state not in ENDED:
        raise LocalFault(
            Code.MEMBER_ACTIVE,
            "The membership has not ended, so its data is needed; revoke it, or let it leave",
            member=subject.name,
        )
    if any(row.state in ("pending", "approving") for row in subject.applications):
        raise LocalFault(
            Code.NOT_READY, "An application waits for a decision; reject it before you delete it", member=subject.name
        )
    if subject.member and any(row.member == subject.name for row in await queued_decisions(connection)):
        raise LocalFault(
            Code.NOT_READY, "The end of this membership is not carried out yet; try again", member=subject.name
        )


async def _entries_about(connection: Connection, subject: Subject) -> Any:
    """Audit entries about a member, or about applications that led to none."""
    for entry, digest in await audit_log.entries_of_subject(connection, subject.name):
        named = entry.details.get("application", "")
        if any(each in subject.ids for each in named.split(",")) or (subject.member is not None and not named):
            yield entry, digest


def _application(row: ApplicationRow) -> dict[str, Any]:
    values = _with_json(row, "content")
    del values["token_hash"]  # lets in whoever guesses the token; says nothing of anybody
    return values


def _with_json(row: Any, column: str) -> dict[str, Any]:
    """A row, with canonical JSON as JSON."""
    values = asdict(row)
    values[column] = msgspec.json.decode(values[column]) if values[column] else {}
    return values


def as_json(document: dict[str, Any]) -> bytes:
    """The document as it is handed out: UTF-8, readable, sorted."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"
