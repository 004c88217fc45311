"""Everything about readings in one ledger, tied together: taking, storing, answering for them, and fetching them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from minervas_core.genesis import Genesis
from minervas_ledger.archive import ArchiveDuty
from minervas_ledger.chain_view import ChainView
from minervas_ledger.disk import Level, refusal
from minervas_ledger.expected_intake import ExpectedIntake
from minervas_ledger.fleet import Fleet
from minervas_ledger.ledger_inbox import LedgerInbox
from minervas_ledger.ledger_questions import LedgerQuestions
from minervas_ledger.readings_flush import ReadingsFlush
from minervas_ledger.readings_intake import ReadingsIntake
from minervas_ledger.readings_pull import ReadingsPull
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.statement_checks import StatementChecks
from minervas_ledger.store.reader import DatabaseReader, DutyConnection, SideConnection
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_ledger.templates import Sender
from minervas_runtime.bus import Bus
from minervas_runtime.clock import Clock, monotonic_ms
from minervas_runtime.requests import Requester


@dataclass(frozen=True)
class ReadingsParts:
    """What the parts need from the rest of the ledger."""

    settings: LedgerSettings
    genesis: Genesis
    bus: Bus
    link: Sender
    clock: Clock
    view: Callable[[], ChainView]
    """Raises `TransientFault` ``not_ready`` before there is one."""
    ledgers: DatabaseReader
    duties: DutyConnection
    archiving: SideConnection


class ReadingsNode:
    """The parts of a ledger that have to do with readings."""

    def __init__(self, parts: ReadingsParts) -> None:
        settings, clock = parts.settings, parts.clock
        self._parts = parts
        self.intake = ReadingsIntake(
            network=parts.genesis.network,
            genesis_ms=parts.genesis.body.created_ms,
            gateways=lambda: parts.view().gateways,
            now_ms=clock.now_ms,
        )
        self.flush = ReadingsFlush(
            member=settings.member,
            intake=self.intake,
            store=ReadingsStore(settings.database),
            link=parts.link,
            clock=clock,
            interval_ms=settings.readings_flush_ms,
        )
        self._requester = Requester(parts.bus, clock)
        LedgerInbox(settings.member, parts.genesis.network, parts.ledgers).listen(self._requester)
        self._fleet = Fleet(parts.duties, clock)
        self._checks = StatementChecks(settings.member, parts.duties, clock)
        self._pull = ReadingsPull(
            member=settings.member,
            gateways=lambda: parts.view().gateways,
            source=LedgerQuestions(self._requester),
            reader=parts.ledgers,
            intake=self.intake,
            monotonic_ms=monotonic_ms,
            interval_ms=settings.readings_pull_s * 1_000,
        )

    async def start(self) -> None:
        """Subscribe: to our own member's readings, or to everybody's, and who is there.

        Raises:
            BusDenied: if our rights do not cover it.
        """
        bus = self._parts.bus
        await self._requester.start()
        if self._has_all:
            bus.on_connection_change(self._pull.connection_changed)
            await bus.subscribe("mesh/v1/+/+/presence", self._fleet.receive)
        members = "+" if self._has_all else self._parts.settings.member
        await bus.subscribe(f"mesh/v1/{members}/+/reading/#", self.intake.receive)

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until cancelled."""
        working = [self.flush.run(), self._checks.run()]
        if self._has_all:
            working += [self._pull.run(), self._fleet.run()]
        if (directory := self._parts.settings.expected_output) is not None:
            member, duties = self._parts.settings.member, self._parts.duties
            working.append(ExpectedIntake(directory, member, has_all=self._has_all, database=duties).run())
        if (archive := self._parts.settings.archive) is not None:
            parts = self._parts
            working.append(ArchiveDuty(archive, parts.genesis.network, parts.archiving, parts.clock).run())
        return working

    def disk_changed(self, level: Level) -> None:
        """Refuse readings while the disk is nearly full."""
        self.intake.refusal = refusal("readings") if level else None

    async def stop(self) -> None:
        """End the requests that are being answered."""
        await self._requester.stop()

    @property
    def _has_all(self) -> bool:
        return self._parts.settings.readings == "all"
