"""An addition: certificates of new gateways, their broker rights, and the registration of new meters."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.additions import registered
from minervas_admission.application_check import decode_addition, service_requests
from minervas_admission.authority import Consortium
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.certificate_request import request_public_key
from minervas_admission.key_identity import tls_key_id
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.sagas.steps import Refused, Saga, Step, Superseded
from minervas_admission.store.applications import ApplicationRow, lock_application, set_application_state
from minervas_admission.store.certificates import member_certificates, record_certificate
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.decisions import Decision
from minervas_admission.store.members import ENDED, lock_member
from minervas_admission.store.transactions import transactions_of_decision, transactions_of_member
from minervas_core.enrolment import declared_meters
from minervas_core.errors import Code, InvalidEnrolment, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.transactions import RegisterMeter
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class AdditionSaga:
    """The steps of an approved addition."""

    database: Database
    consortium: Consortium
    rights: BrokerRights
    feed: MembershipFeed
    clock: Clock

    def saga(self) -> Saga:
        """The steps in order."""
        return Saga(
            "add",
            (
                Step("certificates", self.certificates),
                Step("broker", self.broker),
                Step("transaction", self.transaction),
            ),
        )

    async def certificates(self, decision: Decision) -> str:
        """Sign a certificate for each gateway; one that exists for the same key is kept."""
        await self._check_again(decision)
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await _addition(connection, decision)
            present = {item.principal: item for item in await member_certificates(connection, row.member, now_ms)}
            names: list[str] = []
            for service, request in service_requests(decode_addition(row.content)).items():
                key = request_public_key(request, service=service)
                name = str(Principal(row.member, service))
                if name not in present or present[name].key_id != tls_key_id(key):
                    await record_certificate(connection, self.consortium.authority.issue_client(name, key, now_ms))
                names.append(name)
        return ", ".join(sorted(names))

    async def broker(self, decision: Decision) -> str:
        """Give each process of the member, with the new ones, its role and client."""
        async with self.database.transaction() as connection:
            row = await _addition(connection, decision)
        return ", ".join(await self.rights.grant(row.member))

    async def transaction(self, decision: Decision) -> str:
        """Sign the registration of each new meter, once; then the member gets everything it needs."""
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await _addition(connection, decision)
            known = registered(await transactions_of_member(connection, row.member))
            for gateway, meter in declared_meters(decode_addition(row.content)):
                if meter.meter not in known.meters:
                    registration = RegisterMeter(member=row.member, gateway=gateway, meter=meter)
                    await sign_change(connection, self.consortium, registration, decision.id, now_ms)
            await set_application_state(connection, row.id, "approved")
            signed = await transactions_of_decision(connection, decision.id)
        self.feed.wake()
        return "; ".join(item.described() for item in signed) or "no new meters"

    async def _check_again(self, decision: Decision) -> None:
        """Check wallet and meters once more before anything is issued: the node may have been replaced since.

        Raises:
            Refused: with the addition rejected.
        """
        async with self.database.transaction() as connection:
            row = await _addition(connection, decision)
            known = registered(await transactions_of_member(connection, row.member))
            addition = decode_addition(row.content)
            try:
                known.check_signature(addition, self.consortium.network)
                known.new_meters(addition)
            except InvalidEnrolment as error:
                refusal = error
                await set_application_state(connection, row.id, "rejected", reason=error.message)
            else:
                return
        raise Refused(str(refusal))


async def _addition(connection: Connection, decision: Decision) -> ApplicationRow:
    """The addition, with it and its member locked.

    Raises:
        Superseded: if the membership was ended meanwhile.
    """
    member = await lock_member(connection, decision.member or "")
    row = await lock_application(connection, decision.application or "")
    if member is None or row is None:
        raise LocalFault(Code.INTERNAL, "The decision is about nobody", decision=decision.id)
    if member.state in ENDED:
        raise Superseded("the membership was ended before the addition was carried out")
    return row
