"""Forms that strangers fill in on the web page, and the one-time tokens that bring them into an application."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from minervas_admission.store.applications import is_member_id_free
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.forms import (
    FormRow,
    count_waiting_forms,
    forget_old_forms,
    insert_form,
    lock_form,
    set_form_used,
)
from minervas_admission.tokens import token_hash
from minervas_core.applicant import ApplicationForm, check_about, check_visibility
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEnrolment, TransientFault
from minervas_core.identifiers import check_member_id
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

MAX_FORMS = 500
"""Forms that may wait for their application at once: strangers can not fill the disk."""

MAX_FORM_BYTES = 49_152
"""An application has room for it besides keys, requests and meters."""

DAY_MS = 86_400_000

REMEMBERED_MS = 30 * DAY_MS
"""So long after its end a token is still called expired or used, and not unknown."""


@dataclass(frozen=True, slots=True)
class Forms:
    """Keeps forms until their application comes."""

    database: Database
    clock: Clock
    valid_days: int

    async def make(self, form: ApplicationForm, remote_address: str) -> str:
        """Keep a form.

        Returns:
            The one-time token.

        Raises:
            PeerFault: ``bad_member_id``, ``member_exists``, ``consent_missing``, ``bad_enrolment``, or ``too_large``.
            TransientFault: ``rate_limited`` if too many wait; ``database_away``.
        """
        check_member_id(form.member)
        check_visibility(accepted=form.accepts_visibility)
        check_about(form.about)
        content = encode(form)
        if len(content) > MAX_FORM_BYTES:
            raise InvalidEnrolment(Code.TOO_LARGE, "The texts are too long altogether", max_bytes=MAX_FORM_BYTES)
        now_ms = self.clock.now_ms()
        token = secrets.token_hex(32)
        row = FormRow(
            token_hash=token_hash(token),
            member=form.member,
            content=content,
            remote_address=remote_address,
            made_ms=now_ms,
            expires_ms=now_ms + self.valid_days * DAY_MS,
            application=None,
        )
        async with self.database.transaction() as connection:
            await forget_old_forms(connection, now_ms, REMEMBERED_MS)
            if await count_waiting_forms(connection, now_ms) >= MAX_FORMS:
                raise TransientFault(Code.RATE_LIMITED, "Too many forms wait for their application", limit=MAX_FORMS)
            if not await is_member_id_free(connection, form.member):
                raise InvalidEnrolment(
                    Code.MEMBER_EXISTS, "This member id is taken, or was used before", member=form.member
                )
            await insert_form(connection, row)
        log.info("form_filled_in", extra={"fields": {"applicant": form.member}})
        return token

    async def read(self, token: str) -> ApplicationForm:
        """What was filled in.

        Raises:
            InvalidEnrolment: ``token_unknown``, ``token_expired`` or ``token_used``.
            TransientFault: ``database_away``.
        """
        async with self.database.transaction() as connection:
            row = await self._usable(connection, token)
        return decode(row.content or b"", ApplicationForm, max_bytes=MAX_FORM_BYTES)

    async def use(self, connection: Connection, token: str, member: str, application_id: str) -> None:
        """Use a token up with an application, in the transaction that stores it.

        Raises:
            InvalidEnrolment: ``token_unknown`` (also if it is for another member id), ``token_expired`` or
                ``token_used``.
        """
        row = await self._usable(connection, token)
        if row.member != member:
            raise InvalidEnrolment(
                Code.TOKEN_UNKNOWN, "The one-time token is for another member id; apply with that one", member=member
            )
        await set_form_used(connection, row.token_hash, application_id)

    async def _usable(self, connection: Connection, token: str) -> FormRow:
        row = await lock_form(connection, token_hash(token))
        if row is None:
            raise InvalidEnrolment(
                Code.TOKEN_UNKNOWN, "There is no such one-time token; copy the command from the form's last page again"
            )
        if row.application is not None:
            raise InvalidEnrolment(
                Code.TOKEN_USED, "An application has brought this one-time token already; fill in the form again"
            )
        if row.expires_ms <= self.clock.now_ms():
            raise InvalidEnrolment(
                Code.TOKEN_EXPIRED, "The one-time token is too old; fill in the form again", valid_days=self.valid_days
            )
        return row
