"""Helpers of the network tests about metering and trading."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minervas_devnet.api_client import ApiAway
from minervas_devnet.health import health
from minervas_devnet.market_api import Answer, Trade
from minervas_devnet.node import Node
from minervas_devnet.one_tip import at_one_tip
from minervas_devnet.options import GATEWAY
from minervas_devnet.simulated_meters import SimulatedMeters
from minervas_devnet.stored_metering import StoredMetering, StoredSpool
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import WaitTimeout, wait_until

log = logging.getLogger(__name__)

STORED_TIMEOUT_S = 120.0
LOTS_TIMEOUT_S = 120.0
BLOCK_TIMEOUT_S = 120.0
LOOKS = 4
TOLD_LATE = 4
"""Samples of a meter that a gateway may have and not tell of yet: it does so once a second, or later if it is busy."""
PAUSED_S = 10.0
"""Longest time for the last blocks to arrive and for all nodes to answer while no miner works."""


def meters_of(node: Node) -> SimulatedMeters:
    """The meters of a node that has some."""
    assert node.meters is not None
    return node.meters


def gateway_status(node: Node) -> dict[str, Any]:
    """What a meter-gateway says of itself."""
    return health(node.health_ports[GATEWAY])


def given(node: Node) -> int:
    """How many samples a gateway has numbered so far; -1 while it does not answer."""
    return int(gateway_status(node).get("spool", {}).get("next_sequence", -1))


def unstored(node: Node) -> int:
    """How many samples wait in a gateway's spool for the ledger; -1 while it does not answer."""
    return int(gateway_status(node).get("spool", {}).get("unacknowledged", -1))


def wait_samples(node: Node, count: int, *, timeout_s: float = STORED_TIMEOUT_S) -> None:
    """Wait until a gateway has so many samples more than now."""
    wanted = max(0, given(node)) + count
    wait_until(lambda: given(node) >= wanted, timeout_s, lambda: str(gateway_status(node)))


@dataclass(frozen=True, slots=True)
class Account:
    """What the meters of a node gave, told by the meters and by the gateway."""

    replies: int
    """All that the meters sent since their simulation began, harmed on the way or not: one for each request."""
    samples: int
    """What the gateway has numbered, and so has on its disk."""


def account(node: Node) -> Account:
    """What the meters of a node gave so far: of a few looks the one where the two fit best."""
    looks: list[Account] = []

    def looked() -> bool:
        replies, samples = _replies(node), given(node)
        if samples > 0 and _replies(node) == replies:  # nothing came meanwhile
            looks.append(Account(replies, samples))
        return len(looks) == LOOKS

    wait_until(looked, STORED_TIMEOUT_S)
    return min(looks, key=lambda each: each.replies - each.samples)


def _replies(node: Node) -> int:
    meters = meters_of(node)
    return sum(meters.answered().values()) + sum(meters.injected().values())


def assert_given_is_stored(network: Network, node: Node, before: Account, *, kills: int = 0) -> None:
    """Every sample that the meters gave since then is in the member's and in the operator's database, once.

    Args:
        network: its first node is the operator's.
        node: whose meters.
        before: what they had given.
        kills: how often the gateway was killed meanwhile. Each takes at most one answer of each meter along that had
            not got to the disk; a busy machine two.
    """
    now = account(node)
    replies, samples = now.replies - before.replies, now.samples - before.samples
    meters = len(meters_of(node).site.channels)
    assert -TOLD_LATE * meters <= replies - samples <= meters * (TOLD_LATE + 2 * kills)
    number = _assert_complete(node)
    assert _stored(node, network.alpha, number) == StoredSpool(number, number)
    log.warning("%d replies, %d samples, %d stored in both databases, %d kills", replies, samples, number, kills)


def assert_nothing_lost_or_doubled(*nodes: Node) -> None:
    """Every sample that the gateways have numbered by now gets to its ledger's database, once, and statements chain."""
    for node in nodes:
        _assert_complete(node)


def _assert_complete(node: Node) -> int:
    """Of one node; returns how many samples that are."""
    wait_until(lambda: given(node) > 0, STORED_TIMEOUT_S)
    number = given(node)
    assert _stored(node, node, number) == StoredSpool(number, number)
    assert node.market.readings(limit=1).conflicts == 0
    assert StoredMetering(node.member, node.database).unlinked_statements() == 0
    return number


