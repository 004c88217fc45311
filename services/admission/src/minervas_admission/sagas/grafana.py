"""The steps about Grafana in other sagas. Without `[grafana]` in the settings each says so, and is done."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from minervas_admission.grafana.access import GrafanaAccess
from minervas_admission.sagas.steps import Step, Superseded
from minervas_admission.store.decisions import Decision
from minervas_admission.store.grafana import access_to_close, active_members
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.identifiers import RESERVED_MEMBER

log = logging.getLogger(__name__)

NOT_SET_UP = "not set up: the settings have no [grafana]"

MOST_AWAY = 5
"""After so many members in a row for whom Grafana did not answer it is not about them; the others are not tried."""


@dataclass(frozen=True, slots=True)
class GrafanaSteps:
    """The steps; each is apart, so that a Grafana that hangs holds up nothing else about the member."""

    access: GrafanaAccess | None = None

    def giving(self) -> tuple[Step, ...]:
        """Of an approval: comes last, and the applicant has everything else by then."""
        return (Step("grafana", self.give, gates=False, apart=True),)

    def taking(self) -> tuple[Step, ...]:
        """Of an end: after sessions and revocation list, which have to be fast."""
        return (
            Step("readers", self.close_reader, gates=False, apart=True),
            Step("grafana", self.close_user, gates=False, apart=True),
        )

    async def give(self, decision: Decision) -> str:
        """Give the member its access."""
        return await self.access.give(decision.member or "") if self.access else NOT_SET_UP

    async def close_reader(self, decision: Decision) -> str:
        """Close the database role and end its sessions."""
        return await self.access.close_reader(decision.member or "") if self.access else NOT_SET_UP

    async def close_user(self, decision: Decision) -> str:
        """Shut the user out."""
        return await self.access.close_user(decision.member or "") if self.access else NOT_SET_UP

    async def repair(self, decision: Decision | None = None) -> str:  # noqa: ARG002 - nobody's in particular
        """Give everybody what they should have, new versions of dashboards included, and take what they should not.

        A member whose access cannot be set right does not hold up the others; nor does one whose data source does not
        answer, which may be that member's own doing.

        Raises:
            TransientFault: ``grafana_away`` or ``database_away``, in the end or when nobody can be looked at.
        """
        if self.access is None:
            return NOT_SET_UP
        async with self.access.database.transaction() as connection:
            active, to_close = await active_members(connection), await access_to_close(connection)
        open_readers = await self.access.readers.open_members()
        closing = sorted({*to_close, *(open_readers.keys() - {*active, RESERVED_MEMBER})})
        for member in closing:
            await self.access.close_reader(member)
        for member in closing:  # after all roles: Grafana may hang
            await self.access.close_user(member)
        wrong = await self._give_all(self.access, [RESERVED_MEMBER, *active])
        done = f"{len(active)} members and the operator compared"
        return f"{done}; not set right: {'; '.join(wrong)}"[:500] if wrong else done

    @staticmethod
    async def _give_all(access: GrafanaAccess, members: list[str]) -> list[str]:
        """Give each what it should have; returns what could not be set right."""
        wrong: list[str] = []
        away: list[TransientFault] = []
        in_a_row = 0
        for member in members:
            try:
                await (access.give_operator() if member == RESERVED_MEMBER else access.give(member))
            except Superseded:
                continue
            except LocalFault as fault:
                wrong.append(f"{member}: {fault}")
                log.warning("grafana_access_wrong", extra={"fields": {"of": member, "reason": str(fault)}})
            except TransientFault as fault:
                away.append(fault)
                in_a_row += 1
                log.warning("grafana_access_waits", extra={"fields": {"of": member, "reason": str(fault)}})
                if fault.code != Code.GRAFANA_AWAY or in_a_row == MOST_AWAY:
                    break
            else:
                in_a_row = 0
        if away:
            raise away[0]
        return wrong


NO_GRAFANA = GrafanaSteps()
"""Of a consortium without Grafana."""
