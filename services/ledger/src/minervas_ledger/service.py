"""The ledger as a running service: keys, joining, database, bus, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from minervas_core.errors import MinervasError
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_ledger import __version__
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.finds import Finds
from minervas_ledger.intake import Intake
from minervas_ledger.listeners import answer_about_chain, answer_about_market, listen_to_miner, listen_to_peer
from minervas_ledger.market_questions import MarketQuestions
from minervas_ledger.node_status import NodeStatus
from minervas_ledger.peer_fetcher import PeerFetcher
from minervas_ledger.questions import Questions
from minervas_ledger.readings_flush import ReadingsFlush
from minervas_ledger.readings_intake import ReadingsIntake
from minervas_ledger.readings_questions import ReadingsQuestions
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.statements import Statements
from minervas_ledger.store.connection import as_transient
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_ledger.templates import TemplateMaker
from minervas_ledger.tip_teller import TipTeller
from minervas_ledger.vote_keys import VOTE_KEY, VoteKeys
from minervas_ledger.voting import Voting
from minervas_runtime.bus import Bus
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.enrolment import Issued, wait_for_issue, write_enrolment
from minervas_runtime.key_ring import KeyRing, Rotatable, WishWatch
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import PresencePublisher, offline_will
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

SERVICE: Literal["ledger"] = "ledger"

STATUS_S = 0.5
"""How often /healthz is brought up to date."""
POSTPONED_S = 0.5
"""How often blocks from the future are looked at again."""


async def run_ledger(context: ServiceContext[LedgerSettings]) -> None:
    """Make keys, wait for approval, and work until cancelled.

    Raises:
        MinervasError: if keys, issued files, schema or the broker's refusal make it impossible.
    """
    settings = context.settings
    ring = KeyRing(settings.paths.data, VOTE_KEY, SigningKey)
    write_enrolment(settings.paths, settings.member, SERVICE, ring.first)
    issued = await wait_for_issue(settings.paths, SERVICE, settings.member, broker=settings.broker)
    bus = MqttBus(_bus_settings(context, issued))
    await serve(context, bus, issued, VoteKeys(ring, settings.member))


async def serve(context: ServiceContext[LedgerSettings], bus: Bus, issued: Issued, keys: VoteKeys) -> None:
    """Work over a bus that is not started yet, until cancelled.

    Args:
        context: settings, clock and status.
        bus: the connection.
        issued: what admission gave us.
        keys: the vote keys.

    Raises:
        LocalFault: if the database is not one that this ledger can work in, or the broker does not let us in.
    """
    database = context.settings.database
    opener = ChainOpener(database, issued.genesis, keys.voters)
    worker = ChainWorker(opener.open, lambda: as_transient(database))
    reader = DatabaseReader(database)
    node = assemble(context, bus, issued, keys, Storage(worker, reader))
    reporter = asyncio.create_task(node.keep_status(), name="status")
    try:
        await worker.start()
        await node.run()
    finally:
        reporter.cancel()
        await worker.close()
        await reader.close()


@dataclass(frozen=True)
class Storage:
    """The database as it is written and as it is read."""

    worker: ChainWorker
    reader: DatabaseReader


@dataclass(frozen=True)
class Node:
    """The parts of a ledger, tied together."""

    context: ServiceContext[LedgerSettings]
    bus: Bus
    link: NodeLink
    worker: ChainWorker
    sync: Sync
    templates: TemplateMaker
    teller: TipTeller
    voting: Voting
    readings: ReadingsIntake
    flush: ReadingsFlush
    status: NodeStatus
    presence: PresencePublisher
    wishes: WishWatch

    async def run(self) -> None:
        """Connect, and work until cancelled."""
        try:
            await self.bus.start()
            await self.link.start()
            await self.bus.subscribe(self._readings_filter(), self.readings.receive)
            self.presence.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.worker.keep_open())
                group.create_task(self.sync.run())
                group.create_task(self.templates.run())
                group.create_task(self.teller.run())
                group.create_task(self.voting.run())
                group.create_task(self.flush.run())
                group.create_task(self._release_postponed())
                group.create_task(self.wishes.run())
        finally:
            await self.presence.stop()
            await self.link.stop()
            await self.bus.stop()
            await self.flush.close()

    def _readings_filter(self) -> str:
        """Our own member's readings, or everybody's."""
        members = self.context.member if self.context.settings.readings == "own" else "+"
        return f"mesh/v1/{members}/+/reading/#"

    async def keep_status(self) -> None:
        """Keep /healthz up to date, also before there is a database or a bus."""
        while True:
            self.context.status.update(self._health())
            await asyncio.sleep(STATUS_S)

    def _health(self) -> dict[str, object]:
        """Our part of /healthz: readings have a connection of their own, which may be the first to notice."""
        health = self.status.health(self.bus) | {"readings_queued": self.readings.queued}
        if self.flush.trouble and not health["trouble"]:
            health |= {"status": "failing", "trouble": self.flush.trouble}
        return health

    async def _release_postponed(self) -> None:
        while True:
            await asyncio.sleep(POSTPONED_S)
            try:
                if self.worker.view.postponed:
                    await self._judge_postponed()
            except MinervasError as error:
                log.info("postponed_blocks_wait", extra={"fields": {"code": error.code, "reason": str(error)}})

    async def _judge_postponed(self) -> None:
        now_ms = self.context.clock.now_ms()
        await self.worker.run(lambda chain: chain.take_postponed(now_ms))


def assemble(
    context: ServiceContext[LedgerSettings],
    bus: Bus,
    issued: Issued,
    keys: VoteKeys,
    storage: Storage,
) -> Node:
    """Make all parts and tie kinds of messages to them."""
    member, clock, genesis = context.member, context.clock, issued.genesis
    worker, reader = storage.worker, storage.reader
    link = NodeLink(bus, issued.node_key, member, SERVICE, issued.network, clock=clock)
    fetcher = PeerFetcher(link)
    sync = Sync(WorkerSyncChain(worker, clock, genesis), fetcher, monotonic_ms)
    voting = Voting(
        member=member,
        genesis=genesis,
        keys=keys,
        worker=worker,
        link=link,
        fetcher=fetcher,
        is_behind=lambda: sync.is_behind,
        clock=clock,
    )
    templates = TemplateMaker(member=member, worker=worker, link=link, clock=clock)
    finds = Finds(member=member, genesis=genesis, worker=worker, templates=templates, link=link, clock=clock)
    status = NodeStatus(member=member, worker=worker, clock=clock, certificate_expires_ms=issued.certificate_expires_ms)
    teller = TipTeller(worker, link)
    presence = PresencePublisher(bus, member, SERVICE, status.presence)
    for listener in (templates.chain_changed, teller.chain_changed, voting.chain_changed):
        worker.on_change(listener)
    readings = ReadingsIntake(
        network=issued.network,
        genesis_ms=genesis.body.created_ms,
        gateways=lambda: worker.view.gateways,
        now_ms=clock.now_ms,
    )
    flush = ReadingsFlush(
        member=member,
        intake=readings,
        store=ReadingsStore(context.settings.database),
        link=link,
        clock=clock,
        interval_ms=context.settings.readings_flush_ms,
    )
    statements = Statements(member=member, worker=worker, link=link, clock=clock)
    market = MarketQuestions(member, worker, reader)
    listen_to_peer(link, Intake(worker, sync, clock), sync, status)
    listen_to_miner(link, finds, templates, status)
    answer_about_chain(link, Questions(worker, reader), voting)
    answer_about_market(link, market, ReadingsQuestions(member, reader), statements)
    wishes = _watch_wishes(context, worker, keys)
    return Node(context, bus, link, worker, sync, templates, teller, voting, readings, flush, status, presence, wishes)


def _watch_wishes(context: ServiceContext[LedgerSettings], worker: ChainWorker, keys: VoteKeys) -> WishWatch:
    async def registered() -> str:
        return await worker.run(lambda chain: chain.votes.registered_key(context.member))

    vote = Rotatable("vote", registered, keys.make)
    return WishWatch(context.settings.paths.enrol, context.member, SERVICE, {VOTE_KEY: vote})


def _bus_settings(context: ServiceContext[LedgerSettings], issued: Issued) -> BusSettings:
    will = offline_will(context.member, SERVICE, version=__version__, now_ms=context.clock.now_ms())
    return BusSettings(
        host=issued.broker.host,
        port=issued.broker.port,
        ca_file=issued.ca_file,
        cert_file=issued.cert_file,
        key_file=issued.key_file,
        principal=str(Principal(context.member, SERVICE)),
        will=will,
    )
