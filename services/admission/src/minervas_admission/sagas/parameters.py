"""A change of the consortium's parameters: one transaction, judged once more when it is signed."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.authority import Consortium
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_parameters
from minervas_admission.parameter_changes import ParameterView, read_wanted
from minervas_admission.sagas.steps import Refused, Saga, Step
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision
from minervas_admission.store.transactions import transactions_of_decision
from minervas_core.errors import LocalFault
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """The step of a change of parameters."""

    database: Database
    consortium: Consortium
    feed: MembershipFeed
    clock: Clock

    def saga(self) -> Saga:
        """The only step."""
        return Saga("parameters", (Step("transaction", self.transaction),))

    async def transaction(self, decision: Decision) -> str:
        """Sign it for the chain, once for each decision, if the rules still allow it.

        Raises:
            Refused: if they do not: the chain has come too close to the height meanwhile.
        """
        async with self.database.transaction() as connection:
            found = await transactions_of_decision(connection, decision.id)
            if not found:
                wanted = read_wanted(decision.content)
                view = await ParameterView.read(connection, self.consortium.genesis)
                try:
                    view.check(wanted)
                except LocalFault as error:
                    raise Refused(str(error)) from error
                now_ms = self.clock.now_ms()
                found = [await sign_parameters(connection, self.consortium, wanted, decision.id, now_ms)]
        self.feed.wake()
        return found[-1].described()
