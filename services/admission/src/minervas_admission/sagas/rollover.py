"""A step of replacing the CA: the change itself, then the broker's files, then certificates of servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minervas_admission.authority import Consortium
from minervas_admission.ca_rollover import FORCE, KINDS, check_step, do_step
from minervas_admission.data_directory import DataDirectory
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.steps import Refused, Saga, Step
from minervas_admission.store.applications import claim_consortium_keys
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision
from minervas_core.errors import LocalFault
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Rollover:
    """The steps of a step: the same for start, switch and finish."""

    database: Database
    consortium: Consortium
    data: DataDirectory
    revocation_list: RevocationListKeeper
    clock: Clock
    renew_servers: Callable[[], Awaitable[str]]
    """Signs certificates of servers anew where that is due."""

    def sagas(self) -> list[Saga]:
        """All three, with the steps in order."""
        steps = (
            Step("authorities", self.authorities),
            Step("broker", self.broker, gates=False),
            Step("servers", self.servers, gates=False),
        )
        return [Saga(kind, steps) for kind in KINDS]

    async def authorities(self, decision: Decision) -> str:
        """Change which CAs are in use.

        Raises:
            Refused: if it can not be done any more, now that its turn has come.
        """
        cas, now_ms = self.consortium.cas, self.clock.now_ms()
        if cas.state.decision != decision.id:
            ids = {name: each.id for name, each in cas.trusted.items()}
            try:
                async with self.database.transaction() as connection:
                    force = decision.content == FORCE
                    await check_step(connection, decision.kind, self.data, ids, now_ms=now_ms, force=force)
            except LocalFault as fault:
                raise Refused(f"{fault.code}: {fault.message}") from fault
        name = self.consortium.genesis.body.name
        done = await asyncio.to_thread(
            do_step, decision.kind, self.data, cas, name, decision=decision.id, now_ms=now_ms
        )
        async with self.database.transaction() as connection:
            await claim_consortium_keys(connection, self.consortium.key_claims(), member=RESERVED_MEMBER)
        return done

    async def broker(self, decision: Decision) -> str:  # noqa: ARG002 - the same for all three
        """Give the broker the CAs in use and a revocation list of each."""
        entries = await self.revocation_list.issue()
        return f"{len(self.consortium.cas.trusted)} CAs, {entries} certificates on their lists"

    async def servers(self, decision: Decision) -> str:  # noqa: ARG002 - the same for all three
        """Certify HTTPS server, broker and admission's own client by the CA that signs, if they are by another."""
        return await self.renew_servers() or "nothing to renew"
