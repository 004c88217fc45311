"""Rows of `expected_output`: what a model expects of panels."""

from __future__ import annotations

from minervas_core.expected_output import ExpectedOutput
from minervas_ledger.store.connection import Connection

UPSERT = """
INSERT INTO expected_output AS e (member, meter, channel, time_ms, step_ms, power_mw, rated_w, model, made_ms)
SELECT %(member)s, %(meter)s, %(channel)s, %(start_ms)s + (number - 1) * %(step_ms)s, %(step_ms)s, power_mw,
    %(rated_w)s, %(model)s, %(made_ms)s
FROM unnest(%(power_mw)s::bigint[]) WITH ORDINALITY AS expected (power_mw, number)
ON CONFLICT (member, meter, channel, time_ms) DO UPDATE SET
    step_ms = excluded.step_ms, power_mw = excluded.power_mw, rated_w = excluded.rated_w, model = excluded.model,
    made_ms = excluded.made_ms
WHERE e.made_ms < excluded.made_ms
"""


def write_expected(connection: Connection, expected: ExpectedOutput) -> None:
    """Store an expectation, all of it or nothing; what was computed later than it stays."""
    with connection.transaction():
        for each in expected.channels:
            connection.execute(
                UPSERT,
                {
                    "member": expected.member,
                    "meter": each.meter,
                    "channel": each.channel,
                    "start_ms": expected.start_ms,
                    "step_ms": expected.step_ms,
                    "power_mw": each.power_mw,
                    "rated_w": each.rated_w,
                    "model": expected.model,
                    "made_ms": expected.made_ms,
                },
            )
