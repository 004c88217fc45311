"""Approval: certificates, then broker rights, then the signed admission. The chain confirms it afterwards.

The member counts as approved once these three exist; the chain may not have its first block yet, since these very
members will mine it (docs/adr/0017). Access to Grafana comes last and holds nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.application_check import decode_application, service_requests
from minervas_admission.authority import Consortium
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.certificate_request import request_public_key
from minervas_admission.key_identity import tls_key_id
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.sagas.grafana import NO_GRAFANA, GrafanaSteps
from minervas_admission.sagas.steps import Saga, Step, Superseded
from minervas_admission.store.applications import ApplicationRow, lock_application, set_application_state
from minervas_admission.store.certificates import member_certificates, record_certificate
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.decisions import Decision
from minervas_admission.store.members import ENDED, activate_member, lock_member
from minervas_admission.store.transactions import ALIVE, transactions_of_member
from minervas_core.enrolment import check_application, declared_meters
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.transactions import Admit, RegisterMeter
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Approval:
    """The steps of an approval."""

    database: Database
    consortium: Consortium
    rights: BrokerRights
    feed: MembershipFeed
    clock: Clock
    grafana: GrafanaSteps = NO_GRAFANA

    def saga(self) -> Saga:
        """The steps in order."""
        return Saga(
            "approve",
            (
                Step("certificates", self.certificates),
                Step("broker", self.broker),
                Step("transaction", self.transaction),
                *self.grafana.giving(),
            ),
        )

    async def certificates(self, decision: Decision) -> str:
        """Sign a certificate for each service; one that exists for the same key is kept."""
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
            present = {item.principal: item for item in await member_certificates(connection, row.member, now_ms)}
            names: list[str] = []
            for service, request in service_requests(decode_application(row.content)).items():
                key = request_public_key(request, service=service)
                name = str(Principal(row.member, service))
                if name not in present or present[name].key_id != tls_key_id(key):
                    certificate = self.consortium.authority.issue_client(name, key, now_ms)
                    await record_certificate(connection, certificate)
                names.append(name)
        return ", ".join(sorted(names))

    async def broker(self, decision: Decision) -> str:
        """Give each service its role and client."""
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
        return ", ".join(await self.rights.grant(row.member))

    async def transaction(self, decision: Decision) -> str:
        """Sign the admission and the registration of its meters; then the applicant gets everything it needs."""
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
            known = await transactions_of_member(connection, row.member)
            valid = [item for item in known if item.action == "admit" and item.state in ALIVE]
            application = decode_application(row.content)
            if not valid:
                change = Admit(member=row.member, keys=check_application(application))
                valid = [await sign_change(connection, self.consortium, change, decision.id, now_ms)]
                for gateway, meter in declared_meters(application):
                    registration = RegisterMeter(member=row.member, gateway=gateway, meter=meter)
                    await sign_change(connection, self.consortium, registration, decision.id, now_ms)
            await activate_member(connection, row.member)
            await set_application_state(connection, row.id, "approved")
        self.feed.wake()
        return valid[-1].described()


async def locked_application(connection: Connection, decision: Decision) -> ApplicationRow:
    """The application of an approval or a replacement, with it and its member locked.

    Raises:
        Superseded: if the membership was ended meanwhile.
    """
    member = await lock_member(connection, decision.member or "")
    row = await lock_application(connection, decision.application or "")
    if member is None or row is None:
        raise LocalFault(Code.INTERNAL, "The decision is about nobody", decision=decision.id)
    if member.state in ENDED:
        raise Superseded("the membership was ended before the approval was carried out")
    return row
