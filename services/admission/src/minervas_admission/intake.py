"""Receives applications and tells applicants where theirs stands."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from minervas_admission import audit_log
from minervas_admission.application_check import decode_application, decode_requested, judge_application
from minervas_admission.authority import Consortium
from minervas_admission.forms import Forms
from minervas_admission.metrics import APPLICATIONS
from minervas_admission.replacement import check_replacement
from minervas_admission.rotations import checked_rotation, decode_rotation, judge_rotation
from minervas_admission.store.applications import (
    KIND_ADDITION,
    KIND_JOIN,
    ROTATE,
    ApplicationRow,
    check_room,
    find_application,
    insert_application,
)
from minervas_admission.store.certificates import member_certificates
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.members import find_member
from minervas_admission.store.transactions import ALIVE, KEY_ACTIONS, authority_changes, transactions_of_member
from minervas_admission.tokens import application_id, application_token, token_hash, token_matches
from minervas_core.ca_bundle import CaBundle, SignedCaBundle, sign_ca_bundle
from minervas_core.enrolment import (
    Application,
    ApplicationReceipt,
    ApplicationState,
    BrokerAddress,
    Grant,
    application_fingerprint,
)
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.rekeying import rotation_fingerprint
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """Receives applications."""

    database: Database
    consortium: Consortium
    clock: Clock
    token_key: bytes
    broker: BrokerAddress
    """What members are told."""
    forms: Forms

    async def receive(self, raw: bytes, remote_address: str, form_token: str = "") -> tuple[ApplicationReceipt, bool]:
        """Take an application in; the same bytes again get the same answer.

        Args:
            raw: its canonical bytes.
            remote_address: where it came from, for the operator.
            form_token: one-time token of a filled-in form, or empty.

        Returns:
            The receipt, and whether the application is new.

        Raises:
            InvalidEncoding: if the bytes are not an application.
            PeerFault: why it is refused; see `judge_application`, `check_replacement`, `insert_application` and
                `Forms.use`.
            TransientFault: ``rate_limited`` if too many wait for a decision; ``database_away``.
        """
        application = decode_application(raw)
        async with self.database.transaction() as connection:
            known = await find_application(connection, application_id(raw))
        receipt = self._receipt(raw, application)
        if known is not None:
            APPLICATIONS.labels("repeated").inc()
            return receipt, False
        judged = judge_application(application, self.clock.now_ms())
        row = self._row(raw, application, receipt, remote_address)
        async with self.database.transaction() as connection:
            if await find_application(connection, row.id) is not None:  # the same bytes came twice at once
                return receipt, False
            await check_room(connection, signed=False)
            await check_replacement(connection, application)
            await insert_application(connection, row, judged.claims)
            if form_token:
                await self.forms.use(connection, form_token, row.member, row.id)
            await audit_log.append(
                connection, time_ms=row.received_ms, who=audit_log.APPLICANT, subject=row.member,
                action="apply" if row.kind == KIND_JOIN else f"apply {row.kind}",
                application=row.id, fingerprint=row.fingerprint,
            )  # fmt: skip
        APPLICATIONS.labels("new").inc()
        log.info("application_received", extra={"fields": {"application": row.id, "applicant": row.member}})
        return receipt, True

    async def receive_rotation(self, raw: bytes, remote_address: str) -> tuple[ApplicationReceipt, bool]:
        """Take a member's request for the rotation of keys in; the same bytes again get the same answer.

        Raises:
            InvalidEncoding: if the bytes are not a request.
            PeerFault: why it is refused; see `judge_rotation`, `checked_rotation` and `insert_application`.
            TransientFault: ``rate_limited`` if too many wait for a decision; ``database_away``.
        """
        signed = decode_rotation(raw)
        receipt = ApplicationReceipt(
            application_id=application_id(raw),
            token=application_token(self.token_key, raw),
            fingerprint=rotation_fingerprint(signed),
        )
        async with self.database.transaction() as connection:
            if await find_application(connection, receipt.application_id) is not None:
                return receipt, False
        claims = judge_rotation(signed, self.consortium.network, self.clock.now_ms())
        async with self.database.transaction() as connection:
            member, _ = await checked_rotation(connection, signed.request)
            granted = await find_application(connection, member.application)
            if granted is None:
                raise InvalidEnrolment(Code.MEMBER_UNKNOWN, "There is no such member", member=member.member)
            await check_room(connection, signed=True)
            row = replace(
                granted, id=receipt.application_id, content=raw, fingerprint=receipt.fingerprint,
                token_hash=token_hash(receipt.token), remote_address=remote_address,
                received_ms=self.clock.now_ms(), state="pending", reason="", decided_ms=None, kind=ROTATE,
            )  # fmt: skip
            await insert_application(connection, row, claims)
            await audit_log.append(
                connection, time_ms=row.received_ms, who=audit_log.APPLICANT, action="apply rotate", subject=row.member,
                application=row.id, fingerprint=row.fingerprint,
            )  # fmt: skip
        log.info("rotation_received", extra={"fields": {"application": row.id, "applicant": row.member}})
        return receipt, True

    async def state(self, wanted_id: str, token: str) -> ApplicationState:
        """Where an application stands, with everything to install once it is approved.

        Raises:
            InvalidEnrolment: ``not_found`` if there is none with this id and token.
            TransientFault: ``database_away``.
        """
        async with self.database.transaction() as connection:
            row = await find_application(connection, wanted_id)
            if row is None or not token_matches(token, row.token_hash):
                raise InvalidEnrolment(Code.NOT_FOUND, "There is no application with this id and token")
            if row.state == "approved":
                return await self._granted(connection, row)
        match row.state:
            case "rejected" | "revoked" | "left":
                return _state(row, "rejected", reason=row.reason)
            case "approving":
                return _state(row, "approving")
            case _:
                return _state(row, "pending")

    async def ca_bundle(self) -> SignedCaBundle:
        """The CAs in use, signed by the authority.

        Raises:
            TransientFault: ``database_away``.
        """
        cas = self.consortium.cas
        async with self.database.transaction() as connection:
            changes = await authority_changes(connection)
        bundle = CaBundle(
            network=self.consortium.network,
            number=cas.state.number,
            certificates=[each.pem for each in cas.trusted.values()],
        )
        return sign_ca_bundle(bundle, self.consortium.signer, [msgspec.Raw(raw) for raw in changes])

    async def _granted(self, connection: Connection, row: ApplicationRow) -> ApplicationState:
        member = await find_member(connection, row.member)
        certificates = await member_certificates(connection, row.member, self.clock.now_ms())
        transactions = await transactions_of_member(connection, row.member)
        issued = {_service(item.principal): item.pem for item in certificates}
        if row.kind != ROTATE:  # all others have what they asked for
            services = {item.claim.service for item in decode_requested(row).services}
            issued = {service: pem for service, pem in issued.items() if service in services}
        if member is None or member.state != "active" or not issued:
            return _state(row, "rejected", reason="the certificates of this membership have expired")
        shown = (*KEY_ACTIONS, "register_meter") if row.kind == KIND_ADDITION else KEY_ACTIONS
        grant = Grant(
            ca_pem=self.consortium.cas.pem,
            certificates=issued,
            genesis=msgspec.Raw(self.consortium.genesis.raw),
            membership=[
                *map(msgspec.Raw, await authority_changes(connection)),
                *(msgspec.Raw(item.raw) for item in transactions if item.action in shown and item.state in ALIVE),
            ],
            broker=self.broker,
        )
        return _state(row, "approved", grant=grant)

    def _receipt(self, raw: bytes, application: Application) -> ApplicationReceipt:
        return ApplicationReceipt(
            application_id=application_id(raw),
            token=application_token(self.token_key, raw),
            fingerprint=application_fingerprint(application),
        )

    def _row(
        self, raw: bytes, application: Application, receipt: ApplicationReceipt, remote_address: str
    ) -> ApplicationRow:
        return ApplicationRow(
            id=receipt.application_id,
            member=application.member,
            name=application.name,
            contact=application.contact,
            content=raw,
            fingerprint=receipt.fingerprint,
            token_hash=token_hash(receipt.token),
            remote_address=remote_address,
            received_ms=self.clock.now_ms(),
            state="pending",
            reason="",
            decided_ms=None,
            kind=KIND_JOIN if isinstance(application.kind, msgspec.UnsetType) else application.kind,
        )


def _service(principal: str) -> str:
    return principal.partition(".")[2]


def _state(
    row: ApplicationRow,
    state: Literal["pending", "approving", "approved", "rejected"],
    *,
    reason: str | msgspec.UnsetType = msgspec.UNSET,
    grant: Grant | msgspec.UnsetType = msgspec.UNSET,
) -> ApplicationState:
    return ApplicationState(
        application_id=row.id,
        member=row.member,
        state=state,
        fingerprint=row.fingerprint,
        reason=reason,
        grant=grant,
    )
