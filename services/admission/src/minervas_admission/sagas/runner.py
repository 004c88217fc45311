"""Runs sagas: what is done is recorded step by step, with times, and never repeated needlessly."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref

from minervas_admission import audit_log
from minervas_admission.metrics import STEP_FAILURES, STEPS
from minervas_admission.sagas.steps import Abandoned, Saga, Step
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision, finish_decision, record_step, steps_of
from minervas_admission.store.transactions import waits_for_chain
from minervas_core.errors import Code, MinervasError
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)


class SagaRunner:
    """Carries out decisions. Decisions about one member take turns."""

    def __init__(self, database: Database, clock: Clock, sagas: list[Saga]) -> None:
        self._database = database
        self._clock = clock
        self._sagas = {saga.kind: saga for saga in sagas}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def attempt(self, decision: Decision) -> bool:
        """Do what is left of a decision, as far as possible now; returns whether it is carried out.

        Raises:
            TransientFault: ``database_away``; nothing can be recorded then.
        """
        lock = self._locks.setdefault(decision.member or "", asyncio.Lock())
        steps = self._sagas[decision.kind].steps
        try:
            async with lock:
                async with self._database.transaction() as connection:
                    done = {row.step for row in await steps_of(connection, decision.id) if row.state == "done"}
                failed = await self._run_steps(decision, [s for s in steps if not s.apart and s.name not in done])
            if not any(step.gates for step in failed):
                failed += await self._run_steps(decision, [s for s in steps if s.apart and s.name not in done])
        except Abandoned as reason:
            await self._end(decision, reason.state, str(reason))
            return True
        if not failed:
            await self._end(decision, "", "")
        return not failed

    async def _run_steps(self, decision: Decision, steps: list[Step]) -> list[Step]:
        """Attempt steps up to one that gates the others; returns those that failed."""
        failed: list[Step] = []
        for step in steps:
            if not await self._attempt_step(decision, step):
                failed.append(step)
                if step.gates:
                    break
        return failed

    async def _attempt_step(self, decision: Decision, step: Step) -> bool:
        """Attempt one step and record the outcome."""
        began_ms, began_ns = self._clock.now_ms(), time.monotonic_ns()
        code = ""
        try:
            detail = await step.run(decision)
        except MinervasError as error:
            code, detail = error.code, str(error)
            log.warning("step_failed", extra={"fields": _fields(decision, step, code=code, reason=detail)})
        except Abandoned:
            raise
        except Exception as error:
            code, detail = Code.INTERNAL, f"{type(error).__name__}: {error}"
            log.exception("step_failed", extra={"fields": _fields(decision, step, code=code)})
        took_us = (time.monotonic_ns() - began_ns) // 1000
        async with self._database.transaction() as connection:
            await record_step(
                connection,
                decision.id,
                step.name,
                state="failing" if code else "done",
                started_ms=began_ms,
                finished_ms=self._clock.now_ms(),
                took_us=took_us,
                detail=detail,
            )
        if code:
            STEP_FAILURES.labels(decision.kind, step.name, code).inc()
        else:
            STEPS.labels(decision.kind, step.name).observe(took_us / 1_000_000)
            log.info("step_done", extra={"fields": _fields(decision, step, took_us=took_us, detail=detail)})
        return not code

    async def _end(self, decision: Decision, state: str, reason: str) -> None:
        async with self._database.transaction() as connection:
            if not state:
                state = "carried_out" if await waits_for_chain(connection, decision.id) else "done"
            now_ms = self._clock.now_ms()
            await finish_decision(connection, decision.id, state, now_ms, reason)
            if decision.kind != "reconcile":
                subject = decision.member or RESERVED_MEMBER
                await audit_log.append(
                    connection, time_ms=now_ms, who=audit_log.SERVICE, action=f"{decision.kind} {state}",
                    subject=subject, decision=decision.id, **({"reason": reason} if reason else {}),
                )  # fmt: skip


def _fields(decision: Decision, step: Step, **more: str | int) -> dict[str, str | int]:
    return {"decision": decision.id, "kind": decision.kind, "of": decision.member or "", "step": step.name, **more}
