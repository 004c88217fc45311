"""Refusals are all counted; the log is not flooded by whoever sends many of them."""

from __future__ import annotations

import logging

import pytest

from minervas_core.errors import Code, PeerFault
from minervas_ledger import refusals
from minervas_runtime import clock


@pytest.fixture
def now_ms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [clock.monotonic_ms()]
    monkeypatch.setattr(refusals, "monotonic_ms", lambda: now[0])
    return now


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    fields = [record.__dict__["fields"] for record in caplog.records if record.message == "refused"]
    return [(each["origin"], each["skipped"]) for each in fields]


def test_many_refusals_for_one_reason_are_counted_and_logged_once_a_second(
    now_ms: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=refusals.__name__)
    before = refusals.by_code().get(Code.POOL_CONFLICT, 0)
    error = PeerFault(Code.POOL_CONFLICT, "Excluded by one that came first")
    for _ in range(500):
        refusals.record("transaction", error, origin="flooder")
    refusals.record("transaction", error, origin="another")
    assert refusals.by_code()[Code.POOL_CONFLICT] == before + 501
    assert logged(caplog) == [("flooder", 0), ("another", 0)]
    now_ms[0] += refusals.LOG_EVERY_MS
    refusals.record("transaction", error, origin="flooder")
    assert logged(caplog)[2:] == [("flooder", 499)]
