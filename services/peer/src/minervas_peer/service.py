"""The peer as a running service: keys, joining, bus, API, and everything wired together."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_peer import __version__
from minervas_peer.api.access_token import load_or_create_token
from minervas_peer.api.app import build_app
from minervas_peer.api.request_limits import allowed_names
from minervas_peer.api.rotation_paths import add_rotation_path
from minervas_peer.api.server import ApiServer
from minervas_peer.api.trade_view import TradeView
from minervas_peer.api.view import NodeView
from minervas_peer.epoch_store import EpochStore
from minervas_peer.key_courier import PEER
from minervas_peer.key_exchange import Identity
from minervas_peer.membership_proof import prove_membership
from minervas_peer.node import NodeConfig, PeerNode
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_peer.rekey.signer import RotationSigner
from minervas_peer.settings import PeerSettings
from minervas_runtime.bus import Bus
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
        await serve(context, MqttBus(_bus_settings(context, issued)), own, issued, api)
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


async def serve(context: ServiceContext[PeerSettings], bus: Bus, own: OwnKeys, issued: Issued, api: ApiServer) -> None:
    """Work over a bus that is not started yet, until cancelled.

    Raises:
        BusRefused: if the broker does not let us in at all.
    """
    settings = context.settings
    config = NodeConfig(
        genesis=issued.genesis,
        identity=own.identity,
        own_keys=own,
        node_key=issued.node_key,
        certificate_expires_ms=issued.certificate_expires_ms,
        gossip=settings.gossip,
    )
    node = PeerNode(config, bus, EpochStore(settings.paths.data / STATE_FILE), context.clock)
    view = NodeView(issued.genesis, bus, node.ledger, node.status)
    trade = TradeView(node.ledger, node.trader)
    names = allowed_names(settings.api.host, settings.api.names)
    token = load_or_create_token(settings.paths.data)
    app = build_app(view, names, trade=trade, token=token)
    add_rotation_path(app, RotationSigner(issued.genesis, own, node.directory, context.clock), token)
    _update_status(context, view)
    bus.on_connection_change(lambda _connected: _update_status(context, view))
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run(), name="node")
        group.create_task(api.run(app), name="api")


def _update_status(context: ServiceContext[PeerSettings], view: NodeView) -> None:
    context.status.clear()
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
