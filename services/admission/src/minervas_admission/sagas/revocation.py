"""Revocation, in an order that matters.

First the database, because everything else is repaired from it; then the live sessions (milliseconds); then the
revocation list, which keeps the certificates out; then the chain. A broker that does not answer within half a second
does not hold up the rest: when it comes back it reads the new list at its start, and the step is repeated until it
succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.authority import Consortium
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.steps import Saga, Step
from minervas_admission.store.applications import set_application_state
from minervas_admission.store.certificates import principals_of_member
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision
from minervas_admission.store.members import lock_member, revoke_member
from minervas_admission.store.transactions import ALIVE, transactions_of_member
from minervas_core.errors import Code, LocalFault
from minervas_core.transactions import Revoke
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Revocation:
    """The steps of a revocation."""

    database: Database
    consortium: Consortium
    rights: BrokerRights
    revocation_list: RevocationListKeeper
    feed: MembershipFeed
    clock: Clock

    def saga(self) -> Saga:
        """The steps in order."""
        return Saga(
            "revoke",
            (
                Step("database", self.in_database),
                Step("broker", self.broker, gates=False),
                Step("revocation_list", self.list_certificates, gates=False),
                Step("transaction", self.transaction, gates=False),
            ),
        )

    async def in_database(self, decision: Decision) -> str:
        """End the membership and its certificates."""
        member_id = decision.member or ""
        async with self.database.transaction() as connection:
            member = await lock_member(connection, member_id)
            if member is None:
                raise LocalFault(Code.MEMBER_UNKNOWN, "There is no such member", member=member_id)
            if member.state != "revoked":
                await revoke_member(connection, member_id, decision.reason, self.clock.now_ms())
                reason = f"the membership was revoked: {decision.reason}"
                await set_application_state(connection, member.application, "revoked", reason=reason)
        return "membership and certificates ended"

    async def broker(self, decision: Decision) -> str:
        """Take all rights away, which ends the live sessions."""
        async with self.database.transaction() as connection:
            principals = await principals_of_member(connection, decision.member or "")
        await self.rights.withdraw(principals)
        return ", ".join(principals) or "had no certificates"

    async def list_certificates(self, decision: Decision) -> str:  # noqa: ARG002 - the list is of all members
        """Publish a revocation list, which refuses the next handshakes."""
        return f"{await self.revocation_list.issue()} certificates on the list"

    async def transaction(self, decision: Decision) -> str:
        """Sign the revocation for the chain, unless nothing of the member can be on it."""
        now_ms = self.clock.now_ms()
        member_id = decision.member or ""
        async with self.database.transaction() as connection:
            known = await transactions_of_member(connection, member_id)
            found = [item for item in known if item.action == "revoke" and item.state in ALIVE]
            if not found and not any(item.action == "admit" and item.state in ALIVE for item in known):
                return "was never admitted on chain"
            if not found:
                found = [await sign_change(connection, self.consortium, Revoke(member=member_id), decision.id, now_ms)]
        self.feed.wake()
        return f"number {found[-1].number}, id {found[-1].id}, valid to height {found[-1].expires_height}"
