"""What a member does with its meter and its lots: statements, offers, bids, cancellations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minervas_core.transactions import Transaction
from tests.sim.messages import TransactionMessage
from tests.support.builders import GENESIS_TIME_MS, bid, cancel, offer, statement
from tests.support.lot_builders import merge, retire

if TYPE_CHECKING:
    from tests.sim.node import Node

RATED_WH_PER_MS = 1
"""The simulated arrays give up to 1 Wh a millisecond (`builders.array`)."""


class Trader:
    """One member's wishes, after its own node's view of the chain."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def act(self) -> None:
        """Do something that mostly applies, or say again what still waits: the first time it may have been lost."""
        node, random = self._node, self._node.world.random
        if node.chain.state.roster.active(node.member) is None:
            return
        wish = random.choice(
            ["state", "state", "offer", "offer", "personal", "bid", "bid", "cancel", "merge", "retire", "repeat"]
        )
        if wish == "repeat":
            self._repeat()
        elif (made := self._transaction(wish)) is not None:
            node.announce(made)

    def _transaction(self, wish: str) -> Transaction | None:
        node, random = self._node, self._node.world.random
        market, member = node.chain.state.market, node.member
        salt = f"{random.getrandbits(64)}"
        expires = node.chain.tip.height + random.choice([3, 10, 50])
        until_ms = node.now_ms + random.choice([2_000, 20_000, 200_000])
        price = random.randint(8, 12)
        match wish:
            case "merge" | "retire":
                return self._use_lots(wish, expires, salt)
            case "state":
                return self._statement(expires, salt)
            case "offer" | "personal":
                lots = self._free_lots(random.randint(1, 4))
                others = [each.member for each in node.chain.state.roster.members() if each.member != member]
                buyer = random.choice(others) if wish == "personal" and others else ""
                if not lots:
                    return None
                smallest = random.choice([1, 50, 400])
                return offer(
                    member,
                    lots,
                    price,
                    smallest_wh=smallest,
                    until_ms=until_ms,
                    buyer=buyer,
                    expires=expires,
                    salt=salt,
                )
            case "bid":
                return bid(member, random.randint(10, 900), price, until_ms=until_ms, expires=expires, salt=salt)
            case _:
                own = [key for key, _ in market.orders_of(member)]
                return cancel(member, random.choice(own), expires=expires, salt=salt) if own else None

    def _free_lots(self, most: int) -> list[str]:
        """Some of the own lots that are not on sale."""
        node = self._node
        lots = node.chain.state.market.lots.items()
        free = sorted(key for key, lot in lots if lot.owner == node.member and not lot.offer)
        return node.world.random.sample(free, min(len(free), most))

    def _use_lots(self, wish: str, expires: int, salt: str) -> Transaction | None:
        lots = self._free_lots(2 + self._node.world.random.randrange(2))
        if wish == "merge":
            return merge(self._node.member, lots, expires=expires, salt=salt) if len(lots) > 1 else None
        return retire(self._node.member, lots[:1], expires=expires, salt=salt) if lots else None

    def _statement(self, expires: int, salt: str) -> Transaction | None:
        """A statement that goes on where the last one in the own view ended."""
        node, random = self._node, self._node.world.random
        meter = node.chain.state.market.meters.get(f"{node.member}/roof")
        if meter is None:
            return None
        last = node.chain.state.market.registers.get(f"{node.member}/roof/dc")
        start_ms, start_wh = (last.time_ms, last.register_wh) if last else (meter.registered_ms, 0)
        end_ms = node.now_ms
        if end_ms <= start_ms:
            return None
        energy_wh = random.randint(0, min(end_ms - start_ms, 3_000) * RATED_WH_PER_MS)
        reset = random.randrange(20) == 0
        start = (start_ms - GENESIS_TIME_MS, 0 if reset else start_wh)
        end = (end_ms - GENESIS_TIME_MS, start[1] + energy_wh)
        return statement(node.member, start, end, reset=reset, expires=expires, salt=salt)

    def _repeat(self) -> None:
        """Tell the others again of an own transaction that still waits."""
        node = self._node
        record = node.chain.state.roster.active(node.member)
        own = [each for each in node.mempool if record is not None and each.body.sender == record.keys.wallet]
        if own:
            node.world.bus.broadcast(node.address, TransactionMessage(node.world.random.choice(own)))
