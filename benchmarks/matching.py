"""Matching with a full book: what a slot's auction costs, and orders that come while 10,000 rest."""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from benchmarks.comparing import compared, seconds
from benchmarks.naive import auction as naive_auction
from benchmarks.naive.market import Changes
from benchmarks.naive.market import Lot as NaiveLot
from benchmarks.naive.market import Market as NaiveMarket
from benchmarks.naive.market import Order as NaiveOrder
from benchmarks.naive.records import Bid as NaiveBid
from benchmarks.results import Result
from minervas_core.genesis import Parameters
from minervas_core.market.orders import place_bid
from minervas_core.market.records import Bid, Lot, Order, Origin, Slot
from minervas_core.market.slots import pass_time
from minervas_core.market.state import BlockContext, Market
from tests.support.builders import GENESIS_TIME_MS, NETWORK, seed_bytes

MEMBERS = 100
"""Of whom each has at most 200 open orders."""
PRICES = 400
"""Different prices about which orders ask."""
FOR_EVER_MS = GENESIS_TIME_MS + 10**10


@dataclass(frozen=True, slots=True)
class Resting:
    """An order of the book to measure with."""

    id: str
    side: str
    member: str
    price_micro: int
    energy_wh: int


def measure(*, resting: int = 10_000, incoming: int = 300, rounds: int = 3) -> list[Result]:
    """Measure; takes about half a minute.

    ``auction`` is everything that a slot's end costs: the decision, and all fills, a thousand in each block, each block
    in a layer over the state with its undo data, as in the chain. The naive one tries every price over all orders, and
    has neither layers nor undo data nor the limit. ``continuous`` is incoming bids, each of which meets an offer, while
    the rest of the book does not move; the naive one sorts the book for each. Neither side checks signatures here.
    """
    crossed, apart = make_book(resting, crossed=True), make_book(resting, crossed=False)
    plain, ours = [], []
    for _ in range(rounds):
        naive, market = naive_market(crossed), our_market(crossed)
        plain.append(seconds(lambda market=naive: naive_auction.clear(market)))  # type: ignore[misc]  # bound at once
        ours.append(seconds(lambda market=market: hold_auction(market)))  # type: ignore[misc]  # likewise
    plain_bids, our_bids = [], []
    for _ in range(rounds):
        naive, market = naive_market(apart), our_market(apart)
        plain_bids.append(seconds(lambda market=naive: _naive_bids(market, incoming)))  # type: ignore[misc]  # likewise
        our_bids.append(seconds(lambda market=market: _our_bids(market, incoming)))  # type: ignore[misc]  # likewise
    return [
        *compared("match.auction", plain, ours, per_s=resting, unit="orders/s", goal=None),
        *compared("match.continuous", plain_bids, our_bids, per_s=incoming, unit="orders/s", goal=5),
    ]


def make_book(count: int, *, crossed: bool) -> list[Resting]:
    """So many orders, half of them offers; crossed, half of them can trade."""
    chosen = random.Random(9)  # noqa: S311 - a book that is the same in every run
    made = []
    for number in range(count):
        side = "offer" if number % 2 == 0 else "bid"
        price = chosen.randrange(PRICES) + 1_000 + (0 if crossed else PRICES * (1 if side == "offer" else -1))
        energy_wh = 10 * chosen.randrange(1, 50)
        name = f"{side} {number}"
        made.append(Resting(seed_bytes(name, 32).hex(), side, f"m{number % MEMBERS}", price, energy_wh))
    return made


def our_market(book: list[Resting]) -> Market:
    """The book as the project keeps it."""
    market = Market()
    for number, each in enumerate(book):
        lots = [each.id] if each.side == "offer" else []
        if lots:
            origin = Origin(statement=each.id, energy_wh=each.energy_wh)
            lot = Lot(owner=each.member, energy_wh=each.energy_wh, parent=each.id, origins=[origin], offer=each.id)
            market.lots.put(each.id, lot)
        order = Order(
            side="offer" if lots else "bid",
            member=each.member,
            price_micro=each.price_micro,
            energy_wh=each.energy_wh,
            valid_until_ms=FOR_EVER_MS,
            height=1,
            index=number,
            lots=lots,
        )
        market.orders.put(each.id, order)
    market.orders.all_lists()  # as after any block
    return market


def naive_market(book: list[Resting]) -> NaiveMarket:
    """The book in plain dictionaries."""
    market = NaiveMarket()
    for number, each in enumerate(book):
        lots = [each.id] if each.side == "offer" else []
        if lots:
            market.lots[each.id] = NaiveLot(each.member, each.energy_wh, each.id, each.id, each.id)
        market.orders[each.id] = NaiveOrder(
            each.id, each.side, each.member, each.price_micro, each.energy_wh, 1, FOR_EVER_MS, (1, number), lots
        )
    return market


def hold_auction(market: Market) -> int:
    """End the slot: as many blocks as it takes; returns the energy sold."""
    parameters, slot = Parameters(), Slot(mode="auction", ends_ms=GENESIS_TIME_MS)
    sold_wh, height = 0, 2
    while True:
        layer, context = Market(below=market), BlockContext(height=height, fills_left=parameters.max_fills_per_block)
        pass_time(layer, market.slot or slot, GENESIS_TIME_MS, parameters, context)
        layer.changed_before()
        layer.merge_down()
        sold_wh += sum(trade.energy_wh for trade in context.trades)
        if not market.pending_fills.listed("all"):
            return sold_wh
        height += 1


def _our_bids(market: Market, count: int) -> None:
    """A block of bids, each of which pays the cheapest offer's price."""
    layer, context = Market(below=market), BlockContext(height=2, fills_left=count, mode="continuous")
    for number in range(count):
        place_bid(layer, seed_bytes(f"in {number}", 32).hex(), _bid(), "buyer", context)
    layer.changed_before()
    layer.merge_down()
    if len(context.trades) != count:
        raise RuntimeError("not every bid met an offer")


def _naive_bids(market: NaiveMarket, count: int) -> None:
    bid, changes = NaiveBid(**msgspec.to_builtins(_bid())), Changes()
    parameters = Parameters(max_open_orders=count + 1)
    for number in range(count):
        market.place(
            seed_bytes(f"in {number}", 32).hex(),
            bid,
            "buyer",
            changes,
            place=(2, number),
            parent_time_ms=0,
            parameters=parameters,
        )
    if len(changes.trades) != count:
        raise RuntimeError("not every bid met an offer")


def _bid() -> Bid:
    """For less than any offer has."""
    return Bid(
        network=NETWORK,
        sender="0" * 64,
        salt="0" * 32,
        expires_height=9,
        energy_wh=10,
        price_micro=10_000,
        valid_until_ms=FOR_EVER_MS,
    )
