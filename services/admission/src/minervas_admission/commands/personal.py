"""export and forget: what is held about somebody, and its deletion."""

from __future__ import annotations

import os
from pathlib import Path

from minervas_admission.commands.confirming import confirm
from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import say
from minervas_admission.commands.show import one_transaction
from minervas_admission.personal_data import as_json, export_data, find_subject, forget
from minervas_admission.settings import AdmissionSettings
from minervas_core.errors import Code, LocalFault
from minervas_runtime.clock import SystemClock


async def run_export(settings: AdmissionSettings, wanted: str, out: Path) -> None:
    """Write everything that is held about a member, or about an application, into a new file.

    Raises:
        LocalFault: ``not_found``; ``bad_settings`` if the file is there already or can not be written.
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        subject = await find_subject(connection, wanted)
        document = await export_data(connection, subject, who=operator_name(), now_ms=SystemClock().now_ms())
        _write_new(out, as_json(document))  # before the commit: the audit log tells of what was handed out
    say(f"Wrote everything about {subject.name} to {out}. It is personal: mode 0600.")


async def run_forget(settings: AdmissionSettings, wanted: str, *, confirmed: bool) -> None:
    """Delete the personal data of a member that has left or was revoked, or of a rejected application.

    Raises:
        LocalFault: ``not_found``; ``member_active`` and ``not_ready`` as `forget` says; `Unconfirmed`.
        TransientFault: ``database_away``.
    """
    if not confirmed:
        async with one_transaction(settings) as connection:
            subject = await find_subject(connection, wanted)
        confirm(f"Name, contact and application of {subject.name} can not be brought back. Delete them?")
    async with one_transaction(settings) as connection:
        subject = await find_subject(connection, wanted)
        count = await forget(connection, subject, who=operator_name(), now_ms=SystemClock().now_ms())
    if count:
        say(f"Deleted the personal data of {subject.name}; backups of the database still have it.")
    else:
        say(f"The personal data of {subject.name} was deleted already.")


def _write_new(out: Path, content: bytes) -> None:
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise LocalFault(
            Code.BAD_SETTINGS, "The file can not be made", file=str(out), reason=error.strerror or str(error)
        ) from error
