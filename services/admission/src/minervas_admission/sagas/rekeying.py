"""New keys for a member: rotations, which it asks for with the keys that it has, and a replacement of a lost node.

In a replacement, at first, in one database transaction, the old certificates end and the new keys are signed for the
chain: whoever has the lost node can neither renew its certificates nor be given rights again. Then its sessions end
(milliseconds), then the revocation list keeps its certificates out. Only when the sessions have ended the new node gets
certificates and rights, because they are for the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.application_check import decode_application, service_requests
from minervas_admission.authority import Consortium
from minervas_admission.certificate_request import request_public_key
from minervas_admission.key_identity import tls_key_id
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.rotations import checked_rotation, decode_rotation
from minervas_admission.sagas.approval import Approval, locked_application
from minervas_admission.sagas.revocation import Revocation
from minervas_admission.sagas.steps import Refused, Saga, Step
from minervas_admission.store.applications import set_application_state
from minervas_admission.store.certificates import revoke_certificates
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision, steps_of
from minervas_admission.store.members import set_application
from minervas_admission.store.transactions import transactions_of_decision
from minervas_core.enrolment import Application, check_application, declared_meters
from minervas_core.errors import Code, InvalidEnrolment, TransientFault
from minervas_core.transactions import MeterKey, NewKeys, Recover, Rotate
from minervas_runtime.clock import Clock

REPLACED = "the node was replaced by another one"
"""What the lost node is told, should it ask."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """The steps of a replacement; some are those of an approval and of a revocation."""

    database: Database
    consortium: Consortium
    approval: Approval
    revocation: Revocation
    feed: MembershipFeed
    clock: Clock

    def saga(self) -> Saga:
        """The steps in order."""
        return Saga(
            "replace",
            (
                Step("transaction", self.transaction),
                Step("sessions", self.revocation.broker, gates=False),
                Step("revocation_list", self.revocation.list_certificates, gates=False),
                Step("certificates", self.certificates),
                Step("broker", self.approval.broker),
                Step("grant", self.grant),
            ),
        )

    async def transaction(self, decision: Decision) -> str:
        """End the old certificates, and sign the new keys: the wallet waits for objections, all others do not."""
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
            application = decode_application(row.content)
            own = [
                tls_key_id(request_public_key(pem, service=name)) for name, pem in service_requests(application).items()
            ]
            ended = await revoke_certificates(connection, row.member, now_ms, besides=own)
            signed = await transactions_of_decision(connection, decision.id)
            if not signed:
                for change in changes_of(application):
                    signed.append(await sign_change(connection, self.consortium, change, decision.id, now_ms))
        self.feed.wake()
        numbers = " and ".join(str(item.number) for item in signed)
        return f"{ended} certificates ended, transactions {numbers}, valid to height {signed[-1].expires_height}"

    async def certificates(self, decision: Decision) -> str:
        """Sign a certificate for each service, once the old sessions have ended.

        Raises:
            TransientFault: ``bus_offline`` until then.
        """
        async with self.database.transaction() as connection:
            done = {step.step for step in await steps_of(connection, decision.id) if step.state == "done"}
        if "sessions" not in done:
            raise TransientFault(Code.BUS_OFFLINE, "Waits until the sessions of the lost node have ended")
        return await self.approval.certificates(decision)

    async def grant(self, decision: Decision) -> str:
        """Let the new node have everything; from now on it is the member's."""
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
            before = await set_application(connection, row.member, row.id)
            if before != row.id:
                await set_application_state(connection, before, "revoked", reason=REPLACED)
            await set_application_state(connection, row.id, "approved")
        return row.member


@dataclass(frozen=True, slots=True)
class Rotation:
    """The only step of a rotation: the chain does the rest, and the node's services follow it."""

    database: Database
    consortium: Consortium
    feed: MembershipFeed
    clock: Clock

    def saga(self) -> Saga:
        """The step."""
        return Saga("rotate", (Step("transaction", self.transaction),))

    async def transaction(self, decision: Decision) -> str:
        """Sign the rotation, and tell the member.

        Raises:
            Refused: if the member's keys have changed since, or its consent has expired.
        """
        async with self.database.transaction() as connection:
            row = await locked_application(connection, decision)
            signed = await transactions_of_decision(connection, decision.id)
            if not signed:
                try:
                    request = decode_rotation(row.content).request
                    _, change = await checked_rotation(connection, request)
                except InvalidEnrolment as error:
                    refusal: InvalidEnrolment | None = error
                    await set_application_state(connection, row.id, "rejected", reason=error.message)
                else:
                    refusal = None
                    transaction = await sign_change(
                        connection, self.consortium, change, decision.id, self.clock.now_ms(),
                        expires_height=request.expires_height,
                    )  # fmt: skip
                    signed = [transaction]
                    await set_application_state(connection, row.id, "approved")
        if not signed:
            raise Refused(str(refusal))
        self.feed.wake()
        return signed[-1].described()


def changes_of(application: Application) -> list[Rotate | Recover]:
    """What the authority signs for a replacement.

    The other keys first, so that they never come later than the wallet's announcement.
    """
    keys = check_application(application)
    meters = [MeterKey(meter=meter.meter, gateway=gateway) for gateway, meter in declared_meters(application)]
    others = NewKeys(box=keys.box, block=keys.block, vote=keys.vote)
    return [
        Rotate(member=application.member, keys=others, meters=meters),
        Recover(member=application.member, wallet=keys.wallet),
    ]
