"""The miner as a running service: keys, joining, bus, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from minervas_core.encoding import Record, decode
from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.node_messages import Pause, Template
from minervas_core.topics import mesh
from minervas_miner import __version__
from minervas_miner.miner import Miner
from minervas_miner.search_worker import SearchWorker
from minervas_miner.settings import MinerSettings
from minervas_runtime.bus import Bus, Message
from minervas_runtime.certificate_keeper import CertificateKeeper
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.enrolment import Issued, wait_for_issue, write_enrolment
from minervas_runtime.key_ring import KeyRing, Rotatable, WishWatch
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import PresencePublisher, offline_will
from minervas_runtime.randomness import new_search_start
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

SERVICE: Literal["miner"] = "miner"
BLOCK_KEY = "block"
REFUSAL_POLL_S = 0.5

Body = TypeVar("Body", bound=Record)


async def run_miner(context: ServiceContext[MinerSettings]) -> None:
    """Make keys, wait for approval, connect, and search until cancelled.

    Raises:
        MinervasError: if keys, issued files or the broker's refusal make it impossible.
    """
    settings = context.settings
    keys = KeyRing(settings.paths.data, BLOCK_KEY, SigningKey)
    write_enrolment(settings.paths, settings.member, SERVICE, keys.first)
    issued = await wait_for_issue(settings.paths, SERVICE, settings.member, broker=settings.broker)
    keeper = CertificateKeeper(
        settings.paths, Principal(settings.member, SERVICE), issued, context.clock, context.status
    )
    bus = MqttBus(_bus_settings(context, issued), before_connect=keeper.wait_current, may_mend=keeper.is_renewing)
    keeper.on_renewed(bus.reconnect)
    async with keeper.running():
        await serve(context, bus, issued, keys)


async def serve(context: ServiceContext[MinerSettings], bus: Bus, issued: Issued, keys: KeyRing[SigningKey]) -> None:
    """Search over a bus that is not started yet, until cancelled.

    Raises:
        BusRefused: if the broker does not let us in at all.
    """
    member = context.member
    link = NodeLink(bus, issued.node_key, member, SERVICE, issued.network, clock=context.clock)
    search = context.settings.search
    worker = SearchWorker(batch_ms=search.batch_ms, nice=search.nice)
    miner = Miner(
        member=member,
        genesis=issued.genesis,
        find_key=keys.find,
        link=link,
        worker=worker,
        clock=context.clock,
        monotonic_ms=monotonic_ms,
        first_nonce=new_search_start,
        status=context.status,
    )
    presence = PresencePublisher(
        bus,
        member,
        SERVICE,
        lambda: _presence(context.clock.now_ms(), issued.certificate_expires_ms),
        data=context.settings.paths.data,
    )
    link.on("template", Template, _from_ledger(miner.search_for))
    link.on("pause", Pause, _from_ledger(lambda pause: miner.pause(pause.reason)))
    bus.on_connection_change(lambda connected: _follow_bus(context, miner, connected=connected))
    try:
        await bus.start()
        await link.start()
        await bus.subscribe(mesh(Principal(member, "ledger"), "presence"), _ledger_watch(miner))
        presence.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(miner.on_report, miner.on_worker_start))
            group.create_task(miner.run())
            group.create_task(_watch_refusal(bus, miner))
            group.create_task(_watch_wishes(context, miner, keys).run())
    finally:
        await presence.stop()
        await link.stop()
        await bus.stop()


def _watch_wishes(context: ServiceContext[MinerSettings], miner: Miner, keys: KeyRing[SigningKey]) -> WishWatch:
    async def registered() -> str:
        return miner.registered_key

    block = Rotatable("block", registered, keys.made_for)
    return WishWatch(context.settings.paths.enrol, context.member, SERVICE, {BLOCK_KEY: block})


def _bus_settings(context: ServiceContext[MinerSettings], issued: Issued) -> BusSettings:
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


def _presence(now_ms: int, certificate_expires_ms: int) -> Presence:
    return Presence(
        state="online", version=__version__, sent_at_ms=now_ms, certificate_expires_ms=certificate_expires_ms
    )


def _from_ledger(handle: Callable[[Body], None]) -> Callable[[Body, str], Awaitable[None]]:
    """Let only our ledger command the search: other services of the node hold the same node key."""

    async def checked(body: Body, service: str) -> None:
        if service != "ledger":
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger tells what to search for", service=service)
        handle(body)

    return checked


def _ledger_watch(miner: Miner) -> Callable[[Message], None]:
    """Ask for a template whenever our ledger comes (back) to the bus; its later presences only tell its tip."""
    last_state = "offline"

    def watch(message: Message) -> None:
        nonlocal last_state
        state = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES).state
        if (last_state, state) == ("offline", "online"):
            miner.ask_soon()
        last_state = state

    return watch


def _follow_bus(context: ServiceContext[MinerSettings], miner: Miner, *, connected: bool) -> None:
    """A search goes on while the connection is lost: what it finds is delivered when it is back."""
    context.status.update(status="ok" if connected else "failing", connected=connected)
    if connected:
        miner.ask_soon()


async def _watch_refusal(bus: Bus, miner: Miner) -> None:
    """Searching makes no sense while the broker refuses us; its reason may come a moment after the connection's end."""
    while True:
        if bus.refusal is not None:
            miner.pause(str(bus.refusal))
        await asyncio.sleep(REFUSAL_POLL_S)
