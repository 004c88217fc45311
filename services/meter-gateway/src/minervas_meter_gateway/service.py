"""The meter-gateway as a running service: key, joining, bus, ports, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from minervas_core.encoding import decode
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.node_market_messages import ReadingsStored
from minervas_core.topics import mesh
from minervas_meter_gateway import __version__
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.clock_check import ClockCheck
from minervas_meter_gateway.discovery_publisher import DiscoveryPublisher
from minervas_meter_gateway.enrolment import declared_meters
from minervas_meter_gateway.gateway_keys import GATEWAY_KEY, GatewayKeys
from minervas_meter_gateway.home_assistant import discovery
from minervas_meter_gateway.ledger_link import LedgerLink
from minervas_meter_gateway.metrics import PUT_ASIDE, SPOOL_DEPTH
from minervas_meter_gateway.port_worker import PortWorker
from minervas_meter_gateway.publisher import Publisher
from minervas_meter_gateway.recorder import Recorder
from minervas_meter_gateway.settings import GatewaySettings
from minervas_meter_gateway.spool import ChannelKey, open_spool
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_meter_gateway.statement_book import StatementBook
from minervas_meter_gateway.statement_sender import StatementSender
from minervas_meter_gateway.status_report import StatusReport
from minervas_runtime.bus import Bus, Message
from minervas_runtime.certificate_keeper import CertificateKeeper
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.enrolment import Issued, wait_for_issue, write_enrolment
from minervas_runtime.kernel_clock import kernel_clock
from minervas_runtime.key_ring import KeyRing, Rotatable, WishWatch
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.presence import PresencePublisher, offline_will
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

DISCOVERY_FILE = "home_assistant.json"
READING = "reading"
STOP_PORT_S = 1.0
"""Longest wait for the reads under way when the service stops."""
REPORT_S = 1.0


async def run_gateway(context: ServiceContext[GatewaySettings], ports: Sequence[PortPlan]) -> None:
    """Make keys, wait for approval, connect, and meter until cancelled.

    Raises:
        MinervasError: if keys, issued files, the spool or the broker's refusal make it impossible.
    """
    settings = context.settings
    ring = KeyRing(settings.paths.data, GATEWAY_KEY, SigningKey)
    write_enrolment(settings.paths, settings.member, settings.service, ring.first, meters=declared_meters(ports))
    issued = await wait_for_issue(settings.paths, settings.service, settings.member, broker=settings.broker)
    who = Principal(settings.member, settings.service)
    keeper = CertificateKeeper(settings.paths, who, issued, context.clock, context.status)
    bus = MqttBus(_bus_settings(context, issued), before_connect=keeper.wait_current, may_mend=keeper.is_renewing)
    keeper.on_renewed(bus.reconnect)
    async with keeper.running():
        await Gateway(context, ports, bus, issued, GatewayKeys(ring)).run()


class Gateway:
    """One gateway from its issued files on.

    Args:
        context: of the service.
        ports: what is read.
        bus: not started yet.
        issued: what the consortium issued.
        keys: the gateway's.
    """

    def __init__(
        self,
        context: ServiceContext[GatewaySettings],
        ports: Sequence[PortPlan],
        bus: Bus,
        issued: Issued,
        keys: GatewayKeys,
    ) -> None:
        self._context = context
        self._ports = ports
        self._bus = bus
        self._issued = issued
        self._keys = keys
        self._me = Principal(context.member, context.settings.service)
        settings = context.settings
        self._spool = SpoolThread(lambda: open_spool(settings, issued.network))
        self._link = NodeLink(
            bus, issued.node_key, context.member, self._me.service, issued.network, clock=context.clock
        )
        self._ledger = LedgerLink(self._link, keys)
        self._recorder: Recorder | None = None
        self._presence = PresencePublisher(
            bus, self._me.member, self._me.service, self._own_presence, data=settings.paths.data
        )

    async def run(self) -> None:
        """Meter until cancelled. Sampling does not wait for the broker.

        Raises:
            BusRefused: if the broker does not let us in at all.
        """
        try:
            book = await StatementBook.open(self._spool, _channels(self._ports))
            await self._work(book)
        finally:
            await self._presence.stop()
            await self._link.stop()
            await self._bus.stop()
            self._spool.close()

    async def _work(self, book: StatementBook) -> None:
        sender = self._make_sender(book)
        publisher = self._make_publisher()
        recorder = Recorder(
            ports=self._ports,
            book=book,
            spool=self._spool,
            clock=self._context.clock,
            clock_is_right=sender.look_at_clock,
            on_recorded=publisher.offer,
        )
        self._recorder = recorder
        workers = self._make_workers(recorder)
        report = StatusReport(
            bus=self._bus, workers=workers, recorder=recorder, spool=self._spool.file, book=book, sender=sender
        )
        self._ledger.on_stored(lambda stored: self._acknowledged(stored, publisher))
        self._bus.on_connection_change(lambda connected: _on_connection(publisher, sender, connected=connected))
        try:
            for worker in workers:
                worker.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run())
                group.create_task(self._connect(publisher, sender))
                group.create_task(publisher.run())
                group.create_task(sender.run())
                group.create_task(self._wishes().run())
                group.create_task(self._keep_reporting(report))
                group.create_task(self._make_discovery().run())
        finally:
            for worker in workers:
                worker.stop_soon()
            await asyncio.to_thread(_join_all, workers)

    async def _connect(self, publisher: Publisher, sender: StatementSender) -> None:
        await self._bus.start()
        await self._link.start()
        ledger = mesh(Principal(self._me.member, "ledger"), "presence")
        await self._bus.subscribe(ledger, _ledger_watch(publisher, sender))
        self._presence.start()

    async def _acknowledged(self, stored: ReadingsStored, publisher: Publisher) -> None:
        """The ledger has readings in its database: they may leave the spool."""
        if stored.spool != self._spool.file.id:  # of a spool that we lost
            log.info("acknowledgement_of_other_spool", extra={"fields": {"spool": stored.spool}})
            return
        ranges = [(first, last) for first, last in stored.ranges]
        if not isinstance(stored.refused, msgspec.UnsetType):
            ranges += [(first, last) for first, last in stored.refused]
            PUT_ASIDE.inc(sum(last - first + 1 for first, last in stored.refused))
            log.warning("readings_put_aside", extra={"fields": {"code": Code.CLOCK_OFFSET, "ranges": stored.refused}})
        await self._spool.run(lambda spool: spool.acknowledge(ranges))
        SPOOL_DEPTH.set(self._spool.file.depth)
        publisher.wake()

    def _wishes(self) -> WishWatch:
        async def registered() -> str:
            return self._keys.current.public if self._keys.is_registered else ""

        gateway = Rotatable("gateway", registered, self._keys.make)
        enrol, me = self._context.settings.paths.enrol, self._me
        return WishWatch(enrol, me.member, me.service, {GATEWAY_KEY: gateway})

    async def _keep_reporting(self, report: StatusReport) -> None:
        while True:
            self._context.status.update(report.describe())
            report.carry_counters()
            await asyncio.sleep(REPORT_S)

    def _make_sender(self, book: StatementBook) -> StatementSender:
        parameters = self._issued.genesis.parameters
        kernel = (lambda: kernel_clock().synchronised) if self._context.settings.clock.require_ntp else None
        return StatementSender(
            book=book,
            ledger=self._ledger,
            key=lambda: self._keys.current,
            network=self._issued.network,
            member=self._me.member,
            clock=self._context.clock,
            clock_check=ClockCheck(self._context.clock, monotonic_ms, kernel),
            monotonic_ms=monotonic_ms,
            tolerated_ms=parameters.max_ahead_intervals * parameters.block_interval_ms,
            max_expiry_blocks=parameters.max_expiry_blocks,
        )

    def _make_publisher(self) -> Publisher:
        return Publisher(
            bus=self._bus,
            topic=mesh(self._me, READING),
            spool=self._spool,
            network=self._issued.network,
            member=self._me.member,
            key=lambda: self._keys.current,
            monotonic_ms=monotonic_ms,
        )

    def _make_workers(self, recorder: Recorder) -> list[PortWorker]:
        interval_ms = self._context.settings.sampling.interval_ms
        return [
            PortWorker(plan, interval_ms=interval_ms, clock=self._context.clock, on_samples=recorder.offer)
            for plan in self._ports
        ]

    def _make_discovery(self) -> DiscoveryPublisher:
        settings = self._context.settings
        found = discovery(self._me, self._ports, self._issued.network) if settings.home_assistant.discovery else {}
        return DiscoveryPublisher(self._bus, found, settings.paths.data / DISCOVERY_FILE)

    def _own_presence(self) -> Presence:
        return Presence(
            state="online",
            version=__version__,
            sent_at_ms=self._context.clock.now_ms(),
            certificate_expires_ms=self._issued.certificate_expires_ms,
            spool_use_per_mille=min(1000, 10 * self._recorder.fill_per_cent) if self._recorder else msgspec.UNSET,
            spool_readings=self._spool.file.depth,
        )


def _bus_settings(context: ServiceContext[GatewaySettings], issued: Issued) -> BusSettings:
    service = context.settings.service
    return BusSettings(
        host=issued.broker.host,
        port=issued.broker.port,
        ca_file=issued.ca_file,
        cert_file=issued.cert_file,
        key_file=issued.key_file,
        principal=str(Principal(context.member, service)),
        will=offline_will(context.member, service, version=__version__, now_ms=context.clock.now_ms()),
    )


def _channels(ports: Sequence[PortPlan]) -> list[ChannelKey]:
    return [(meter.id, channel.name) for port in ports for meter in port.meters for channel in meter.channels]


def _join_all(workers: Sequence[PortWorker]) -> None:
    for worker in workers:
        worker.join(STOP_PORT_S)


def _on_connection(publisher: Publisher, sender: StatementSender, *, connected: bool) -> None:
    if connected:
        publisher.resend_all()
        sender.wake()


def _ledger_watch(publisher: Publisher, sender: StatementSender) -> Callable[[Message], None]:
    """Send everything that is not acknowledged when our ledger comes (back) to the bus."""
    last_state = "offline"

    def watch(message: Message) -> None:
        nonlocal last_state
        state = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES).state
        if (last_state, state) == ("offline", "online"):
            publisher.resend_all()
            sender.wake()
        last_state = state

    return watch
