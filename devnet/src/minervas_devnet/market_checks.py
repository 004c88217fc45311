"""What has to hold of metering and trading at the end of the demo."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from minervas_devnet.checks import Check
from minervas_devnet.consortium import Consortium
from minervas_devnet.health import health
from minervas_devnet.market_api import Clearing, Lot, Trade
from minervas_devnet.node import Node
from minervas_devnet.one_tip import at_one_tip
from minervas_devnet.options import GATEWAY
from minervas_devnet.simulated_meters import SimulatedMeters
from minervas_devnet.stored_metering import StoredMetering
from minervas_devnet.waiting import stretched, wait_until

STORED_S = 60.0
STATED_S = 30.0
"""Until a slot's statement is in a block, after its end."""
HOUR_MS = 3_600_000


def check_market(consortium: Consortium) -> list[Check]:
    """All ledgers agree on the market, and what is in lots or retired is what was minted."""
    seen = at_one_tip(consortium, _Market)
    first = next(iter(seen.values()))
    checks = [
        Check(
            f"all ledgers have the same {name}",
            len({market.digest(name) for market in seen.values()}) == 1,
            ", ".join(f"{member} {len(getattr(each, name))}: {each.digest(name)}" for member, each in seen.items()),
        )
        for name in ("lots", "orders", "trades", "clearings", "obligations", "retirements")
    ]
    minted_wh = sum(each.minted_wh for each in first.minted)
    lots_wh = sum(lot.energy_wh for lot in first.lots) + sum(lot.energy_wh for lot in first.retirements)
    owned = ", ".join(f"{member} {_owned_wh(first.lots, member)} Wh" for member in consortium.nodes)
    due = {(each.debtor, each.creditor): each.amount_micro for each in first.obligations}
    return [
        *checks,
        Check(
            "energy minted = energy in lots or retired",
            minted_wh == lots_wh > 0,
            f"{minted_wh} Wh = {lots_wh} Wh: {owned}",
        ),
        Check("what is owed is what was traded", due == _owed(first.trades), f"{len(first.trades)} trades"),
        _check_prices(first.clearings, first.trades),
    ]


def check_readings(nodes: Sequence[Node]) -> list[Check]:
    """No reading was lost, none is there twice: what the gateways had numbered by now is in the ledgers once."""
    return [_check_readings(node) for node in nodes if node.meters]


def check_registers(nodes: Sequence[Node], slot_ms: int) -> list[Check]:
    """The meters' own registers have at least what was minted, and no more than a slot's energy on top.

    Waits a while, for statements of the last slot may be on their way.
    """
    return [_check_registers(node, node.meters, slot_ms) for node in nodes if node.meters]


def check_bad_orders(node: Node, trade: Trade) -> list[Check]:
    """Orders that cannot be are refused with a code each.

    Args:
        node: of a member that has sold.
        trade: one of its sales.
    """
    market = node.market
    cases = {
        "an offer of a lot that is sold is refused": ("lot_not_owned", market.offer(1, lots=(trade.lots[0],))),
        "a bid for nothing is refused": ("wrong_shape", market.bid(0, 1)),
        "a bid beyond all numbers is refused": ("order_too_large", market.bid(2**52, 2**52)),
        "an order without the owner's token is refused": (
            "not_authorised",
            market.place("/v1/bids", {"energy_wh": 10, "price_micro": 1}, token="f" * 64),
        ),
    }
    return [
        Check(name, answer.code == expected and not answer.id, f"HTTP {answer.status} {answer.code}")
        for name, (expected, answer) in cases.items()
    ]


class _Market:
    """The market as one node shows it."""

    def __init__(self, node: Node) -> None:
        self.lots = sorted(node.market.lots())
        self.orders = sorted(node.market.orders())
        self.trades = sorted(node.market.trades())
        self.clearings = sorted(node.market.clearings(), key=lambda each: each.height)
        self.retirements = sorted(node.market.retirements())
        self.obligations = sorted(node.market.obligations())
        self.minted = node.market.minted()

    def digest(self, name: str) -> str:
        """Short hash of one of the lists."""
        return sha256(json.dumps(msgspec.to_builtins(getattr(self, name))).encode()).hexdigest()[:8]


