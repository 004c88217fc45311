"""pending, audit, fingerprint: look, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from minervas_admission import audit_log
from minervas_admission.application_check import decode_requested, service_requests
from minervas_admission.ca import fingerprint
from minervas_admission.ca_set import signing_ca_certificate
from minervas_admission.certificate_request import describe_key, request_public_key
from minervas_admission.commands.output import degrees, harmless, say, say_json, tenths, when
from minervas_admission.data_directory import DataDirectory
from minervas_admission.parameter_changes import ParameterView, WantedChange, last_carrying_height
from minervas_admission.replacement import WARNING
from minervas_admission.rotations import decode_rotation
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import (
    KIND_ADDITION,
    REPLACE,
    ROTATE,
    ApplicationRow,
    pending_applications,
)
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.schema import check_schema
from minervas_core.applicant import About, panels_of, sites_of
from minervas_core.enrolment import Application, declared_meters


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
    if row.kind == ROTATE:
        _show_rotation(row)
        return
    requested = decode_requested(row)
    say(f"{row.member}" + ("   (a member that adds gateways or meters)" if row.kind == KIND_ADDITION else ""))
    if row.kind == REPLACE:
        say(f"  REPLACEMENT of the node of a member. {WARNING}.")
    say(f"  fingerprint  {row.fingerprint}   (compare by phone)")
    say(f"  name         {harmless(row.name)}")
    say(f"  contact      {harmless(row.contact)}")
    say(f"  received     {when(row.received_ms)} from {harmless(row.remote_address)}")
    requests = service_requests(requested)
    keys = [f"{service}: {describe_key(request_public_key(pem, service=service))}" for service, pem in requests.items()]
    say(f"  services     {', '.join(sorted(keys))}")
    for _, meter in declared_meters(requested):
        channels = ", ".join(f"{channel.name} {channel.rated_w:,} W" for channel in meter.channels)
        say(f"  meter        {meter.meter}: {meter.model}, {channels}, register step {meter.register_step_wh} Wh")
    _show_details(requested.about)
    if isinstance(requested, Application):
        say("  visibility   accepts that all members see all trades")
    say(f"  id           {row.id}")


def _show_rotation(row: ApplicationRow) -> None:
    new = [claim.new for claim in decode_rotation(row.content).request.keys]
    say(f"{row.member}   (a member that replaces keys)")
    say(f"  fingerprint  {row.fingerprint}   (compare by phone)")
    say(f"  received     {when(row.received_ms)} from {harmless(row.remote_address)}")
    say(f"  new keys     {', '.join(f'{each.name} ({each.service}): {each.key[:16]}...' for each in new)}")
    say(f"  id           {row.id}")


def _show_details(about: About | msgspec.UnsetType) -> None:
    if not isinstance(about, msgspec.UnsetType):
        for label, text in (("registration", about.registration), ("address", about.address)):
            if isinstance(text, str):
                say(f"  {label:<12} {harmless(text)}")
    for site in sites_of(about):
        where = "" if isinstance(site.address, msgspec.UnsetType) else f", {harmless(site.address)}"
        say(f"  site         {site.name}: {degrees(site.latitude_e6)}, {degrees(site.longitude_e6)}{where}")
    for panel in panels_of(about):
        measured = f", {panel.meter}/{panel.channel}" if isinstance(panel.meter, str) else ""
        say(
            f"  panel        {panel.site}: {panel.rated_w:,} W, tilt {tenths(panel.tilt_tenths)}, "
            f"azimuth {tenths(panel.azimuth_tenths)}{measured}"
        )


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


def _requested_object(row: ApplicationRow) -> dict[str, Any]:
    if row.kind == ROTATE:
        new = [claim.new for claim in decode_rotation(row.content).request.keys]
        return {"new_keys": [{"service": each.service, "name": each.name, "key": each.key} for each in new]}
    requested = decode_requested(row)
    about = requested.about
    meters = declared_meters(requested)
    return {
        "services": sorted(item.claim.service for item in requested.services),
        "meters": [{"gateway": gateway, **msgspec.to_builtins(meter)} for gateway, meter in meters],
        "about": {} if isinstance(about, msgspec.UnsetType) else msgspec.to_builtins(about),
    }


def _application_object(row: ApplicationRow) -> dict[str, Any]:
    return {
        **_requested_object(row),
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
