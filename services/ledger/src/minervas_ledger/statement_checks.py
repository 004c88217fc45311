"""Comparing what our gateways stated with the readings that we stored: the root of a statement is over these.

A statement that does not match rests on other readings than those that we have: a gateway that states what it did not
send, or a database that was changed. After a gateway lost its state, a statement's tree lacks what it had sampled
before; then as many readings are not counted, and nothing can be compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal

from minervas_core.errors import TransientFault
from minervas_core.metering import Reading, readings_root
from minervas_ledger import metrics
from minervas_ledger.store.chain_state import read_node_state
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reader import DutyConnection
from minervas_ledger.store.statement_rows import (
    StatedSpan,
    stated_readings,
    statements_of,
    store_check,
    unchecked_statements,
)
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

LOOK_S = 30.0
MAX_AT_ONCE = 500
PATIENCE_MS = 3_600_000
"""So long after its end a statement waits for readings that may still be in its gateway's spool."""

Result = Literal["match", "mismatch", "incomplete"]


def compare(span: StatedSpan, found: Sequence[tuple[str, Reading]]) -> Result:
    """Compare a statement with the stored readings from its start to its end.

    Args:
        span: what it says.
        found: readings with their spools, by number.
    """
    by_spool: dict[str, list[Reading]] = {}
    for spool, reading in found:
        by_spool.setdefault(spool, []).append(reading)
    choices = [list(readings) for readings in by_spool.values()]
    if any(readings_root(readings) == span.readings_root for readings in choices):
        return "match"
    after_start = [sum(reading.time_ms > span.start_ms for reading in readings) for readings in choices]
    return "mismatch" if span.counted in after_start else "incomplete"


def check_new(connection: Connection, member: str, now_ms: int) -> list[tuple[StatedSpan, Result]]:
    """Compare final statements of a member that were not compared yet, and remember what was found."""
    state = read_node_state(connection)
    if state is None:
        return []
    found: list[tuple[StatedSpan, Result]] = []
    for span in unchecked_statements(connection, member, state.final_height, MAX_AT_ONCE):
        readings = stated_readings(connection, span)
        result = compare(span, readings)
        if result == "match" or now_ms - span.end_ms >= PATIENCE_MS:
            store_check(connection, span, result, len(readings), now_ms)
            found.append((span, result))
    return found


def check_all(connection: Connection, member: str, from_ms: int) -> dict[Result, list[StatedSpan]]:
    """Compare all statements of a member from a time on, for the audit."""
    found: dict[Result, list[StatedSpan]] = {"match": [], "mismatch": [], "incomplete": []}
    for span in statements_of(connection, member, from_ms):
        found[compare(span, stated_readings(connection, span))].append(span)
    return found


class StatementChecks:
    """Compares as statements become final.

    Args:
        member: whose statements.
        database: to read and to remember.
        clock: time of day.
    """

    def __init__(self, member: str, database: DutyConnection, clock: Clock) -> None:
        self._member = member
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self._check()
            except TransientFault as error:
                log.debug("statement_checks_wait", extra={"fields": {"code": error.code}})
            await asyncio.sleep(LOOK_S)

    async def _check(self) -> None:
        now_ms = self._clock.now_ms()
        for span, result in await self._database.ask(lambda database: check_new(database, self._member, now_ms)):
            metrics.STATEMENT_CHECKS.labels(result).inc()
            if result == "mismatch":
                fields = {"statement": span.id, "meter": span.channel[1], "channel": span.channel[2]}
                log.warning("statement_mismatch", extra={"fields": fields})
