"""Suspending a member's vote and giving it back: the chain does it, the broker has no part in it.

The chain takes suspensions and resumptions of a member only in turn, so it ends as the newest decision says in whatever
order their transactions reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.authority import Consortium
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.sagas.steps import Saga, Step, Superseded
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.decisions import VOTING, Decision, newest_decision
from minervas_admission.store.members import ENDED, MemberRow, lock_member, set_suspended
from minervas_admission.store.transactions import transactions_of_decision
from minervas_core.errors import Code, LocalFault
from minervas_core.transactions import Resume, Suspend
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Voting:
    """The steps of a suspension and of a resumption."""

    database: Database
    consortium: Consortium
    feed: MembershipFeed
    clock: Clock

    def sagas(self) -> list[Saga]:
        """Both, with the steps in order."""
        steps = (Step("database", self.in_database), Step("transaction", self.transaction))
        return [Saga("suspend", steps), Saga("resume", steps)]

    async def in_database(self, decision: Decision) -> str:
        """Record whether the member has its vote, unless the operator has decided again since."""
        async with self.database.transaction() as connection:
            member = await _living(connection, decision)
            newest = await newest_decision(connection, member.member, VOTING)
            if newest is not None and newest.id != decision.id:
                return f"decision {newest.id} says otherwise by now"
            if decision.kind == "resume":
                await set_suspended(connection, member.member, None)
            elif member.suspended_ms is None:
                await set_suspended(connection, member.member, self.clock.now_ms())
        return "vote suspended" if decision.kind == "suspend" else "vote given back"

    async def transaction(self, decision: Decision) -> str:
        """Sign it for the chain, once for each decision."""
        async with self.database.transaction() as connection:
            member = await _living(connection, decision)
            found = await transactions_of_decision(connection, decision.id)
            if not found:
                kind = Suspend if decision.kind == "suspend" else Resume
                change, now_ms = kind(member=member.member), self.clock.now_ms()
                found = [await sign_change(connection, self.consortium, change, decision.id, now_ms)]
        self.feed.wake()
        return found[-1].described()


async def _living(connection: Connection, decision: Decision) -> MemberRow:
    """The member, locked.

    Raises:
        Superseded: if the membership was ended meanwhile.
    """
    member = await lock_member(connection, decision.member or "")
    if member is None:
        raise LocalFault(Code.MEMBER_UNKNOWN, "There is no such member", member=decision.member or "")
    if member.state in ENDED:
        raise Superseded("the membership was ended before this was carried out")
    return member
