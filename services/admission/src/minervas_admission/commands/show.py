"""pending, members, audit, fingerprint: look, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from minervas_admission import audit_log
from minervas_admission.application_check import decode_application, service_requests
from minervas_admission.authority import load_ca_certificate
from minervas_admission.ca import fingerprint
from minervas_admission.certificate_request import describe_key, request_public_key
from minervas_admission.commands.output import harmless, say, say_json, table, when
from minervas_admission.data_directory import DataDirectory
from minervas_admission.parameter_changes import ParameterView, WantedChange, last_carrying_height
from minervas_admission.replacement import WARNING
from minervas_admission.rotations import decode_rotation
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import REPLACE, ROTATE, ApplicationRow, pending_applications
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.members import ENDED, MemberOverview, member_overviews
from minervas_admission.store.schema import check_schema
from minervas_core.enrolment import declared_meters


@asynccontextmanager
async def one_transaction(settings: AdmissionSettings) -> AsyncIterator[Connection]:
    """A transaction on a connection of its own, for the length of a command.

    Raises:
        LocalFault: ``schema_version``.
        TransientFault: ``database_away``.
    """
    database = Database(settings.database, application="minervas-admission command")
    try:
        async with database.transaction() as connection:
            await check_schema(connection)
            yield connection
    finally:
        await database.close()


async def show_pending(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print the applications that wait for a decision.

    Raises:
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        rows = await pending_applications(connection)
    if as_json:
        say_json([_application_object(row) for row in rows])
        return
    if not rows:
        say("No application waits.")
    for row in rows:
        show_application(row)


def show_application(row: ApplicationRow) -> None:
    """Print everything that a decision needs."""
    say(f"{row.member}")
    if row.kind == REPLACE:
        say(f"  REPLACEMENT of the node of a member. {WARNING}.")
    say(f"  fingerprint  {row.fingerprint}   (compare by phone)")
    say(f"  name         {harmless(row.name)}")
    say(f"  contact      {harmless(row.contact)}")
    say(f"  received     {when(row.received_ms)} from {harmless(row.remote_address)}")
    if row.kind == ROTATE:
        new = [claim.new for claim in decode_rotation(row.content).request.keys]
        say(f"  new keys     {', '.join(f'{each.name} ({each.service}): {each.key[:16]}...' for each in new)}")
        say(f"  id           {row.id}")
        return
    requests = service_requests(decode_application(row.content))
    keys = [f"{service}: {describe_key(request_public_key(pem, service=service))}" for service, pem in requests.items()]
    say(f"  services     {', '.join(sorted(keys))}")
    for _, meter in declared_meters(decode_application(row.content)):
        channels = ", ".join(f"{channel.name} {channel.rated_w:,} W" for channel in meter.channels)
        say(f"  meter        {meter.meter}: {meter.model}, {channels}, register step {meter.register_step_wh} Wh")
    say(f"  id           {row.id}")


async def show_members(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print all members that ever were.

    Raises:
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        rows = await member_overviews(connection)
    if as_json:
        say_json([_member_object(row) for row in rows])
        return
    if not rows:
        say("There are no members yet.")
        return
    table(
        ("MEMBER", "NAME", "STATE", "SINCE", "CERTIFICATES UNTIL", "ON CHAIN"),
        [
            (
                row.member,
                row.name,
                standing(row),
                when(row.ended_ms or row.approved_ms),
                when(row.certificate_expires_ms),
                on_chain(row),
            )
            for row in rows
        ],
    )


def standing(row: MemberOverview) -> str:
    """State of a membership, in words."""
    return f"{row.state}, no vote" if row.suspended_ms and row.state not in ENDED else row.state


DONE = {
    "admit": "admitted",
    "leave": "left",
    "recover": "recovery announced",
    "register_meter": "meter registered",
    "resume": "vote resumed",
    "revoke": "revoked",
    "rotate": "keys rotated",
    "suspend": "vote suspended",
}
"""What a membership transaction in a block has done, by its action."""


def on_chain(row: MemberOverview) -> str:
    """Where the member's newest transaction stands, in words."""
    if not row.action:
        return "-"
    done = DONE[row.action]
    match row.chain_state:
        case "settled":
            return f"{done} in block {row.height}"
        case "open" if row.height:
            return f"{done} in block {row.height}, {row.depth} deep"
        case "moot":
            return "was never on chain"
        case _:
            return f"{row.action} waits for a block"


def show_change(view: ParameterView, wanted: WantedChange) -> None:
    """Print what a checked change of parameters does, and until when a block can carry it."""
    height = wanted.activation_height
    last_height = last_carrying_height(height, view.genesis)
    say(f"From block {height:,} on (the chain is at {view.tip_height:,}; a block up to {last_height:,} must carry it):")
    for row in view.differences(wanted):
        say(f"  {row.name:<24} {row.before} -> {row.after}" + ("   (no change)" if row.before == row.after else ""))
    waiting = view.waiting_at(height)
    if waiting is not None:
        was = ", ".join(f"{name}={value}" for name, value in sorted(waiting.items())) or "nothing"
        say(f"  {'instead of' if wanted.changes else 'taken back'}: {was}")


async def show_audit(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print the audit log after checking its chain.

    Raises:
        LocalFault: ``audit_mismatch`` if an entry is missing or was changed.
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        entries = await audit_log.read_verified(connection)
    head = entries[-1][1] if entries else audit_log.FIRST_PREVIOUS
    if as_json:
        say_json({"head": head, "entries": [msgspec.structs.asdict(entry) for entry, _ in entries]})
        return
    for entry, _ in entries:
        details = ", ".join(f"{name}={value}" for name, value in entry.details.items())
        say(
            harmless(
                f"{entry.number:>6}  {when(entry.time_ms)}  {entry.who}  {entry.action}  {entry.subject}  {details}"
            )
        )
    say(f"{len(entries)} entries, none missing or changed. Head: {head}")


def show_fingerprint(settings: AdmissionSettings) -> None:
    """Print what applicants compare the CA with.

    Raises:
        LocalFault: ``not_ready`` before `init`.
    """
    say(fingerprint(load_ca_certificate(DataDirectory(settings.paths.data))))


def _application_object(row: ApplicationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "member": row.member,
        "name": row.name,
        "contact": row.contact,
        **({"warning": WARNING} if row.kind == REPLACE else {}),
        "fingerprint": row.fingerprint,
        "received_ms": row.received_ms,
        "remote_address": row.remote_address,
    }


def _member_object(row: MemberOverview) -> dict[str, Any]:
    return {
        "member": row.member,
        "name": row.name,
        "state": row.state,
        "approved_ms": row.approved_ms,
        "ended_ms": row.ended_ms or 0,
        "end_reason": row.end_reason,
        "suspended_ms": row.suspended_ms or 0,
        "certificate_expires_ms": row.certificate_expires_ms,
        "action": row.action,
        "chain_state": row.chain_state,
        "height": row.height,
        "depth": row.depth,
    }
