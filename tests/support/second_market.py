"""Parts of the second market (tests/core/test_vectors_market.py): hashes, origins, slots and auctions, Wh by Wh.

Written from spec/market.md and spec/auction.md; it shares no code with the protocol.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

Row = dict[str, Any]


class Refused(Exception):
    """With the code."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def id_of(body: Row) -> str:
    return sha256(b"minervas/v1/transaction\0" + body["network"].encode() + canonical(body))


def hash_of(header: Row) -> str:
    rest = dict(header)
    nonce = bytes.fromhex(rest.pop("nonce"))
    return sha256(hashlib.sha256(canonical(rest)).digest() + nonce)


def root_of(leaves: list[bytes]) -> str:
    """RFC 6962, written down as the text has it."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    half = 1
    while 2 * half < len(leaves):
        half *= 2
    return sha256(b"\1" + bytes.fromhex(root_of(leaves[:half]) + root_of(leaves[half:])))


def refuse_if(broken: bool, code: str) -> None:
    if broken:
        raise Refused(code)


def listed(origins: dict[str, int]) -> list[Row]:
    return [{"statement": key, "energy_wh": origins[key]} for key in sorted(origins) if origins[key]]


def first_of(origins: dict[str, int], energy: int) -> dict[str, int]:
    """The first so many Wh, by statement id."""
    found: dict[str, int] = {}
    for key in sorted(origins):
        found[key] = min(origins[key], energy - sum(found.values()))
    return found


class SecondAuction:
    """What slots and auctions do to a ledger's tables."""

    parameters: dict[str, Any]
    height: int
    fills: int
    placed: int
    mode: str
    orders: dict[str, Row]
    obligations: dict[str, Row]
    clearings: list[Row]
    pending_fills: dict[str, Row]

    def age(self, order_id: str) -> tuple[int, int]:
        raise NotImplementedError

    def match(self, entering: str) -> None:
        raise NotImplementedError

    def fill(self, offer_id: str, bid_id: str, price: int, energy: int) -> None:
        raise NotImplementedError

    def slot_of(self, time_ms: int) -> Row:
        length = self.parameters["slot_ms"]
        ends_ms = (time_ms // length + 1) * length
        return {"mode": self.parameters["market_mode"], "ends_ms": ends_ms, "cleared": False}

    def is_pending(self, order_id: str) -> bool:
        return any(order_id in (fill["offer"], fill["bid"]) for fill in self.pending_fills.values())

    def deliver_pending(self) -> None:
        for key in sorted(self.pending_fills)[: self.parameters["max_fills_per_block"]]:
            fill = self.pending_fills.pop(key)
            if {fill["offer"], fill["bid"]} <= self.orders.keys():
                self.fill(fill["offer"], fill["bid"], fill["price_micro"], fill["energy_wh"])

    def ranked(self, side: str, ends_ms: int, *, personal: bool = False) -> list[str]:
        sign = 1 if side == "offer" else -1
        fit = [
            key
            for key, order in self.orders.items()
            if order["side"] == side and order["valid_until_ms"] >= ends_ms and bool(order["buyer"]) == personal
        ]
        return sorted(fit, key=lambda key: (sign * self.orders[key]["price_micro"], *self.age(key)))

    def clear(self, ends_ms: int) -> None:
        """Every Wh by itself."""
        offers, bids = self.ranked("offer", ends_ms), self.ranked("bid", ends_ms)
        open_wh = {key: self.orders[key]["energy_wh"] for key in (*offers, *bids)}
        self.sit_out(offers, bids, open_wh)
        price = {key: self.orders[key]["price_micro"] for key in (*offers, *bids)}
        wanted = [key for key in bids for _ in range(open_wh[key])]
        asked: list[str] = []
        passed: set[str] = set()
        for key in offers:
            room = sum(price[bid] >= price[key] for bid in wanted) - len(asked)
            part = min(open_wh[key], max(room, 0))
            least = min(self.orders[key]["smallest_wh"], self.orders[key]["energy_wh"])
            if room > 0 and part < least:
                passed.add(key)
            elif part > 0:
                asked += [key] * part
        pairs = list(zip(asked, wanted, strict=False))
        left_offers = [key for key in offers for _ in range(open_wh[key] - asked.count(key)) if key not in passed]
        low = max([price[key] for key in asked] + [price[key] for key in wanted[len(asked) :]], default=0)
        high = min([price[bid] for _, bid in pairs] + [price[key] for key in left_offers], default=0)
        told = {"height": self.height, "slot_ends_ms": ends_ms, "energy_wh": len(pairs)}
        told |= {"offers": len(set(asked)), "bids": len({bid for _, bid in pairs})}
        told |= {"offered_wh": sum(open_wh[key] for key in offers), "wanted_wh": len(wanted)}
        middle = (low + high) // 2
        if pairs:
            told |= {"price_micro": middle, "lowest_micro": low, "highest_micro": high}
        fills = [(*pair, middle, len(list(same))) for pair, same in itertools.groupby(pairs)]
        deals = self.deals(ends_ms, fills)
        self.clearings.append(told | {"deals": len(deals), "deals_wh": sum(deal[3] for deal in deals)})
        for number, (offer, bid, each, energy) in enumerate(fills + deals):
            if self.fills < self.parameters["max_fills_per_block"]:
                self.fill(offer, bid, each, energy)
            else:
                row = {"offer": offer, "bid": bid, "energy_wh": energy, "price_micro": each}
                self.pending_fills[f"{number:08d}"] = row

    def sit_out(self, offers: list[str], bids: list[str], open_wh: dict[str, int]) -> None:
        for offer in offers:
            for bid in bids:
                same = self.orders[offer]["member"] == self.orders[bid]["member"]
                if same and self.orders[offer]["price_micro"] <= self.orders[bid]["price_micro"]:
                    both = min(open_wh[offer], open_wh[bid])
                    open_wh[offer] -= both
                    open_wh[bid] -= both
            if open_wh[offer] < min(self.orders[offer]["smallest_wh"], self.orders[offer]["energy_wh"]):
                open_wh[offer] = 0

    def deals(self, ends_ms: int, fills: list[Any]) -> list[Any]:
        bids = self.ranked("bid", ends_ms)
        left = {key: self.orders[key]["energy_wh"] for key in bids}
        for _, bid, _, energy in fills:
            left[bid] -= energy
        made: list[Any] = []
        for offer in self.ranked("offer", ends_ms, personal=True):
            order = self.orders[offer]
            buyers = [key for key in bids if self.orders[key]["member"] == order["buyer"] != order["member"]]
            units = [key for key in buyers for _ in range(left[key])]
            units = [key for key in units if self.orders[key]["price_micro"] >= order["price_micro"]]
            units = units[: order["energy_wh"]]
            if units and len(units) >= min(order["smallest_wh"], order["energy_wh"]):
                for bid, same in itertools.groupby(units):
                    energy = len(list(same))
                    left[bid] -= energy
                    made.append((offer, bid, order["price_micro"], energy))
        return made

    def repeat(self) -> None:
        for order_id in sorted((key for key, order in self.orders.items() if order["repeat_wh"]), key=self.age):
            order = self.orders[order_id]
            got = (order["repeat_wh"] - order["energy_wh"]) * order["price_micro"]
            if got and self.has_credit(order["member"], got):
                order |= {"energy_wh": order["repeat_wh"], "height": self.height, "index": self.placed}
                order["waiting"] = False
                self.placed += 1
                if self.mode == "continuous":
                    self.match(order_id)

    def has_credit(self, member: str, more: int) -> bool:
        owed = sum(row["amount_micro"] for pair, row in self.obligations.items() if pair.split("/")[0] == member)
        own = [order for order in self.orders.values() if (order["member"], order["side"]) == (member, "bid")]
        used = owed + sum(order["energy_wh"] * order["price_micro"] for order in own)
        limit: int = self.parameters["credit_limit_micro"]
        return not limit or used + more <= limit
