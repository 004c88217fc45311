"""What our ledger says of the chain: its tip as it moves, and the roster on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from minervas_core.errors import Code, InvalidFrame, MinervasError
from minervas_core.messages import ChainTip
from minervas_core.node_messages import GetRoster, GetStatus, LedgerStatus, Roster, TipChanged
from minervas_peer.ledger_link import LEDGER, LedgerLink
from minervas_runtime.node_link import NodeLink

log = logging.getLogger(__name__)

RETRY_S = 0.5
"""Pause before the ledger is asked again after it did not answer."""

TakeRoster = Callable[[Roster], Awaitable[None]]


class LedgerWatch:
    """Follows our own ledger."""

    def __init__(
        self,
        link: NodeLink,
        ledger: LedgerLink,
        *,
        interval_ms: int,
        take_roster: TakeRoster,
        on_tip: Callable[[], None],
    ) -> None:
        """Follow a ledger.

        Args:
            link: to the services of our node.
            ledger: requests to the ledger.
            interval_ms: pause between two looks at its status.
            take_roster: called with every new roster.
            on_tip: called when the tip moved, or a sync began or ended.
        """
        self.tip: ChainTip | None = None
        """Head of our best chain; None until the ledger has spoken."""
        self.syncing = False
        """Whether the ledger is catching up with others."""
        self.authority = ""
        """The authority's key on our tip; empty while it is that of genesis."""
        self._ledger = ledger
        self._interval_ms = interval_ms
        self._take_roster = take_roster
        self._on_tip = on_tip
        self._roster_hash = ""
        self._wanted_roster_hash = ""
        self._look = asyncio.Event()
        self._failing = False
        link.on("tip", TipChanged, self._on_tip_event)

    def look_soon(self) -> None:
        """Ask the ledger for its status now, not only at the next interval."""
        self._look.set()

    async def run(self) -> None:
        """Follow until cancelled. The interval makes up for lost events."""
        while True:
            self._look.clear()
            pause_s = self._interval_ms / 1000 if await self._try_refresh() else RETRY_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._look.wait()
            except TimeoutError:
                self._wanted_roster_hash = ""

    async def _try_refresh(self) -> bool:
        try:
            await self._refresh()
        except MinervasError as error:
            if not self._failing:
                log.info("ledger_not_ready", extra={"fields": {"code": error.code, "reason": str(error)}})
            self._failing = True
        else:
            self._failing = False
        return not self._failing

    async def _refresh(self) -> None:
        """Look at the status, unless an event has just told us; then at the roster if it is another than ours."""
        if not self._wanted_roster_hash:
            status = await self._ledger.ask("status", GetStatus(), LedgerStatus)
            self._move(status)
        if self._wanted_roster_hash != self._roster_hash:
            roster = await self._ledger.ask("roster", GetRoster(), Roster)
            await self._take_roster(roster)
            self._roster_hash = roster.roster_hash

    async def _on_tip_event(self, event: TipChanged, service: str) -> None:
        if service != LEDGER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger tells about the chain", service=service)
        self._ledger.heard()
        self._move(event)
        if self._wanted_roster_hash != self._roster_hash:
            self._look.set()

    def _move(self, told: TipChanged | LedgerStatus) -> None:
        moved = (told.tip, told.syncing) != (self.tip, self.syncing)
        self.tip, self.syncing, self._wanted_roster_hash = told.tip, told.syncing, told.roster_hash
        self.authority = "" if isinstance(told.authority, msgspec.UnsetType) else told.authority
        if moved:
            self._on_tip()
