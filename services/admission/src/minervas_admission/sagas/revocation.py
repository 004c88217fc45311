"""The end of a membership, by revocation or because the member leaves, in an order that matters.

First the database, because everything else is repaired from it; then the live sessions (milliseconds); then the
revocation list, which keeps the certificates out; then the chain; then the member's role in the ledger's database and
its user in Grafana. A broker that does not answer within half a second
does not hold up the rest: when it comes back it reads the new list at its start, and the step is repeated until it
succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minervas_admission.authority import Consortium
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.grafana import NO_GRAFANA, GrafanaSteps
from minervas_admission.sagas.steps import Saga, Step
from minervas_admission.store.applications import end_waiting_applications, set_application_state
from minervas_admission.store.certificates import principals_of_member
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision
from minervas_admission.store.members import ENDED, end_membership, lock_member
from minervas_admission.store.transactions import ALIVE, ENDINGS, transactions_of_member
from minervas_core.errors import Code, LocalFault
from minervas_core.transactions import Leave, Revoke
from minervas_runtime.clock import Clock

_STATES: dict[str, Literal["revoked", "left"]] = {"revoke": "revoked", "leave": "left"}
"""State of a membership after each kind of end."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The steps of an end: a revocation and a leave differ only in the state and the transaction."""

    database: Database
    consortium: Consortium
    rights: BrokerRights
    revocation_list: RevocationListKeeper
    feed: MembershipFeed
    clock: Clock
    grafana: GrafanaSteps = NO_GRAFANA

    def sagas(self) -> list[Saga]:
        """Both, with the steps in order."""
        return [self._saga("revoke"), self._saga("leave")]

    def _saga(self, kind: str) -> Saga:
        return Saga(
            kind,
            (
                Step("database", self.in_database),
                Step("broker", self.broker, gates=False),
                Step("revocation_list", self.list_certificates, gates=False),
                Step("transaction", self.transaction, gates=False),
                *self.grafana.taking(),
            ),
        )

    async def in_database(self, decision: Decision) -> str:
        """End the membership, its certificates, and whatever it has asked for and not got yet."""
        member_id, now_ms = decision.member or "", self.clock.now_ms()
        async with self.database.transaction() as connection:
            member = await lock_member(connection, member_id)
            if member is None:
                raise LocalFault(Code.MEMBER_UNKNOWN, "There is no such member", member=member_id)
            if member.state not in ENDED:
                state = _STATES[decision.kind]
                await end_membership(connection, member_id, state, decision.reason, now_ms)
                await set_application_state(connection, member.application, state, reason=_told(decision))
                await end_waiting_applications(connection, member_id, state, reason=_told(decision), now_ms=now_ms)
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
        """Sign the end for the chain, unless nothing of the member can be on it."""
        now_ms = self.clock.now_ms()
        member_id = decision.member or ""
        async with self.database.transaction() as connection:
            known = await transactions_of_member(connection, member_id)
            found = [item for item in known if item.action in ENDINGS and item.state in ALIVE]
            if not found and not any(item.action == "admit" and item.state in ALIVE for item in known):
                return "was never admitted on chain"
            if not found:
                change = Leave(member=member_id) if decision.kind == "leave" else Revoke(member=member_id)
                found = [await sign_change(connection, self.consortium, change, decision.id, now_ms)]
        self.feed.wake()
        return found[-1].described()


def _told(decision: Decision) -> str:
    """What whoever asks for the state of the application is told."""
    what = "the member has left" if decision.kind == "leave" else "the membership was revoked"
    return f"{what}: {decision.reason}" if decision.reason else what
