"""pending, audit, fingerprint: look, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from minervas_admission import audit_log
from minervas_admission.application_check import decode_application, service_requests
from minervas_admission.ca import fingerprint
from minervas_admission.ca_set import signing_ca_certificate
from minervas_admission.certificate_request import describe_key, request_public_key
from minervas_admission.commands.output import harmless, say, say_json, when
from minervas_admission.data_directory import DataDirectory
from minervas_admission.parameter_changes import ParameterView, WantedChange, last_carrying_height
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import ApplicationRow, pending_applications
from minervas_admission.store.database import Connection, Database
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
    say(f"  fingerprint  {row.fingerprint}   (compare by phone)")
    say(f"  name         {harmless(row.name)}")
    say(f"  contact      {harmless(row.contact)}")
    say(f"  received     {when(row.received_ms)} from {harmless(row.remote_address)}")
    requests = service_requests(decode_application(row.content))
    keys = [f"{service}: {describe_key(request_public_key(pem, service=service))}" for service, pem in requests.items()]
    say(f"  services     {', '.join(sorted(keys))}")
    for _, meter in declared_meters(decode_application(row.content)):
        channels = ", ".join(f"{channel.name} {channel.rated_w:,} W" for channel in meter.channels)
        say(f"  meter        {meter.meter}: {meter.model}, {channels}, register step {meter.register_step_wh} Wh")
    say(f"  id           {row.id}")


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


async def show_audit(settings: AdmissionSettings, *, as_json: bool, head: str = "") -> None:
    """Print the audit log after checking its chain.

    Args:
        settings: of admission.
        as_json: for programs, with the hash of each entry.
        head: an earlier head that was kept elsewhere, ``NUMBER:HASH``; compared if given.

    Raises:
        LocalFault: ``audit_mismatch`` if an entry is missing or was changed, or the log is not the one of that head.
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        entries = await audit_log.read_verified(connection)
    if head:
        audit_log.check_head(entries, head)
    if as_json:
        say_json(audit_log.as_object(entries))
        return
    for entry, _ in entries:
        details = ", ".join(f"{name}={value}" for name, value in entry.details.items())
        say(
            harmless(
                f"{entry.number:>6}  {when(entry.time_ms)}  {entry.who}  {entry.action}  {entry.subject}  {details}"
            )
        )
    say(f"{len(entries)} entries, none missing or changed. Head: {audit_log.head_of(entries)}")


def show_fingerprint(settings: AdmissionSettings) -> None:
    """Print what applicants compare the CA with.

    Raises:
        LocalFault: ``not_ready`` before `init`.
    """
    say(fingerprint(signing_ca_certificate(DataDirectory(settings.paths.data))))


def _application_object(row: ApplicationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "member": row.member,
        "name": row.name,
        "contact": row.contact,
        "fingerprint": row.fingerprint,
        "received_ms": row.received_ms,
        "remote_address": row.remote_address,
    }
