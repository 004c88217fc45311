"""The peer as a running service: keys, joining, bus, API, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_peer import __version__
from minervas_peer.api.access_token import load_or_create_token
from minervas_peer.api.addition_paths import Notary
from minervas_peer.api.app import build_app
from minervas_peer.api.bill_view import BillView
from minervas_peer.api.request_limits import allowed_names
from minervas_peer.api.rotation_paths import add_rotation_path
from minervas_peer.api.server import ApiServer
from minervas_peer.api.trade_view import TradeView
from minervas_peer.api.view import NodeView
from minervas_peer.authority_keys import AuthorityKeys
from minervas_peer.epoch_store import EpochStore
from minervas_peer.join.ca_bundle import CaBundleKeeper, trusted_at_start
from minervas_peer.key_courier import PEER
from minervas_peer.key_exchange import Identity
from minervas_peer.membership_proof import prove_membership
from minervas_peer.node import NodeConfig, PeerNode
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_peer.rekey.signer import RotationSigner
from minervas_peer.renewal.collector import RenewalCollector
from minervas_peer.renewal.exchange import RenewalExchange
from minervas_peer.renewal.node_files import find_address
from minervas_peer.settings import PeerSettings
from minervas_peer.standing_rules.keeper import RulesKeeper
from minervas_peer.standing_rules.store import RULES_FILE, RulesStore
from minervas_peer.standing_rules.worker import RulesWorker
from minervas_runtime.bus import Bus
from minervas_runtime.certificate_keeper import CertificateKeeper
from minervas_runtime.enrolment import Issued, read_membership, wait_for_issue, write_enrolment
from minervas_runtime.key_ring import KeyRing
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.presence import offline_will
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

WALLET_KEY = "wallet"
BOX_KEY = "box"
STATE_FILE = "state.json"


async def run_peer(context: ServiceContext[PeerSettings]) -> None:
    """Make keys, wait for approval, connect, and work until cancelled.

    Raises:
        MinervasError: if keys, issued files, the API's port or the broker's refusal make it impossible.
    """
    settings = context.settings
    wallets, boxes = load_keys(settings.paths.data)
    write_enrolment(settings.paths, settings.member, PEER, wallets.first, box_public=boxes.first.public)
    api = ApiServer(settings.api)
    try:
        issued = await wait_for_issue(settings.paths, PEER, settings.member, broker=settings.broker)
        identity = granted_identity(settings.member, wallets, boxes, issued)
        own = OwnKeys(identity, wallets, boxes, lambda: read_membership(settings.paths))
        certificate = CertificateKeeper(
            settings.paths, Principal(settings.member, PEER), issued, context.clock, context.status
        )
        bus = MqttBus(
            _bus_settings(context, issued), before_connect=certificate.wait_current, may_mend=certificate.is_renewing
        )
        certificate.on_renewed(bus.reconnect)
        keeper = await _start_ca_keeper(settings, issued)
        async with certificate.running():
            await serve(context, bus, own, issued, api, keeper=keeper)
    finally:
        api.close()


def load_keys(directory: Path) -> tuple[KeyRing[SigningKey], KeyRing[BoxKey]]:
    """Read all wallets and box keys, or make the first ones at first start.

    Raises:
        LocalFault: ``bad_key_file`` if an existing file is unusable.
    """
    return KeyRing(directory, WALLET_KEY, SigningKey), KeyRing(directory, BOX_KEY, BoxKey, box.SEED_BYTES)


def granted_identity(member: str, wallets: KeyRing[SigningKey], boxes: KeyRing[BoxKey], issued: Issued) -> Identity:
    """Our identity, with the newest keys that the authority signed: nobody would listen to us with others.

    Raises:
        LocalFault: ``bad_enrolment``.
    """
    try:
        keys = prove_membership(member, issued.membership, issued.genesis)
    except PeerFault as error:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "The issued membership is not usable; run `minervas join` again",
            member=member,
            reason=str(error),
        ) from error
    wallet, box_key = wallets.find(keys.wallet), boxes.find(keys.box)
    if wallet is None or box_key is None:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "We were admitted with other keys than those in our data directory; restore them from a backup",
            member=member,
        )
    return Identity(member, wallet, box_key, tuple(issued.membership))


async def serve(
    context: ServiceContext[PeerSettings],
    bus: Bus,
    own: OwnKeys,
    issued: Issued,
    api: ApiServer,
    *,
    keeper: CaBundleKeeper | None = None,
) -> None:
    """Work over a bus that is not started yet, until cancelled.

    Args:
        context: settings, clock, status.
        bus: the connection to the broker.
        own: who we are, with all our keys.
        issued: what the consortium issued us.
        api: the API's port.
        keeper: keeps the CA certificates up to date, if it can.

    Raises:
        BusRefused: if the broker does not let us in at all.
    """
    settings = context.settings
    config = NodeConfig(
        genesis=issued.genesis,
        identity=own.identity,
        own_keys=own,
        node_key=issued.node_key,
        certificate_expires_ms=lambda: issued.certificate_expires_ms,
        data=settings.paths.data,
        gossip=settings.gossip,
    )
    node = PeerNode(config, bus, EpochStore(settings.paths.data / STATE_FILE), context.clock)

    async def refresh_cas() -> None:
        if keeper is not None:
            await keeper.refresh(node.exchange.authorities.trusted)

    collector = _make_collector(context, own.identity, issued, refresh_cas)
    view = NodeView(issued.genesis, bus, node.ledger, node.status, collector)
    trade = TradeView(node.ledger, node.trader)
    names = allowed_names(settings.api.host, settings.api.names)
    notary = Notary(own.identity.member, lambda: own.identity.wallet, issued.network)
    token = load_or_create_token(settings.paths.data)
    bills = BillView(issued.genesis, own.identity.member, ledger=node.ledger, trader=node.trader, remote=node.remote)
    rules, worker = _make_rules(context, node, own.identity.member)
    app = build_app(view, names, trade=trade, bills=bills, notary=notary, renewals=collector, rules=rules, token=token)
    add_rotation_path(app, RotationSigner(issued.genesis, own, node.directory, context.clock), token)
    _update_status(context, view)
    bus.on_connection_change(lambda _connected: _update_status(context, view))
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run(), name="node")
        group.create_task(api.run(app), name="api")
        group.create_task(collector.run(), name="renewal")
        group.create_task(worker.run(), name="standing rules")
        if keeper is not None:
            group.create_task(keeper.run(lambda: node.exchange.authorities.trusted), name="ca bundle")


def _make_rules(context: ServiceContext[PeerSettings], node: PeerNode, member: str) -> tuple[RulesKeeper, RulesWorker]:
    """The standing rules and who carries them out at each new tip.

    Raises:
        LocalFault: ``bad_key_file`` or ``schema_version`` for their file.
    """
    rules = RulesKeeper(RulesStore(context.settings.paths.data / RULES_FILE))
    worker = RulesWorker(
        rules, ledger=node.ledger, trader=node.trader, network=node.network, member=member, clock=context.clock
    )
    node.on_tip(worker.wake)
    return rules, worker


async def _start_ca_keeper(settings: PeerSettings, issued: Issued) -> CaBundleKeeper | None:
    """Ask for the CAs in use before the first connection: they may have been replaced while we were off."""
    url = settings.admission.url or find_address(settings.paths.issued)
    if not url:
        log.info("ca_bundle_not_followed", extra={"fields": {"reason": "this node did not join with minervas join"}})
        return None
    directory = issued.ca_file.parent
    keeper = CaBundleKeeper(url, directory, issued.genesis)
    granted = AuthorityKeys(issued.genesis, issued.membership).trusted
    await keeper.refresh(trusted_at_start(directory, granted))
    return keeper


def _make_collector(
    context: ServiceContext[PeerSettings],
    identity: Identity,
    issued: Issued,
    refresh_cas: Callable[[], Awaitable[None]] | None,
) -> RenewalCollector:
    settings = context.settings
    exchange = RenewalExchange(
        paths=settings.paths,
        member=settings.member,
        genesis=issued.genesis,
        wallet=lambda: identity.wallet,
        clock=context.clock,
        url=settings.admission.url,
        ca_file=settings.admission.ca_file,
        refresh_cas=refresh_cas,
    )
    return RenewalCollector(settings.paths, settings.member, exchange, context.clock)


def _update_status(context: ServiceContext[PeerSettings], view: NodeView) -> None:
    context.status.update(view.health().model_dump())


def _bus_settings(context: ServiceContext[PeerSettings], issued: Issued) -> BusSettings:
    will = offline_will(context.member, PEER, version=__version__, now_ms=context.clock.now_ms())
    return BusSettings(
        host=issued.broker.host,
        port=issued.broker.port,
        ca_file=issued.ca_file,
        cert_file=issued.cert_file,
        key_file=issued.key_file,
        principal=str(Principal(context.member, PEER)),
        will=will,
    )
