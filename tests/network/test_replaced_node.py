"""A member whose node was lost comes back with a fresh one: it keeps its lots, and trades when its wallet counts."""

from __future__ import annotations

from minervas_devnet.node import Node
from minervas_runtime.clock import SystemClock
from tests.support.metering import (
    accepted,
    assert_nothing_lost_or_doubled,
    assert_one_market,
    free_lots,
    minted_wh,
    trades_of,
    wait_in_block,
    wait_lots,
    wait_minted,
    wait_trades,
)
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

PRICE = 90_000


def waiting_recovery(node: Node, member: str) -> int:
    """When a member's recovery takes effect by a node's tip, in ms; 0 if none waits."""
    [entry] = [each for each in node.api.members().members if each.member == member]
    return entry.recovery.effective_ms if entry.recovery is not None else 0


def test_a_replaced_node_keeps_its_lots_meters_on_and_trades_after_the_wait(network: Network) -> None:
    lost = network.beta
    [(lot, energy_wh)] = wait_lots(lost, energy_wh=20)
    minted_before = minted_wh(network.alpha, "beta")
    fresh = network.beta = network.consortium.replace(lost)

    wait_until(lambda: waiting_recovery(network.alpha, "beta") > 0 or _traded(fresh), SYNC_TIMEOUT_S)
    network.sync_tips()
    assert (lot, energy_wh) in free_lots(fresh)
    if (effective_ms := waiting_recovery(fresh, "beta")) > SystemClock().now_ms() + 5_000:
        refused = fresh.market.offer(PRICE, lots=(lot,))
        assert (refused.status, refused.code) == (409, "wallet_waits"), effective_ms

    wait_until(lambda: not waiting_recovery(fresh, "beta"), SYNC_TIMEOUT_S)
    offer = accepted(fresh.market.offer(PRICE, lots=(lot,)))
    bid = accepted(network.gamma.market.bid(energy_wh, PRICE))
    wait_in_block(network.nodes, offer)
    wait_trades(network.nodes, bid, energy_wh)
    [trade] = trades_of(network.alpha, bid)
    assert (trade.seller, trade.buyer, trade.energy_wh) == ("beta", "gamma", energy_wh)

    wait_minted(fresh, by=network.alpha)
    assert minted_wh(network.alpha, "beta") > minted_before
    assert_nothing_lost_or_doubled(fresh)
    assert_one_market(network)
    network.audit_all()


def _traded(node: Node) -> bool:
    return node.api.status().standing == "active" and not waiting_recovery(node, node.member)
