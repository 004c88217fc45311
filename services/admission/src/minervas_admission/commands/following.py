"""Waits for the service to carry a decision out and prints every step with its time."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from minervas_admission.commands.output import milliseconds, say
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.database import Connection, connect, database_away
from minervas_admission.store.decisions import (
    OVER,
    PROGRESS_CHANNEL,
    Decision,
    StepRow,
    find_decision,
    service_is_running,
    steps_of,
)
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_runtime.clock import monotonic_ms

POLL_S = 0.5
"""Progress is looked at this often even if no notification came."""

NOT_RUNNING = (
    "The decision is recorded, but the admission service is not running; it will be carried out as soon as "
    "minervas-admission run is started"
)


class Follower:
    """Follows one decision on a connection of its own."""

    def __init__(self, settings: AdmissionSettings, *, until_on_chain: bool, quiet: bool = False) -> None:
        self._settings = settings
        self._until = OVER if until_on_chain else ("carried_out", *OVER)
        self._quiet = quiet
        self._shown: dict[str, tuple[str, int]] = {}

    async def follow(self, decision_id: int, timeout_s: float) -> tuple[Decision, list[StepRow]]:
        """Wait for the outcome.

        Raises:
            TransientFault: ``not_ready`` if the service does not run, ``timeout`` if it takes longer; the decision
                stands and is carried out later.
            LocalFault: ``not_found`` if the decision was superseded by a later one; the code of the rule that
                refused it.
        """
        connection = await connect(self._settings.database, application="minervas-admission command")
        try:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(PROGRESS_CHANNEL)))
            async with asyncio.timeout(timeout_s):
                return await self._wait(connection, decision_id)
        except TimeoutError as error:
            raise TransientFault(
                Code.TIMEOUT,
                "The decision is recorded and the service works on it, but it is not carried out yet",
                waited_s=round(timeout_s),
            ) from error
        except psycopg.OperationalError as error:
            raise database_away(self._settings.database, error) from error
        finally:
            await connection.close()

    async def _wait(self, connection: Connection, decision_id: int) -> tuple[Decision, list[StepRow]]:
        while True:
            decision = await find_decision(connection, decision_id)
            steps = await steps_of(connection, decision_id)
            self._show(steps)
            if decision is None:
                raise LocalFault(Code.NOT_FOUND, "The decision is gone", decision=decision_id)
            if decision.state in self._until:
                _check_carried_out(decision)
                return decision, steps
            if not await service_is_running(connection):
                raise TransientFault(Code.NOT_READY, NOT_RUNNING, decision=decision_id)
            async for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                pass

    def _show(self, steps: list[StepRow]) -> None:
        for step in steps:
            version = (step.state, step.attempts if step.state == "done" else 0)
            if self._shown.get(step.step) == version:
                continue
            self._shown[step.step] = version
            if self._quiet:
                continue
            if step.state == "done":
                say(f"  {step.step:<16} {milliseconds(step.took_us):>12}   {step.detail}")
            else:
                say(f"  {step.step:<16} {'waiting':>12}   {step.detail}")


def _check_carried_out(decision: Decision) -> None:
    """Raise why a decision that is over was not carried out."""
    if decision.state == "superseded":
        raise LocalFault(Code.NOT_FOUND, "A later decision has replaced this one", decision=decision.id)
    if decision.state == "refused":
        code, _, why = decision.outcome.partition(": ")
        raise LocalFault(Code(code), f"The decision was recorded, but when its turn came: {why}", decision=decision.id)


class Stopwatch:
    """How long the operator waited in all."""

    def __init__(self) -> None:
        self._began_ms = monotonic_ms()

    def elapsed_us(self) -> int:
        """Microseconds since the start, to the millisecond."""
        return (monotonic_ms() - self._began_ms) * 1000
