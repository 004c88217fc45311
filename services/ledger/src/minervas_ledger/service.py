"""The ledger as a running service: keys, joining, database, bus, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from minervas_core.encoding import Record
from minervas_core.errors import Code, InvalidFrame, MinervasError
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.messages import GetBodies, GetHeaders, GetTransactionStatus
from minervas_core.node_messages import (
    Abandoned,
    DeliverBlock,
    Found,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetRoster,
    GetStatus,
    GetTemplate,
    GetTransaction,
    LedgerStatus,
    PeerTip,
    SearchProgress,
    Submit,
)
from minervas_ledger import __version__
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.finds import Finds
from minervas_ledger.intake import Intake
from minervas_ledger.node_status import NodeStatus
from minervas_ledger.peer_fetcher import PeerFetcher
from minervas_ledger.questions import Questions
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.connection import as_transient
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_ledger.templates import TemplateMaker
from minervas_ledger.tip_teller import TipTeller
from minervas_runtime.bus import Bus
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.enrolment import Issued, wait_for_issue, write_enrolment
from minervas_runtime.key_files import load_or_create_seed
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import PresencePublisher, offline_will
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

SERVICE: Literal["ledger"] = "ledger"
VOTE_KEY_FILE = "vote.key"

STATUS_S = 0.5
"""How often /healthz is brought up to date."""
POSTPONED_S = 0.5
"""How often blocks from the future are looked at again."""

Body = TypeVar("Body", bound=Record)
Handle = Callable[[Body], Awaitable[Record | None]]


async def run_ledger(context: ServiceContext[LedgerSettings]) -> None:
    """Make keys, wait for approval, and work until cancelled.

    Raises:
        MinervasError: if keys, issued files, schema or the broker's refusal make it impossible.
    """
    settings = context.settings
    key = SigningKey(load_or_create_seed(settings.paths.data / VOTE_KEY_FILE))
    write_enrolment(settings.paths, settings.member, SERVICE, key)
    issued = await wait_for_issue(settings.paths, SERVICE, settings.member, broker=settings.broker)
    bus = MqttBus(_bus_settings(context, issued))
    await serve(context, bus, issued)


async def serve(context: ServiceContext[LedgerSettings], bus: Bus, issued: Issued) -> None:
    """Work over a bus that is not started yet, until cancelled.

    Raises:
        LocalFault: if the database is not one that this ledger can work in, or the broker does not let us in.
    """
    database = context.settings.database
    opener = ChainOpener(database, issued.genesis)
    worker = ChainWorker(opener.open, lambda: as_transient(database))
    reader = DatabaseReader(database)
    node = assemble(context, bus, issued, worker, reader)
    reporter = asyncio.create_task(node.keep_status(), name="status")
    try:
        await worker.start()
        await node.run()
    finally:
        reporter.cancel()
        await worker.close()
        await reader.close()


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
    status: NodeStatus
    presence: PresencePublisher

    async def run(self) -> None:
        """Connect, and work until cancelled."""
        try:
            await self.bus.start()
            await self.link.start()
            self.presence.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.worker.keep_open())
                group.create_task(self.sync.run())
                group.create_task(self.templates.run())
                group.create_task(self.teller.run())
                group.create_task(self._release_postponed())
        finally:
            await self.presence.stop()
            await self.link.stop()
            await self.bus.stop()

    async def keep_status(self) -> None:
        """Keep /healthz up to date, also before there is a database or a bus."""
        while True:
            self.context.status.update(self.status.health(self.bus))
            await asyncio.sleep(STATUS_S)

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
    context: ServiceContext[LedgerSettings], bus: Bus, issued: Issued, worker: ChainWorker, reader: DatabaseReader
) -> Node:
    """Make all parts and tie kinds of messages to them."""
    member, clock, genesis = context.member, context.clock, issued.genesis
    link = NodeLink(bus, issued.node_key, member, SERVICE, issued.network, clock=clock)
    sync = Sync(WorkerSyncChain(worker, clock), PeerFetcher(link), monotonic_ms)
    templates = TemplateMaker(member=member, parameters=genesis.parameters, worker=worker, link=link, clock=clock)
    finds = Finds(member=member, genesis=genesis, worker=worker, templates=templates, link=link, clock=clock)
    status = NodeStatus(member=member, worker=worker, clock=clock, certificate_expires_ms=issued.certificate_expires_ms)
    teller = TipTeller(worker, link)
    presence = PresencePublisher(bus, member, SERVICE, status.presence)
    for listener in (templates.chain_changed, teller.chain_changed):
        worker.on_change(listener)
    _listen_to_peer(link, Intake(worker, sync, clock), Questions(worker, reader), sync, status)
    _listen_to_miner(link, finds, templates, status)
    return Node(context, bus, link, worker, sync, templates, teller, status, presence)


def _listen_to_peer(link: NodeLink, intake: Intake, questions: Questions, sync: Sync, status: NodeStatus) -> None:
    async def on_peer_tip(claim: PeerTip) -> None:
        sync.heard_tip(claim.member, claim.tip)

    async def on_status(_: GetStatus) -> LedgerStatus:
        return status.status()

    link.on("submit", Submit, _only_from("peer", intake.submit))
    link.on("block", DeliverBlock, _only_from("peer", intake.block))
    link.on("peer_tip", PeerTip, _only_from("peer", on_peer_tip))
    link.on("status", GetStatus, _only_from("peer", on_status))
    link.on("get_headers", GetHeaders, _only_from("peer", questions.headers))
    link.on("get_bodies", GetBodies, _only_from("peer", questions.bodies))
    link.on("tx_status", GetTransactionStatus, _only_from("peer", questions.transaction_statuses))
    link.on("roster", GetRoster, _only_from("peer", questions.roster))
    link.on("blocks", GetBlocks, _only_from("peer", questions.blocks))
    link.on("block_detail", GetBlock, _only_from("peer", questions.block))
    link.on("transaction", GetTransaction, _only_from("peer", questions.transaction))
    link.on("abandoned_list", GetAbandoned, _only_from("peer", questions.abandoned))


def _listen_to_miner(link: NodeLink, finds: Finds, templates: TemplateMaker, status: NodeStatus) -> None:
    async def on_get_template(_: GetTemplate) -> None:
        templates.send_again()

    async def on_progress(progress: SearchProgress) -> None:
        status.progress(progress)

    link.on("get_template", GetTemplate, _only_from("miner", on_get_template))
    link.on("progress", SearchProgress, _only_from("miner", on_progress))
    link.on("found", Found, _only_from("miner", finds.found))
    link.on("abandoned", Abandoned, _only_from("miner", finds.abandoned))


def _only_from(allowed: str, handle: Handle[Body]) -> Callable[[Body, str], Awaitable[Record | None]]:
    """Services of a node share one key, but not their tasks: each kind comes from one of them only."""

    async def checked(body: Body, service: str) -> Record | None:
        if service != allowed:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "This service has no such message for us", service=service)
        return await handle(body)

    return checked


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
