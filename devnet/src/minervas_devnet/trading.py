"""The demo's trades: what two members metered is sold to a third, through the API and the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from minervas_core.errors import Code, LocalFault
from minervas_devnet.api_client import ApiAway
from minervas_devnet.market_api import Answer
from minervas_devnet.node import Node
from minervas_devnet.programs import run_program
from minervas_devnet.waiting import WaitTimeout, stretched

LOTS_TIMEOUT_S = 75.0
"""Until a member has something to sell: registration, a slot, and the block with its statement."""
BLOCK_TIMEOUT_S = 40.0
TRADE_TIMEOUT_S = 60.0
"""Until the slot has ended and its auction is in a block."""

FIRST_OFFER_WH = 100
FIRST_PRICE_MICRO = 142_600
SECOND_PRICE_MICRO = 145_000
BID_WH = 250
LIMIT = "150.0"
"""Of the bid, per kWh, as a person writes it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order, and how long it took until every node had it in a block."""

    what: str
    id: str
    height: int
    seconds: float


class Trading:
    """Lets members trade.

    Args:
        nodes: of all members.
        look: called again and again while something is awaited: shows how things stand.
    """

    def __init__(self, nodes: list[Node], look: Callable[[], None]) -> None:
        self._nodes = nodes
        self._look = look

    def run(self, first_seller: Node, second_seller: Node, buyer: Node) -> list[Placed]:
        """Two sales to one bid.

        An offer and a larger bid rest until the slot ends and trade in its auction; the rest of the bid waits for
        a later one, into which another offer comes.

        Raises:
            WaitTimeout: if something awaited does not come.
            LocalFault: if an order is refused.
        """
        self.wait_energy(first_seller, FIRST_OFFER_WH)
        offer = self._follow(
            f"{first_seller.member} offers {FIRST_OFFER_WH} Wh or more (API)",
            lambda: _accepted(first_seller.market.offer(FIRST_PRICE_MICRO, energy_wh=FIRST_OFFER_WH)),
        )
        bid = self._follow(f"{buyer.member} bids for {BID_WH} Wh (command line)", lambda: bid_by_command(buyer))
        self._wait(lambda: self.bought_wh(buyer, bid.id) > 0, TRADE_TIMEOUT_S, "the first trade")
        rest_wh = BID_WH - self.bought_wh(buyer, bid.id)
        if rest_wh == 0:  # the first lot was large enough
            return [offer, bid]
        offered_wh = max(rest_wh, 10)
        self.wait_energy(second_seller, offered_wh)
        second = self._follow(
            f"{second_seller.member} offers {offered_wh} Wh or more (API)",
            lambda: _accepted(second_seller.market.offer(SECOND_PRICE_MICRO, energy_wh=offered_wh)),
        )
        self._wait(lambda: self.bought_wh(buyer, bid.id) == BID_WH, TRADE_TIMEOUT_S, "the second trade")
        return [offer, bid, second]

    def wait_energy(self, seller: Node, energy_wh: int) -> None:
        """Wait until a member has lots of so much energy in all."""
        self._wait(
            lambda: sum(lot.energy_wh for lot in seller.market.lots(seller.member) if not lot.offer) >= energy_wh,
            LOTS_TIMEOUT_S,
            f"{energy_wh} Wh in {seller.member}'s lots",
        )

    def bought_wh(self, node: Node, bid: str) -> int:
        """What a bid got so far, as one node sees it."""
        return sum(trade.energy_wh for trade in node.market.trades() if trade.bid == bid)

    def _follow(self, what: str, place: Callable[[], str]) -> Placed:
        """Place an order and wait until all nodes have it in a block."""
        began = time.monotonic()
        order = place()
        seen: dict[str, int] = {}

        def everywhere() -> bool:
            for node in self._nodes:
                found = None if node.member in seen else node.api.transaction(order)
                if found and found.state in ("in_block", "final"):
                    seen[node.member] = found.height
            return len(seen) == len(self._nodes)

        self._wait(everywhere, BLOCK_TIMEOUT_S, f"a block with the order: {what}")
        return Placed(what, order, max(seen.values()), time.monotonic() - began)

    def _wait(self, condition: Callable[[], bool], timeout_s: float, awaited: str) -> None:
        deadline = time.monotonic() + stretched(timeout_s)
        while not _holds(condition):
            if time.monotonic() > deadline:
                raise WaitTimeout(awaited, stretched(timeout_s), "")
            self._look()


def bid_by_command(buyer: Node) -> str:
    """Bid as a person does; returns the transaction's id.

    Raises:
        ProcessFailed: if the command fails.
    """
    said = run_program(
        "minervas", "bid", "--api", buyer.api.url, "--token-file", buyer.market.token_file,
        "--energy-wh", str(BID_WH), "--price", LIMIT, "--json",
    )  # fmt: skip
    placed: str = json.loads(said)["id"]
    return placed


def _accepted(answer: Answer) -> str:
    """Id of what was signed.

    Raises:
        LocalFault: with the code of the refusal.
    """
    if not answer.id:
        raise LocalFault(Code.INTERNAL, "An order was refused", status=answer.status, refused_with=answer.code)
    return answer.id


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except ApiAway:  # for a moment, on a busy machine
        return False