def _stored(node: Node, keeper: Node, number: int) -> StoredSpool:
    """What a node's database has of another's samples below a number, once it has all of them."""
    spool = gateway_status(node)["spool"]["id"]
    stored = StoredMetering(node.member, keeper.database)
    wait_until(
        lambda: stored.spool(spool, number).sequences == number,
        STORED_TIMEOUT_S,
        lambda: f"{keeper.member} has {stored.spool(spool, number)} of {number} of {node.member}",
    )
    return stored.spool(spool, number)


def minted_wh(node: Node, member: str, meter: str = "") -> int:
    """What a member's meters have minted, as a node sees it."""
    found = [each for each in node.market.minted() if each.member == member]
    return sum(each.minted_wh for each in found if meter in ("", each.meter))


def wait_minted(node: Node, meter: str = "", *, by: Node | None = None) -> None:
    """Wait until more energy of a member (of one meter) is minted than now."""
    at = by or node
    before = minted_wh(at, node.member, meter)

    def has_more() -> bool:
        try:
            return minted_wh(at, node.member, meter) > before
        except ApiAway:  # a peer that was left waiting by its ledger asks it again a bit later
            return False

    wait_until(has_more, LOTS_TIMEOUT_S, lambda: str(gateway_status(node)))


def free_lots(node: Node) -> list[tuple[str, int]]:
    """A member's own lots that are not on sale, with their energy, the largest first."""
    lots = [(lot.id, lot.energy_wh) for lot in node.market.lots(node.member) if not lot.offer]
    return sorted(lots, key=lambda lot: (-lot[1], lot[0]))


def wait_lots(node: Node, count: int = 1, energy_wh: int = 10) -> list[tuple[str, int]]:
    """Wait until a member has so many free lots of so much energy each; returns them."""

    def found() -> list[tuple[str, int]]:
        return [lot for lot in free_lots(node) if lot[1] >= energy_wh][:count]

    wait_until(lambda: len(found()) == count, LOTS_TIMEOUT_S, lambda: str(free_lots(node)))
    return found()


def accepted(answer: Answer) -> str:
    """Id of an order that was signed and queued."""
    assert answer.status == 202, f"{answer.status} {answer.code}"
    return answer.id


def wait_in_block(nodes: Sequence[Node], transaction: str) -> None:
    """Wait until all these nodes have a transaction in a block."""

    def everywhere() -> bool:
        places = [node.api.transaction(transaction) for node in nodes]
        return all(place is not None and place.state in ("in_block", "final") for place in places)

    wait_until(everywhere, BLOCK_TIMEOUT_S)


def trades_of(node: Node, bid: str) -> list[Trade]:
    """Fills of a bid as a node sees them, oldest first."""
    return sorted(trade for trade in node.market.trades() if trade.bid == bid)


def wait_trades(nodes: Sequence[Node], bid: str, energy_wh: int) -> None:
    """Wait until a bid got so much on all nodes, two blocks deep: another branch may hold the auction a block later."""

    def settled(node: Node) -> bool:
        tip, trades = node.tip(), trades_of(node, bid)
        deep = [trade for trade in trades if tip is not None and trade.height + 2 <= tip.height]
        return deep == trades and sum(trade.energy_wh for trade in deep) == energy_wh

    wait_until(
        lambda: all(settled(node) for node in nodes),
        SYNC_TIMEOUT_S,
        lambda: str([trades_of(node, bid) for node in nodes]),
    )


def assert_one_market(network: Network) -> None:
    """All nodes have the same market at one tip, and lots and retired ones are what was minted."""

    def market(node: Node) -> tuple[Any, ...]:
        api = node.market
        book = sorted(api.orders()), sorted(api.trades()), sorted(api.obligations())
        auctions = sorted(each.height for each in api.clearings())
        return sorted(api.lots()), sorted(api.retirements()), api.minted(), auctions, *book

    seen: list[tuple[Any, ...]] = []

    def compared() -> bool:
        network.sync_tips()
        with network.mining_paused():
            try:
                seen.extend(at_one_tip(network.consortium, market, timeout_s=PAUSED_S).values())
            except WaitTimeout:  # two tips of the same height: only the next block decides
                return False
        return True

    wait_until(compared, SYNC_TIMEOUT_S)
    for each in seen[1:]:
        assert each == seen[0]
    lots, retirements, minted, *_ = seen[0]
    assert sum(lot.energy_wh for lot in [*lots, *retirements]) == sum(each.minted_wh for each in minted)
