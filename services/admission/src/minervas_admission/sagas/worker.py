"""Picks the operator's decisions up and sees each through, however often it has to try."""

from __future__ import annotations

import asyncio
import logging

from minervas_admission.sagas.runner import SagaRunner
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision, queued_decisions
from minervas_core.errors import MinervasError

log = logging.getLogger(__name__)

POLL_S = 2.0
"""Decisions are looked for this often even if no notification came."""

RETRY_MIN_S = 0.2
RETRY_MAX_S = 5.0


class DecisionWorker:
    """Runs every queued decision in a task of its own."""

    def __init__(self, database: Database, runner: SagaRunner) -> None:
        self._database = database
        self._runner = runner
        self._new = asyncio.Event()
        self._mended = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def busy(self) -> int:
        """Decisions under way."""
        return len(self._tasks)

    def notify(self) -> None:
        """There may be a new decision."""
        self._new.set()

    def retry_now(self) -> None:
        """What has failed may work now: the broker is back."""
        self._mended.set()
        self._mended = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._start_new(group)
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._new.wait()
                except TimeoutError:
                    pass  # a notification may have been lost with its connection
                self._new.clear()

    async def _start_new(self, group: asyncio.TaskGroup) -> None:
        try:
            async with self._database.transaction() as connection:
                decisions = await queued_decisions(connection)
        except MinervasError as error:
            log.warning("decisions_not_read", extra={"fields": {"code": error.code, "reason": str(error)}})
            return
        for decision in decisions:
            if decision.id not in self._tasks:
                task = group.create_task(self._see_through(decision), name=f"decision {decision.id}")
                self._tasks[decision.id] = task

    async def _see_through(self, decision: Decision) -> None:
        pause_s = RETRY_MIN_S
        try:
            while not await self._attempt(decision):
                mended = self._mended
                try:
                    async with asyncio.timeout(pause_s):
                        await mended.wait()
                except TimeoutError:
                    pause_s = min(RETRY_MAX_S, pause_s * 2)
        finally:
            del self._tasks[decision.id]

    async def _attempt(self, decision: Decision) -> bool:
        """One attempt at what is left; an unknown error concerns this decision only and is tried again too."""
        try:
            return await self._runner.attempt(decision)
        except MinervasError as error:
            fields = {"decision": decision.id, "code": error.code, "reason": str(error)}
            log.warning("decision_waits", extra={"fields": fields})
        except Exception:
            log.exception("decision_failed", extra={"fields": {"decision": decision.id}})
        return False
