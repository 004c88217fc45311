"""Renews members' certificates: whoever holds the member's wallet gets new ones for the services that it has.

No client certificate is asked for, so a node that was off for months gets back in, as long as the membership lasts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from minervas_admission import audit_log
from minervas_admission.application_check import MAX_CLOCK_OFFSET_MS
from minervas_admission.authority import Consortium
from minervas_admission.ca import RENEW_DAYS, IssuedCertificate
from minervas_admission.certificate_request import request_public_key
from minervas_admission.key_identity import tls_key_id
from minervas_admission.metrics import RENEWALS
from minervas_admission.store.applications import KeyClaim
from minervas_admission.store.certificates import DAY_MS, principals_of_member, record_certificate
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.member_keys import current_wallets
from minervas_admission.store.members import ENDED, lock_member
from minervas_admission.store.renewals import (
    RenewalRow,
    add_certificate,
    certificates_of_renewal,
    claim_key,
    count_renewals,
    find_certificate,
    find_renewal,
    insert_renewal,
)
from minervas_admission.store.transactions import ALIVE, KEY_ACTIONS, authority_changes, transactions_of_member
from minervas_core.encoding import decode, sha256_hex
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import Code, InvalidEnrolment, TransientFault
from minervas_core.identifiers import Principal
from minervas_core.renewal import (
    MAX_RENEWAL_BYTES,
    Renewal,
    RenewalAnswer,
    RenewalBody,
    ServiceCertificate,
    ServiceRequest,
    check_renewal,
)
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

MAX_RENEWALS_PER_DAY = 24
"""Of one member: a node asks once in 20 days, and a few times more if its services ask one after another."""


@dataclass(frozen=True, slots=True)
class Renewals:
    """Carries renewals out."""

    database: Database
    consortium: Consortium
    clock: Clock
    broker: BrokerAddress
    """What members are told."""
    grant_rights: Callable[[str], Awaitable[object]]
    """Gives a member's processes their rights on the broker, as far as they do not have them."""

    async def receive(self, raw: bytes) -> RenewalAnswer:
        """Carry a renewal out; the same bytes again get the same certificates.

        Args:
            raw: its canonical bytes.

        Raises:
            InvalidEncoding: if the bytes are not a renewal.
            InvalidEnrolment: ``member_unknown``, ``member_revoked``, ``member_left``, ``wrong_network``,
                ``bad_signature``, ``clock_offset``, ``bad_enrolment``, ``bad_key`` or ``key_reused``.
            TransientFault: ``rate_limited``; ``not_ready`` while the approval is under way; ``bus_offline``,
                ``timeout`` or ``database_away``.
        """
        renewal = decode(raw, Renewal, max_bytes=MAX_RENEWAL_BYTES)
        async with self.database.transaction() as connection:
            await self._check_member(connection, renewal)
            certificates = await self._certificates(connection, sha256_hex(raw), renewal.body)
            answer = await self._answer(connection, renewal.body.member, certificates)
        await self.grant_rights(renewal.body.member)
        return answer

    async def _check_member(self, connection: Connection, renewal: Renewal) -> None:
        """Check that the member may renew and that its wallet asks; it can not be revoked until we are done."""
        member = renewal.body.member
        row = await lock_member(connection, member)
        if row is None:
            raise InvalidEnrolment(Code.MEMBER_UNKNOWN, "Nobody was admitted under this id", member=member)
        wallets = await current_wallets(connection, member)
        if not wallets and row.state not in ENDED:
            raise TransientFault(Code.NOT_READY, "The approval is still under way; try again later")
        check_renewal(renewal, self.consortium.network, frozenset(wallets))
        if row.state in ENDED:
            code = Code.MEMBER_REVOKED if row.state == "revoked" else Code.MEMBER_LEFT
            raise InvalidEnrolment(code, "The membership has ended; ask the operator", member=member)

    async def _certificates(
        self, connection: Connection, renewal_id: str, body: RenewalBody
    ) -> list[IssuedCertificate]:
        """The certificates of a renewal, made unless it was carried out before."""
        now_ms = self.clock.now_ms()
        if await find_renewal(connection, renewal_id) is None:
            await self._carry_out(connection, RenewalRow(renewal_id, body.member, now_ms), body)
            RENEWALS.labels("new").inc()
        else:
            RENEWALS.labels("repeated").inc()
        certificates = await certificates_of_renewal(connection, renewal_id, now_ms)
        if len(certificates) != len(body.requests):
            raise InvalidEnrolment(
                Code.KEY_REUSED, "What this renewal led to has ended or was replaced; renew with new keys"
            )
        return certificates

    async def _carry_out(self, connection: Connection, row: RenewalRow, body: RenewalBody) -> None:
        offset_ms = body.sent_at_ms - row.received_ms
        if abs(offset_ms) > MAX_CLOCK_OFFSET_MS:
            raise InvalidEnrolment(
                Code.CLOCK_OFFSET,
                "The node's clock and ours differ by more than five minutes; set the clock",
                offset_s=offset_ms // 1000,
            )
        if await count_renewals(connection, row.member, row.received_ms - DAY_MS) >= MAX_RENEWALS_PER_DAY:
            raise TransientFault(
                Code.RATE_LIMITED, "This member has renewed too often today", limit=MAX_RENEWALS_PER_DAY
            )
        known = await principals_of_member(connection, row.member)
        await insert_renewal(connection, row)
        for request in body.requests:
            # Of a member that was found on the chain after a restore no certificate is known: its wallet says which.
            if known and str(Principal(row.member, request.service)) not in known:
                raise InvalidEnrolment(Code.BAD_ENROLMENT, "The member has no such service", service=request.service)
            certificate = await self._certificate(connection, row, request)
            await add_certificate(connection, row.id, certificate.serial)
        await audit_log.append(
            connection, time_ms=row.received_ms, who=audit_log.MEMBER, action="renew", subject=row.member,
            services=", ".join(request.service for request in body.requests), renewal=row.id[:16],
        )  # fmt: skip
        log.info("renewed", extra={"fields": {"renewal": row.id[:16], "of_member": row.member}})

    async def _certificate(self, connection: Connection, row: RenewalRow, request: ServiceRequest) -> IssuedCertificate:
        """The certificate of one service: the one that its new key has already, or else a new one."""
        key = request_public_key(request.csr, service=request.service)
        principal = str(Principal(row.member, request.service))
        fresh_ms = row.received_ms + RENEW_DAYS * DAY_MS
        found = await find_certificate(connection, principal, tls_key_id(key), fresh_ms)
        if found is not None:
            return found
        await claim_key(connection, row.member, KeyClaim(tls_key_id(key), f"TLS key of the {request.service}"))
        certificate = self.consortium.authority.issue_client(principal, key, row.received_ms)
        await record_certificate(connection, certificate)
        return certificate

    async def _answer(
        self, connection: Connection, member: str, certificates: list[IssuedCertificate]
    ) -> RenewalAnswer:
        transactions = await transactions_of_member(connection, member)
        return RenewalAnswer(
            ca_pem=self.consortium.cas.pem,
            certificates=[
                ServiceCertificate(service=item.principal.partition(".")[2], certificate=item.pem)
                for item in certificates
            ],
            membership=[
                *map(msgspec.Raw, await authority_changes(connection)),
                *(msgspec.Raw(each.raw) for each in transactions if each.action in KEY_ACTIONS and each.state in ALIVE),
            ],
            broker=self.broker,
        )
