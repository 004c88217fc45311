"""What all nodes say at one moment, as the view and the checks look at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minervas_devnet.api_client import AbandonedSearch, ApiAway, BlockSummary, LedgerState, Status
from minervas_devnet.market_api import Order, Reading, Trade
from minervas_devnet.node import Node

BLOCKS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One node at one moment."""

    member: str
    status: Status | None
    """None while the node does not answer."""
    abandoned: tuple[AbandonedSearch, ...]
    """The newest abandoned searches of its miner."""
    channels: tuple[Reading, ...] = ()
    """The newest stored reading of each of its channels."""
    free_wh: int = 0
    """Energy in its lots that are not on sale."""

    @property
    def ledger(self) -> LedgerState | None:
        """What its ledger says; None while it does not answer."""
        return self.status.ledger if self.status else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All nodes at one moment."""

    nodes: tuple[NodeSnapshot, ...]
    blocks: tuple[BlockSummary, ...]
    """Newest blocks of the highest node, newest first."""
    orders: tuple[Order, ...] = ()
    """Open orders, as the highest node has them."""
    trades: tuple[Trade, ...] = ()
    """Newest first, as the highest node has them."""

    @property
    def height(self) -> int:
        """Height of the highest tip."""
        return max((node.ledger.tip.height for node in self.nodes if node.ledger), default=0)

    @property
    def tries_per_second(self) -> int:
        """Of all miners together."""
        return sum(node.ledger.search.tries_per_second for node in self.nodes if node.ledger and node.ledger.search)

    @property
    def abandoned(self) -> int:
        """Abandoned searches of all miners together."""
        return sum(node.ledger.abandoned_searches for node in self.nodes if node.ledger)


def take_snapshot(nodes: Iterable[Node]) -> Snapshot:
    """Ask all nodes; those that do not answer are in it without their state."""
    pairs = [(node, _look(node)) for node in nodes]
    highest = max(pairs, key=lambda pair: pair[1].ledger.tip.height if pair[1].ledger else -1, default=None)
    snapshots = tuple(snapshot for _, snapshot in pairs)
    if highest is None or highest[1].ledger is None:
        return Snapshot(snapshots, ())
    api, market = highest[0].api, highest[0].market
    try:
        return Snapshot(
            snapshots, tuple(api.blocks(limit=BLOCKS_SHOWN)), tuple(market.orders()), tuple(market.trades())
        )
    except ApiAway:
        return Snapshot(snapshots, ())


def _look(node: Node) -> NodeSnapshot:
    try:
        status = node.api.status()
        abandoned = tuple(node.api.abandoned(3)) if status.ledger and status.ledger.abandoned_searches else ()
        if status.ledger is None:
            return NodeSnapshot(node.member, status, abandoned)
        free_wh = sum(lot.energy_wh for lot in node.market.lots(node.member) if not lot.offer)
        return NodeSnapshot(node.member, status, abandoned, _newest_of_each(node), free_wh)
    except ApiAway:
        return NodeSnapshot(node.member, None, ())


def _newest_of_each(node: Node) -> tuple[Reading, ...]:
    """The newest reading of each channel, by channel."""
    if node.meters is None:
        return ()
    newest: dict[tuple[str, str], Reading] = {}
    for reading in node.market.readings(limit=3 * len(node.meters.site.channels)).readings:
        newest.setdefault((reading.meter, reading.channel), reading)
    return tuple(reading for _, reading in sorted(newest.items()))
