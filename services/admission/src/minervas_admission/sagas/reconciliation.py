"""Reconciliation on demand: broker, revocation list and Grafana are made what the database says."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.grafana import NO_GRAFANA, GrafanaSteps
from minervas_admission.sagas.steps import Saga, Step
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision
from minervas_runtime.clock import Clock

NOTHING = "nothing to repair"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The steps of a reconciliation."""

    database: Database
    rights: BrokerRights
    revocation_list: RevocationListKeeper
    clock: Clock
    grafana: GrafanaSteps = NO_GRAFANA

    def saga(self) -> Saga:
        """The steps in order."""
        return Saga(
            "reconcile",
            (
                Step("broker", self.repair_broker, gates=False),
                Step("revocation_list", self.renew_list, gates=False),
                Step("grafana", self.grafana.repair, gates=False, apart=True),
            ),
        )

    async def repair_broker(self, decision: Decision | None = None) -> str:
        """Repair the broker's clients and roles; what was changed goes into the audit log."""
        changes = [str(change) for change in await self.rights.reconcile()]
        if not changes:
            return NOTHING
        async with self.database.transaction() as connection:
            await audit_log.append(
                connection, time_ms=self.clock.now_ms(), who=decision.who if decision else audit_log.SERVICE,
                action="repair broker", subject="broker", changes="; ".join(changes),
            )  # fmt: skip
        return "; ".join(changes)

    async def renew_list(self, decision: Decision | None = None) -> str:  # noqa: ARG002 - nobody's in particular
        """Issue a new revocation list."""
        return f"{await self.revocation_list.issue()} certificates on the list"
