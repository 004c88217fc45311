"""Receives the gateways and meters that members add, and carries an approved addition out.

An addition waits in the queue of applications. Approving it issues certificates, broker rights, and one
``register_meter`` for each new meter; each step finds what it made before, so it can be interrupted anywhere.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.application_check import check_clock, gateway_claims
from minervas_admission.authority import Consortium
from minervas_admission.metrics import APPLICATIONS
from minervas_admission.store.applications import (
    KIND_ADDITION,
    ApplicationRow,
    check_room,
    find_application,
    insert_addition,
)
from minervas_admission.store.certificates import member_certificates
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.member_keys import keys_of
from minervas_admission.store.members import lock_member
from minervas_admission.store.transactions import ALIVE, TransactionRow, transactions_of_member
from minervas_admission.tokens import application_id, application_token, token_hash
from minervas_core.addition import Addition, addition_fingerprint, check_addition
from minervas_core.encoding import decode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    ApplicationReceipt,
    declared_meters,
)
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import Principal
from minervas_core.market.records import MeterDeclaration
from minervas_core.membership import membership_of
from minervas_core.transactions import RegisterMeter, decode_transaction
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the authority has signed for a member so far."""

    wallets: tuple[str, ...]
    """Wallets that speak for the member, see `MemberKeys`."""
    meters: dict[str, tuple[str, MeterDeclaration]]
    """Gateway key and declaration, by meter."""

    def check_signature(self, addition: Addition, network: str) -> None:
        """Check it with the member's wallet; while a rotation is under way, with either of the two.

        Raises:
            InvalidEnrolment: ``bad_signature`` or ``bad_enrolment``.
        """
        newest, *others = self.wallets
        try:
            check_addition(addition, newest, network)
        except InvalidEnrolment as error:
            if error.code is not Code.BAD_SIGNATURE or not others:
                raise
            check_addition(addition, others[0], network)

    def new_meters(self, addition: Addition) -> list[tuple[str, MeterDeclaration]]:
        """The meters of an addition that are not registered, each with its gateway key.

        Raises:
            InvalidEnrolment: ``meter_exists`` if a registered meter is described otherwise, or is another gateway's.
        """
        new: list[tuple[str, MeterDeclaration]] = []
        for gateway, meter in declared_meters(addition):
            known = self.meters.get(meter.meter)
            if known is None:
                new.append((gateway, meter))
            elif known != (gateway, meter):
                raise InvalidEnrolment(
                    Code.METER_EXISTS,
                    "A meter of this id is registered with other channels, or for another gateway; choose another id",
                    meter=meter.meter,
                )
        return new


def registered(rows: list[TransactionRow]) -> Registered:
    """Read what transactions that are or may come on chain say, in the order of signing."""
    keys = keys_of(rows)
    declared: dict[str, MeterDeclaration] = {}
    for row in rows:
        change = membership_of(decode_transaction(row.raw)).change
        if row.state in ALIVE and isinstance(change, RegisterMeter):
            declared[change.meter.meter] = change.meter
    if keys is None:
        return Registered((), {})
    return Registered(keys.wallets, {name: (keys.meters[name], meter) for name, meter in declared.items()})


@dataclass(frozen=True, slots=True)
class AdditionIntake:
    """Receives additions."""

    database: Database
    consortium: Consortium
    clock: Clock
    token_key: bytes

    async def receive(self, raw: bytes, remote_address: str) -> tuple[ApplicationReceipt, bool]:
        """Take an addition in; the same bytes again get the same answer.

        Args:
            raw: its canonical bytes.
            remote_address: where it came from, for the operator.

        Returns:
            The receipt, and whether the addition is new.

        Raises:
            InvalidEncoding: if the bytes are not an addition.
            PeerFault: why it is refused: ``member_unknown``, ``bad_signature``, ``bad_enrolment``, ``bad_key``,
                ``key_reused``, ``meter_exists`` or ``clock_offset``.
            TransientFault: ``rate_limited`` if too many wait for a decision, ``not_ready`` if another addition of this
                member does; ``database_away``.
        """
        addition = decode(raw, Addition, max_bytes=MAX_APPLICATION_BYTES)
        receipt = ApplicationReceipt(
            application_id=application_id(raw),
            token=application_token(self.token_key, raw),
            fingerprint=addition_fingerprint(addition),
        )
        async with self.database.transaction() as connection:
            if await find_application(connection, receipt.application_id) is not None:
                APPLICATIONS.labels("repeated").inc()
                return receipt, False
            await self._store(connection, raw, addition, receipt, remote_address)
        APPLICATIONS.labels("new").inc()
        fields = {"application": receipt.application_id, "applicant": addition.member, "kind": KIND_ADDITION}
        log.info("application_received", extra={"fields": fields})
        return receipt, True

    async def _store(
        self, connection: Connection, raw: bytes, addition: Addition, receipt: ApplicationReceipt, remote_address: str
    ) -> None:
        now_ms = self.clock.now_ms()
        check_clock(addition.body.sent_at_ms, now_ms)
        joined = await self._judge(connection, addition)
        await check_room(connection, signed=True)
        row = ApplicationRow(
            id=receipt.application_id,
            member=addition.member,
            name=joined.name,
            contact=joined.contact,
            content=raw,
            fingerprint=receipt.fingerprint,
            token_hash=token_hash(receipt.token),
            remote_address=remote_address,
            received_ms=now_ms,
            state="pending",
            reason="",
            decided_ms=None,
            kind=KIND_ADDITION,
        )
        await insert_addition(connection, row, gateway_claims(addition))
        await audit_log.append(
            connection, time_ms=now_ms, who=audit_log.APPLICANT, action="apply to add", subject=row.member,
            application=row.id, fingerprint=row.fingerprint,
        )  # fmt: skip

    async def _judge(self, connection: Connection, addition: Addition) -> ApplicationRow:
        """Check an addition against what the member has; returns the application that it joined with."""
        member = await lock_member(connection, addition.member)
        joined = await find_application(connection, member.application) if member is not None else None
        if member is None or member.state != "active" or joined is None:
            raise InvalidEnrolment(Code.MEMBER_UNKNOWN, "There is no such active member", member=addition.member)
        known = registered(await transactions_of_member(connection, addition.member))
        if not known.wallets:
            raise InvalidEnrolment(Code.MEMBER_UNKNOWN, "This member was never admitted", member=addition.member)
        known.check_signature(addition, self.consortium.network)
        valid = await member_certificates(connection, addition.member, self.clock.now_ms())
        principals = {item.principal for item in valid}  # a replaced node's other gateways have none any more
        names = {str(Principal(addition.member, item.claim.service)) for item in addition.services}
        if not known.new_meters(addition) and names <= principals:
            raise InvalidEnrolment(
                Code.BAD_ENROLMENT,
                "There is nothing new in this addition: these gateways and meters are registered",
                services=",".join(sorted(names)),
            )
        return joined
