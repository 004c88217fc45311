"""What was metered is offered, bid for and sold, with the same outcome on every node; what cannot be is refused.

The network holds auctions in short slots; the last test changes it to continuous matching, as an operator would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from minervas_devnet.market_api import Answer
from tests.support.metering import (
    accepted,
    assert_one_market,
    free_lots,
    trades_of,
    wait_in_block,
    wait_lots,
    wait_trades,
)
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

PRICE = 142_600
UNKNOWN = "ab" * 32
NOTICE_BLOCKS = 40
"""From announcing a change of parameters to its height: 12 at least, and the announcement takes its time."""


@pytest.fixture(autouse=True)
def empty_book(network: Network) -> None:
    """No open orders that would take what a test offers."""
    for node in network.nodes:
        for order in node.market.orders():
            if order.member == node.member:
                accepted(node.market.place("/v1/cancellations", {"order": order.id}))
    wait_until(lambda: not any(node.market.orders() for node in network.nodes), SYNC_TIMEOUT_S)


def test_metered_energy_is_sold_in_the_slots_auction_on_all_nodes(network: Network) -> None:
    seller, buyer = network.alpha, network.gamma
    [(lot, energy_wh)] = wait_lots(seller, energy_wh=40)
    wanted_wh = energy_wh - 15
    offer = accepted(seller.market.offer(PRICE, lots=(lot,)))
    wait_in_block(network.nodes, offer)
    bid = accepted(buyer.market.bid(wanted_wh, PRICE + 10_000))
    wait_trades(network.nodes, bid, wanted_wh)
    for node in network.nodes:
        [trade] = trades_of(node, bid)
        assert (trade.seller, trade.buyer, trade.offer) == (seller.member, buyer.member, offer)
        assert (trade.energy_wh, trade.price_micro, trade.amount_micro) == (wanted_wh, PRICE, wanted_wh * PRICE)
        assert trade.meters in (["alpha/east/array"], ["alpha/west/array"])
        owners = {each.id: each.owner for each in node.market.lots()}
        assert {owners[each] for each in trade.lots} == {buyer.member}
        [rest] = [order for order in node.market.orders() if order.id == offer]
        assert rest.energy_wh == 15
        [auction] = [each for each in node.market.clearings() if each.height == trade.height]
        assert (auction.price_micro, auction.energy_wh, auction.offers, auction.bids) == (PRICE, wanted_wh, 1, 1)
    assert_one_market(network)
    network.audit_all()


def test_a_bid_that_repeats_buys_in_every_slot_until_it_is_cancelled(network: Network) -> None:
    seller, buyer = network.beta, network.gamma
    [(lot, energy_wh)] = wait_lots(seller, energy_wh=40)
    bid = accepted(buyer.market.place("/v1/bids", {"energy_wh": 10, "price_micro": PRICE, "repeats": True}))
    accepted(seller.market.offer(PRICE - 40_000, lots=(lot,)))
    wait_until(lambda: all(len(trades_of(node, bid)) > 1 for node in network.nodes), SYNC_TIMEOUT_S)
    wait_in_block(network.nodes, accepted(buyer.market.place("/v1/cancellations", {"order": bid})))
    bought = [trade.energy_wh for trade in trades_of(buyer, bid)]
    assert set(bought) == {10}
    assert len(bought) * 10 <= energy_wh
    assert not any(order.id == bid for order in buyer.market.orders())
    assert_one_market(network)


def test_standing_rules_trade_by_themselves_until_they_are_removed(network: Network) -> None:
    seller, buyer = network.alpha, network.gamma
    wait_lots(seller, energy_wh=40)
    before = network.height(buyer)
    sell = {"price_micro": PRICE, "keep_wh": 5}
    assert seller.market.change_rule("PUT", "sell", sell).status == 200
    assert buyer.market.change_rule("PUT", "buy", {"price_micro": PRICE + 10_000, "energy_wh": 12}).status == 200
    assert seller.market.change_rule("PUT", "sell", sell, token="00" * 32).code == "not_authorised"

    def slots_bought() -> list[int]:
        trades = [each for each in buyer.market.trades() if each.height > before]
        sold = [each for each in trades if (each.seller, each.buyer) == (seller.member, buyer.member)]
        bids = {each.bid for each in sold}
        return [sum(each.energy_wh for each in sold if each.bid == bid) for bid in bids]

    wait_until(lambda: len(slots_bought()) > 1, SYNC_TIMEOUT_S)
    assert max(slots_bought()) <= 12
    for node, rule in ((seller, "sell"), (buyer, "buy")):
        assert node.market.change_rule("DELETE", f"{rule}?cancel_open=true").status == 200
        assert node.market.change_rule("DELETE", rule).code == "not_found"
    wait_until(lambda: not any(node.market.orders() for node in network.nodes), SYNC_TIMEOUT_S)
    assert_one_market(network)


def test_cancelled_offer_gives_its_lots_back(network: Network) -> None:
    seller = network.alpha
    [(lot, energy_wh)] = wait_lots(seller)
    offer = accepted(seller.market.offer(PRICE, lots=(lot,)))
    wait_in_block(network.nodes, offer)
    assert lot not in dict(free_lots(seller))
    wait_in_block(network.nodes, accepted(seller.market.place("/v1/cancellations", {"order": offer})))
    assert (lot, energy_wh) in free_lots(seller)


def test_bid_is_closed_when_its_time_is_over(network: Network) -> None:
    bid = accepted(network.gamma.market.place("/v1/bids", {"energy_wh": 10, "price_micro": 1, "valid_ms": 5_000}))
    wait_until(lambda: not any(order.id == bid for order in network.alpha.market.orders()), SYNC_TIMEOUT_S)
    assert_one_market(network)


def test_lots_are_merged_and_retired_on_all_nodes(network: Network) -> None:
    owner = network.alpha
    parents = dict(wait_lots(owner, 2))
    origins: Counter[str] = Counter()  # a parent can itself be what an offer left
    for lot in owner.market.lots(owner.member):
        if lot.id in parents:
            origins.update({origin.statement: origin.energy_wh for origin in lot.origins})
    joined = accepted(owner.market.place("/v1/merges", {"lots": list(parents)}))
    wait_in_block(network.nodes, joined)
    for node in network.nodes:
        [lot] = [each for each in node.market.lots(owner.member) if each.id == joined]
        assert lot.energy_wh == sum(parents.values())
        assert {origin.statement: origin.energy_wh for origin in lot.origins} == origins
    assert_one_market(network)
    used = accepted(owner.market.place("/v1/retirements", {"lots": [joined]}))
    wait_in_block(network.nodes, used)
    for node in network.nodes:
        [retired] = [each for each in node.market.retirements() if each.transaction == used]
        assert (retired.lot, retired.owner, retired.energy_wh) == (joined, owner.member, sum(parents.values()))
    for path in ("/v1/offers", "/v1/retirements"):
        body = {"lots": [joined]} | ({"price_micro": 1} if path == "/v1/offers" else {})
        assert _refused(owner.market.place(path, body)) == "lot_unknown"
    assert_one_market(network)
    network.audit_all()


def test_a_lot_is_sold_once(network: Network) -> None:
    seller, buyer = network.alpha, network.gamma
    [(lot, energy_wh)] = wait_lots(seller)
    offer = accepted(seller.market.offer(PRICE, lots=(lot,)))
    assert _refused(seller.market.offer(PRICE, lots=(lot,))) in ("lot_offered", "pool_conflict")
    wait_in_block(network.nodes, offer)  # another branch can put it back into the queue
    assert _refused(seller.market.offer(PRICE, lots=(lot,))) in ("lot_offered", "pool_conflict")
    bid = accepted(buyer.market.bid(energy_wh, PRICE))
    wait_trades(network.nodes, bid, energy_wh)
    assert _refused(seller.market.offer(PRICE, lots=(lot,))) in ("lot_not_owned", "lot_unknown")
    [trade] = trades_of(seller, bid)
    assert _refused(seller.market.offer(PRICE, lots=(trade.lots[0],))) == "lot_not_owned"
    assert_one_market(network)


def test_foreign_order_cannot_be_cancelled(network: Network) -> None:
    bid = accepted(network.gamma.market.bid(10, 1))
    wait_in_block(network.nodes, bid)
    assert _refused(network.alpha.market.place("/v1/cancellations", {"order": bid})) == "order_not_owned"
    assert any(order.id == bid for order in network.alpha.market.orders())


BAD_ORDERS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "unknown lot": ("/v1/offers", {"lots": [UNKNOWN], "price_micro": 1}, 409, "lot_unknown"),
    "one lot twice": ("/v1/offers", {"lots": [UNKNOWN, UNKNOWN], "price_micro": 1}, 409, "lot_twice"),
    "more energy than there is": ("/v1/offers", {"energy_wh": 2**50, "price_micro": 1}, 409, "lot_unknown"),
    "neither lots nor energy": ("/v1/offers", {"price_micro": 1}, 400, "wrong_shape"),
    "no hexadecimal lot": ("/v1/offers", {"lots": ["x"], "price_micro": 1}, 400, "wrong_shape"),
    "price below zero": ("/v1/offers", {"lots": [UNKNOWN], "price_micro": -1}, 400, "wrong_shape"),
    "bid for nothing": ("/v1/bids", {"energy_wh": 0, "price_micro": 1}, 400, "wrong_shape"),
    "bid for less than nothing": ("/v1/bids", {"energy_wh": -10, "price_micro": 1}, 400, "wrong_shape"),
    "bid for a fraction": ("/v1/bids", {"energy_wh": 10.5, "price_micro": 1}, 400, "wrong_shape"),
    "bid in words": ("/v1/bids", {"energy_wh": "10", "price_micro": 1}, 400, "wrong_shape"),
    "smallest order not reached": ("/v1/bids", {"energy_wh": 9, "price_micro": 1}, 409, "order_too_small"),
    "amount beyond all numbers": ("/v1/bids", {"energy_wh": 2**52, "price_micro": 4}, 409, "order_too_large"),
    "energy beyond all numbers": ("/v1/bids", {"energy_wh": 2**53, "price_micro": 1}, 400, "wrong_shape"),
    "unknown field": ("/v1/bids", {"energy_wh": 10, "price_micro": 1, "free": True}, 400, "wrong_shape"),
    "merge of one lot": ("/v1/merges", {"lots": [UNKNOWN]}, 400, "wrong_shape"),
    "merge of unknown lots": ("/v1/merges", {"lots": [UNKNOWN, "cd" * 32]}, 409, "lot_unknown"),
    "merge of one lot with itself": ("/v1/merges", {"lots": [UNKNOWN, UNKNOWN]}, 409, "lot_twice"),
    "retirement of nothing": ("/v1/retirements", {"lots": []}, 400, "wrong_shape"),
    "retirement of an unknown lot": ("/v1/retirements", {"lots": [UNKNOWN]}, 409, "lot_unknown"),
    "unknown order": ("/v1/cancellations", {"order": UNKNOWN}, 409, "order_unknown"),
}


def test_bad_orders_are_refused_with_a_code_each_and_disturb_nothing(network: Network) -> None:
    wait_lots(network.alpha)
    for name, (path, order, status, code) in BAD_ORDERS.items():
        answer = network.alpha.market.place(path, order)
        assert (answer.status, answer.code, answer.id) == (status, code, ""), name
    assert not network.alpha.market.orders()
    network.goes_on()
    assert_one_market(network)


def test_foreign_lots_cannot_be_offered(network: Network) -> None:
    [(lot, _)] = wait_lots(network.beta)
    wait_until(lambda: any(each.id == lot for each in network.gamma.market.lots()), SYNC_TIMEOUT_S)
    assert _refused(network.gamma.market.offer(PRICE, lots=(lot,))) == "lot_not_owned"
    assert lot in dict(free_lots(network.beta))


@pytest.mark.parametrize("token", ["0", "f" * 64])
def test_without_the_owners_token_nothing_is_signed(network: Network, token: str) -> None:
    places: list[Callable[[], Answer]] = [
        lambda: network.gamma.market.place("/v1/bids", {"energy_wh": 10, "price_micro": 1}, token=token),
        lambda: network.gamma.market.place("/v1/offers", {"energy_wh": 10, "price_micro": 1}, token=token),
        lambda: network.gamma.market.place("/v1/cancellations", {"order": UNKNOWN}, token=token),
        lambda: network.gamma.market.place("/v1/merges", {"lots": [UNKNOWN, "cd" * 32]}, token=token),
        lambda: network.gamma.market.place("/v1/retirements", {"lots": [UNKNOWN]}, token=token),
    ]
    for place in places:
        answer = place()
        assert (answer.status, answer.code) == (401, "not_authorised")
    assert not network.gamma.market.orders()


def test_after_a_change_of_the_mode_an_order_is_matched_as_it_comes(network: Network) -> None:
    height = network.height(network.alpha) + NOTICE_BLOCKS
    network.consortium.admission.command("parameters", "--at", str(height), "market_mode=continuous", "--yes")
    wait_until(lambda: all(node.market.mode() == "continuous" for node in network.nodes), SYNC_TIMEOUT_S)
    seller, buyer = network.beta, network.gamma
    [(lot, _)] = wait_lots(seller, energy_wh=40)
    bid = accepted(buyer.market.bid(30, PRICE))
    wait_in_block(network.nodes, bid)
    offer = accepted(seller.market.offer(PRICE - 40_000, lots=(lot,)))
    wait_in_block(network.nodes, offer)
    assert [(trade.energy_wh, trade.price_micro) for trade in trades_of(network.alpha, bid)] == [(30, PRICE)]
    assert_one_market(network)
    network.audit_all()


def _refused(answer: Answer) -> str:
    """The code of an order that was not taken."""
    assert not answer.id, "it was taken"
    return answer.code
