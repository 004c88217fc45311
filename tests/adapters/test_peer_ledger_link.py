"""When a peer takes its own ledger for away: after a request without an answer, if nothing else was heard since."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from minervas_core.errors import Code, TransientFault
from minervas_core.node_messages import GetRoster, GetStatus, Roster
from minervas_peer.ledger_link import LedgerLink
from minervas_runtime.node_link import NodeLink
from minervas_runtime.pending_replies import NoReply

ROSTER = Roster(height=0, roster_hash="00" * 32, members=[])


class StubLink:
    """A link on which status requests get lost, until the test says that their time is up; others are answered."""

    def __init__(self) -> None:
        self.time_is_up = asyncio.Event()

    async def request(self, _service: str, kind: str, *_rest: Any) -> Roster:
        """Answer, or raise `NoReply`."""
        if kind != "status":
            return ROSTER
        await self.time_is_up.wait()
        raise NoReply(Code.TIMEOUT, "No answer to our request")


async def status_without_answer(ledger: LedgerLink) -> None:
    with pytest.raises(NoReply):
        await ledger.ask("status", GetStatus(), Roster)


def make() -> tuple[StubLink, LedgerLink]:
    stub = StubLink()
    return stub, LedgerLink(cast("NodeLink", stub))


async def test_ledger_that_does_not_answer_is_away_and_nobody_waits_for_it_again() -> None:
    stub, ledger = make()
    stub.time_is_up.set()
    await status_without_answer(ledger)
    assert ledger.is_away
    with pytest.raises(TransientFault) as refused:
        await ledger.ask("roster", GetRoster(), Roster)
    assert refused.value.code == Code.NOT_READY
    ledger.heard()
    assert await ledger.ask("roster", GetRoster(), Roster) == ROSTER


@pytest.mark.parametrize("sign_of_life", ["answer", "event"])
async def test_lost_request_does_not_make_a_ledger_away_that_was_heard_since(sign_of_life: str) -> None:
    """A broker that came back drops what is sent to a service before that is back too."""
    stub, ledger = make()
    lost = asyncio.create_task(status_without_answer(ledger))
    await asyncio.sleep(0)
    if sign_of_life == "answer":
        await ledger.ask("roster", GetRoster(), Roster)
    else:
        ledger.heard()
    stub.time_is_up.set()
    await lost
    assert not ledger.is_away
    assert await ledger.ask("roster", GetRoster(), Roster) == ROSTER
