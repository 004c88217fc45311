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
from minervas_ledger.bill_questions import BillQuestions
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.disk import DiskWatch, watched_disk
from minervas_ledger.finds import Finds
from minervas_ledger.intake import Intake
from minervas_ledger.listeners import (
    answer_about_bills,
    answer_about_chain,
    answer_about_market,
    listen_to_miner,
    listen_to_peer,
)
from minervas_ledger.market_questions import MarketQuestions
from minervas_ledger.node_status import NodeStatus
from minervas_ledger.peer_fetcher import PeerFetcher
from minervas_ledger.questions import Questions
from minervas_ledger.readings_node import ReadingsNode, ReadingsParts
from minervas_ledger.readings_questions import ReadingsQuestions
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.statements import Statements
from minervas_ledger.store.connection import as_transient
from minervas_ledger.store.reader import DatabaseReader, DutyConnection, SideConnection
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_ledger.templates import TemplateMaker
from minervas_ledger.tip_teller import TipTeller
from minervas_ledger.vote_keys import VOTE_KEY, VoteKeys
from minervas_ledger.voting import Voting
from minervas_runtime.bus import Bus
from minervas_runtime.certificate_keeper import CertificateKeeper
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
    keeper = CertificateKeeper(
        settings.paths, Principal(settings.member, SERVICE), issued, context.clock, context.status
    )
    bus = MqttBus(_bus_settings(context, issued), before_connect=keeper.wait_current, may_mend=keeper.is_renewing)
    keeper.on_renewed(bus.reconnect)
    async with keeper.running():
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
    storage = Storage(
        worker,
        DatabaseReader(database),
        DatabaseReader(database, "minervas-ledger ledgers"),
        DutyConnection(database),
        SideConnection(database, "minervas-ledger archive"),
    )
    node = assemble(context, bus, issued, keys, storage)
    reporter = asyncio.create_task(node.keep_status(), name="status")
    try:
        await worker.start()
        await node.run()
    finally:
        reporter.cancel()
        await worker.close()
        for connection in (storage.reader, storage.ledgers, storage.duties, storage.archiving):
            await connection.close()


@dataclass(frozen=True)
class Storage:
    """The database as it is written and as it is read."""

    worker: ChainWorker
    reader: DatabaseReader
    ledgers: DatabaseReader
    """For questions of other ledgers, and to them."""
    duties: DutyConnection
    archiving: SideConnection


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
    readings: ReadingsNode
    disk: DiskWatch
    status: NodeStatus
    presence: PresencePublisher
    wishes: WishWatch

    async def run(self) -> None:
        """Connect, and work until cancelled."""
        try:
            await self.bus.start()
            await self.link.start()
            await self.readings.start()
            self.presence.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.worker.keep_open())
                group.create_task(self.sync.run())
                group.create_task(self.templates.run())
                group.create_task(self.teller.run())
                group.create_task(self.voting.run())
                group.create_task(self.disk.run())
                group.create_task(self._release_postponed())
                group.create_task(self.wishes.run())
                for work in self.readings.work():
                    group.create_task(work)
        finally:
            await self.presence.stop()
            await self.readings.stop()
            await self.link.stop()
            await self.bus.stop()
            await self.readings.flush.close()

    async def keep_status(self) -> None:
        """Keep /healthz up to date, also before there is a database or a bus."""
        while True:
            self.context.status.update(self._health())
            await asyncio.sleep(STATUS_S)

    def _health(self) -> dict[str, object]:
        """Our part of /healthz: readings have a connection of their own, which may be the first to notice."""
        health = self.status.health(self.bus) | {"readings_queued": self.readings.intake.queued}
        refusal = self.readings.intake.refusal
        trouble = str(refusal) if refusal else self.readings.flush.trouble
        if trouble and not health["trouble"]:
            health |= {"status": "failing", "trouble": trouble}
        return health | {"refused_for_low_disk": self.disk.level}

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
    disk = watched_disk(context.settings)
    sync = Sync(WorkerSyncChain(worker, clock, genesis, disk.check_blocks), fetcher, monotonic_ms)
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
    templates = TemplateMaker(member=member, worker=worker, link=link, clock=clock, check_room=disk.check_blocks)
    finds = Finds(member=member, genesis=genesis, worker=worker, templates=templates, link=link, clock=clock)
    status = NodeStatus(
        member=member,
        worker=worker,
        clock=clock,
        disk=disk,
        certificate_expires_ms=lambda: issued.certificate_expires_ms,
    )
    teller = TipTeller(worker, link)
    presence = PresencePublisher(bus, member, SERVICE, status.presence, data=context.settings.paths.data)
    for listener in (templates.chain_changed, teller.chain_changed, voting.chain_changed):
        worker.on_change(listener)
    readings = ReadingsNode(
        ReadingsParts(
            settings=context.settings,
            genesis=genesis,
            bus=bus,
            link=link,
            clock=clock,
            view=lambda: worker.view,
            ledgers=storage.ledgers,
            duties=storage.duties,
            archiving=storage.archiving,
        )
    )
    disk.on_change(readings.disk_changed)
    disk.on_change(lambda _: templates.renew())
    disk.on_change(lambda _: presence.changed())
    statements = Statements(member=member, worker=worker, link=link, clock=clock)
    market = MarketQuestions(member, worker, reader)
    listen_to_peer(link, Intake(worker, sync, clock, disk.check_blocks), sync, status)
    listen_to_miner(link, finds, templates, status)
    answer_about_chain(link, Questions(worker, reader), voting)
    answer_about_market(link, market, ReadingsQuestions(member, reader), statements)
    answer_about_bills(link, BillQuestions(member, genesis, reader))
    wishes = _watch_wishes(context, worker, keys)
    return Node(context, bus, link, worker, sync, templates, teller, voting, readings, disk, status, presence, wishes)


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