def _owned_wh(lots: Sequence[Lot], member: str) -> int:
    return sum(lot.energy_wh for lot in lots if lot.owner == member)


def _owed(trades: Sequence[Trade]) -> dict[tuple[str, str], int]:
    owed: dict[tuple[str, str], int] = {}
    for trade in trades:
        owed[trade.buyer, trade.seller] = owed.get((trade.buyer, trade.seller), 0) + trade.energy_wh * trade.price_micro
    return owed


def _check_prices(clearings: Sequence[Clearing], trades: Sequence[Trade]) -> Check:
    """Every trade has the price of its auction, and each auction sold what it decided; there are no personal deals."""
    decided = [(each.energy_wh, each.price_micro) for each in clearings if each.energy_wh]
    sold: dict[tuple[int, int], int] = {}
    for trade in trades:
        auction = max(each.height for each in clearings if each.height <= trade.height)
        sold[auction, trade.price_micro] = sold.get((auction, trade.price_micro), 0) + trade.energy_wh
    found = [(energy_wh, price_micro) for (_, price_micro), energy_wh in sorted(sold.items())]
    told = ", ".join(f"{energy_wh} Wh at {price_micro}" for energy_wh, price_micro in found)
    return Check("each slot's trades have the one price of its auction", found == decided != [], told)


def _check_readings(node: Node) -> Check:
    spool = _spool(node)
    given = int(spool["next_sequence"])
    stored = StoredMetering(node.member, node.database)
    found = stored.spool(spool["id"], given)
    deadline = time.monotonic() + stretched(STORED_S)
    while found.sequences < given and time.monotonic() < deadline:
        time.sleep(0.2)
        found = stored.spool(spool["id"], given)
    conflicts = node.market.readings(limit=1).conflicts
    return Check(
        f"{node.member}: every sample is stored, once",
        given == found.rows == found.sequences > 0 and not conflicts,
        f"{given} samples given, {found.rows} rows, {found.sequences} different, {conflicts} conflicts",
    )


def _spool(node: Node) -> dict[str, Any]:
    """What a gateway says of its spool.

    Raises:
        WaitTimeout: if it does not answer.
    """
    told: dict[str, Any] = {}

    def answers() -> bool:
        told.update(health(node.health_ports[GATEWAY]).get("spool", {}))
        return "next_sequence" in told

    wait_until(answers, timeout_s=STORED_S, awaited=f"{node.member}'s gateway to tell of its spool")
    return told


def _check_registers(node: Node, meters: SimulatedMeters, slot_ms: int) -> Check:
    deadline = time.monotonic() + stretched(slot_ms / 1000 + STATED_S)
    while True:
        holds, seen = _compare_registers(node, meters, slot_ms)
        if holds or time.monotonic() > deadline:
            return Check(f"{node.member}: metered energy covers what was minted, within a slot", holds, seen)
        time.sleep(0.5)


def _compare_registers(node: Node, meters: SimulatedMeters, slot_ms: int) -> tuple[bool, str]:
    spans = StoredMetering(node.member, node.database).spans()
    shown = meters.registers_wh()  # after the statements: it only grows
    seen, holds = [], True
    for each in meters.site.channels:
        span = spans.get(each.key)
        if span is None:
            seen.append(f"{each.channel}: nothing stated yet")
            holds = holds and each.model == "pzem-003"  # a small panel's register may not have risen yet
            continue
        metered_wh = shown[each.key] - span.first_wh
        most_wh = each.rated_w * slot_ms * 11 / (10 * HOUR_MS) + each.step_wh
        holds = holds and 0 <= metered_wh - span.stated_wh <= most_wh
        seen.append(f"{each.channel}: {metered_wh:.1f} Wh on the meter, {span.stated_wh} Wh minted, slot {most_wh:.0f}")
    return holds, "; ".join(seen)
