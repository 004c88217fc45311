"""The market's vectors checked by a second market that shares no code with the protocol: written from spec/market.md.

It keeps plain dictionaries and looks at every order each time. Signatures, work and roster are left to the other tests.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.second_market import (
    Refused,
    Row,
    SecondAuction,
    canonical,
    first_of,
    hash_of,
    id_of,
    listed,
    refuse_if,
    root_of,
    sha256,
)

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
FILE, AUCTIONS = (json.loads((VECTORS / f"{name}.json").read_text("ascii")) for name in ("market", "auctions"))
GROUPS = ["membership", "generation", "cancel", "offer", "bid", "others"]
LIMIT = 2**53


class Ledger(SecondAuction):
    """Members, market and trades after a block."""

    def __init__(self, genesis: dict[str, Any]) -> None:
        self.genesis = genesis
        self.parameters: dict[str, Any] = genesis["parameters"]
        self.time_ms: int = genesis["created_ms"]
        self.members: dict[str, Row] = {}
        self.revoked: set[str] = set()
        self.seen: set[str] = set()
        self.meters: dict[str, Row] = {}
        self.registers: dict[str, Row] = {}
        self.lots: dict[str, Row] = {}
        self.orders: dict[str, Row] = {}
        self.obligations: dict[str, Row] = {}
        self.settlements: dict[str, Row] = {}
        self.trades: list[Row] = []
        self.retirements: list[Row] = []
        self.clearings: list[Row] = []
        self.pending_fills: dict[str, Row] = {}
        self.slots: dict[str, Row] = {}

    def tables(self) -> dict[str, dict[str, Row]]:
        names = ("lots", "meters", "obligations", "orders", "pending_fills", "registers", "settlements", "slots")
        found = {name: getattr(self, name) for name in names}
        return {name: rows for name, rows in found.items() if rows}

    def add(self, block: Row) -> None:
        header = block["header"]
        self.height, self.fills, self.placed, self.retired = header["height"], 0, 0, 0
        slot = self.slots.get("current") or self.slot_of(self.genesis["created_ms"])
        self.mode = slot["mode"]
        ended = self.time_ms >= slot["ends_ms"]
        self.deliver_pending()
        if ended and self.mode == "auction" and not slot["cleared"]:
            self.clear(slot["ends_ms"])
        over = [key for key, order in self.orders.items() if order["valid_until_ms"] <= self.time_ms]
        for order_id in [key for key in over if not self.is_pending(key)]:
            self.close(order_id)
        waiting = [key for key, order in self.orders.items() if order["waiting"]]
        for order_id in sorted(waiting, key=self.age):
            if order_id in self.orders:
                self.orders[order_id]["waiting"] = False
                self.match(order_id)
        if ended:
            self.slots["current"] = slot | {"cleared": True} if self.pending_fills else self.slot_of(self.time_ms)
            if not self.pending_fills:
                self.repeat()
        bodies = [each["body"] for each in block["transactions"]]
        keys = [self.place_in_block(body) for body in bodies]
        refuse_if(keys != sorted(keys), "block_tx_order")
        for body in bodies:
            refuse_if(id_of(body) in self.seen, "tx_duplicate")
            getattr(self, body["type"])(id_of(body), body, header["time_ms"])
            self.seen.add(id_of(body))
        self.time_ms = header["time_ms"]

    def place_in_block(self, body: Row) -> tuple[int, str, int, str]:
        group = GROUPS.index(body["type"] if body["type"] in GROUPS else "others")
        if body["type"] == "generation":
            return group, f"{body['member']}/{body['meter']}/{body['channel']}", body["start"]["time_ms"], id_of(body)
        return group, "", 0, id_of(body)

    def active(self, member: str) -> bool:
        return member in self.members and member not in self.revoked

    # transactions

    def membership(self, tx_id: str, body: Row, _: int) -> None:
        change = body["change"]
        member = change["member"]
        match change["action"]:
            case "admit":
                self.members[member] = change["keys"]
            case "revoke":
                self.revoked.add(member)
                for order_id in [key for key, order in self.orders.items() if order["member"] == member]:
                    self.close(order_id)
            case "register_meter":
                self.register_meter(member, change)

    def register_meter(self, member: str, change: Row) -> None:
        key, meter = change["gateway"], change["meter"]
        refuse_if(key == "00" * 32, "bad_key")
        refuse_if(key == self.genesis["authority"], "key_reused")
        refuse_if(not self.active(member), "member_unknown")
        names = [channel["name"] for channel in meter["channels"]]
        refuse_if(len(set(names)) < len(names), "channel_twice")
        refuse_if(f"{member}/{meter['meter']}" in self.meters, "meter_exists")
        refuse_if(any(key in keys.values() for keys in self.members.values()), "key_reused")
        refuse_if(any(m["gateway"] == key and m["member"] != member for m in self.meters.values()), "key_reused")
        row = meter | {"member": member, "gateway": key, "registered_ms": self.time_ms}
        self.meters[f"{member}/{meter['meter']}"] = row

    def generation(self, tx_id: str, body: Row, time_ms: int) -> None:
        start, end, member = body["start"], body["end"], body["member"]
        energy, elapsed = end["register_wh"] - start["register_wh"], end["time_ms"] - start["time_ms"]
        refuse_if(not self.active(member), "member_unknown")
        refuse_if(elapsed <= 0 or energy < 0, "statement_order")
        meter = self.meters.get(f"{member}/{body['meter']}")
        if meter is None:
            raise Refused("meter_unknown")
        refuse_if(body["sender"] != meter["gateway"], "tx_wrong_sender")
        rated = {channel["name"]: channel["rated_w"] for channel in meter["channels"]}
        refuse_if(body["channel"] not in rated, "channel_unknown")
        key = f"{member}/{body['meter']}/{body['channel']}"
        first = {"time_ms": meter["registered_ms"], "since_ms": start["time_ms"], "minted_wh": 0}
        last = self.registers.get(key, first)
        refuse_if(start["time_ms"] < last["time_ms"], "statement_overlap")
        begun = key in self.registers and not body["reset"]
        same = (start["time_ms"], start["register_wh"]) == (last["time_ms"], last.get("register_wh"))
        refuse_if(begun and not same, "statement_gap")
        refuse_if(end["time_ms"] > time_ms, "statement_future")
        power, step = rated[body["channel"]] * 11, meter["register_step_wh"]
        refuse_if(energy > power * elapsed // 36_000_000 + step, "statement_rated_power")
        in_all = power * (end["time_ms"] - last["since_ms"]) // 36_000_000 + step
        refuse_if(energy > in_all - last["minted_wh"], "statement_rated_power")
        totals = {"since_ms": last["since_ms"], "minted_wh": last["minted_wh"] + energy}
        self.registers[key] = end | totals | {"statement": tx_id}
        if energy:
            self.make_lot(tx_id, member, {tx_id: energy})

    def make_lot(self, tx_id: str, member: str, origins: dict[str, int]) -> None:
        total = sum(origins.values())
        self.lots[tx_id] = {"owner": member, "energy_wh": total, "parent": tx_id, "origins": listed(origins)}
        self.lots[tx_id]["offer"] = ""

    def sender(self, body: Row) -> str:
        for member, keys in self.members.items():
            if keys["wallet"] == body["sender"] and self.active(member):
                return member
        raise Refused("member_unknown")

    def offer(self, tx_id: str, body: Row, _: int) -> None:
        member, lots = self.sender(body), body["lots"]
        refuse_if(len(lots) > self.parameters["max_lots_per_offer"], "order_too_large")
        self.check_free(lots, member)
        energy = sum(self.lots[lot_id]["energy_wh"] for lot_id in lots)
        terms = {"smallest_wh": body["smallest_wh"], "buyer": body["buyer"], "lots": list(lots)}
        self.place(tx_id, member, body, terms | {"side": "offer", "energy_wh": energy})

    def check_free(self, lots: list[str], member: str) -> None:
        refuse_if(len(set(lots)) < len(lots), "lot_twice")
        for lot_id in lots:
            refuse_if(lot_id not in self.lots, "lot_unknown")
            refuse_if(self.lots[lot_id]["owner"] != member, "lot_not_owned")
            refuse_if(self.lots[lot_id]["offer"] != "", "lot_offered")

    def merge(self, tx_id: str, body: Row, _: int) -> None:
        member = self.sender(body)
        self.check_free(body["lots"], member)
        origins: dict[str, int] = {}
        for lot_id in body["lots"]:
            for part in self.lots[lot_id]["origins"]:
                origins[part["statement"]] = origins.get(part["statement"], 0) + part["energy_wh"]
        refuse_if(len(origins) > 100 or sum(origins.values()) >= LIMIT, "lot_too_large")
        for lot_id in body["lots"]:
            del self.lots[lot_id]
        self.make_lot(tx_id, member, origins)

    def retire(self, tx_id: str, body: Row, _: int) -> None:
        member = self.sender(body)
        self.check_free(body["lots"], member)
        if "origins_root" in body:
            parts = [part for lot_id in body["lots"] for part in self.lots[lot_id]["origins"]]
            origins = {part["statement"]: 0 for part in parts}
            for part in parts:
                origins[part["statement"]] += part["energy_wh"]
            refuse_if(root_of([canonical(part) for part in listed(origins)]) != body["origins_root"], "retire_claim")
        for lot_id in body["lots"]:
            lot = self.lots.pop(lot_id)
            told = {"height": self.height, "position": self.retired, "transaction": tx_id, "lot": lot_id}
            self.retirements.append(told | {name: lot[name] for name in ("owner", "energy_wh", "origins")})
            self.retired += 1

    def payment(self, tx_id: str, body: Row, _: int) -> None:
        seller = body["seller"]
        refuse_if(seller not in self.members, "member_unknown")
        wallet = self.members[seller]["wallet"] if self.active(seller) else self.genesis["authority"]
        refuse_if(body["sender"] != wallet, "tx_wrong_sender")
        year, month = map(int, body["month"].split("-"))
        following = dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
        ends_ms = int(following.timestamp()) * 1_000
        refuse_if(self.time_ms < ends_ms - 14 * 3_600_000, "bill_not_final")
        refuse_if(ends_ms + 12 * 3_600_000 <= self.genesis["created_ms"], "bill_not_final")
        pair = f"{body['buyer']}/{seller}"
        owed = self.obligations.get(pair, {"amount_micro": 0})["amount_micro"]
        known = {key: row for key, row in self.settlements.items() if key.startswith(f"{pair}/")}
        settled = sum(sum(row.values()) for row in known.values())
        key = f"{pair}/{body['month']}"
        most = owed + 1_000_000 * len({*known, key}) if owed else 0
        refuse_if(settled + body["amount_micro"] > most, "payment_too_large")
        before = self.settlements.get(key, {"paid_micro": 0, "credited_micro": 0})
        name = "paid_micro" if body["type"] == "payment" else "credited_micro"
        self.settlements[key] = before | {name: before[name] + body["amount_micro"]}

    credit_note = payment

    def bid(self, tx_id: str, body: Row, _: int) -> None:
        terms = {"smallest_wh": 1, "buyer": "", "lots": [], "side": "bid", "energy_wh": body["energy_wh"]}
        self.place(tx_id, self.sender(body), body, terms | {"repeat_wh": body["energy_wh"] * body["repeats"]})

    def place(self, tx_id: str, member: str, body: Row, terms: Row) -> None:
        energy = terms["energy_wh"]
        refuse_if(energy < self.parameters["smallest_order_wh"], "order_too_small")
        refuse_if(energy * body["price_micro"] >= LIMIT or energy >= LIMIT, "order_too_large")
        refuse_if(body["valid_until_ms"] <= self.time_ms, "order_expired")
        own = [order for order in self.orders.values() if order["member"] == member]
        refuse_if(len(own) >= self.parameters["max_open_orders"], "order_limit")
        for lot_id in terms["lots"]:
            self.lots[lot_id]["offer"] = tx_id
        fields = {name: body[name] for name in ("price_micro", "valid_until_ms")}
        rest = {"member": member, "height": self.height, "index": self.placed, "waiting": False, "events": 0}
        cost = energy * body["price_micro"] if terms["side"] == "bid" else 0
        refuse_if(cost > 0 and not self.has_credit(member, cost), "credit_limit")
        self.orders[tx_id] = {"repeat_wh": 0} | terms | fields | rest
        self.placed += 1
        if self.mode == "continuous":
            self.match(tx_id)

    def cancel(self, tx_id: str, body: Row, _: int) -> None:
        member = self.sender(body)
        refuse_if(body["order"] not in self.orders, "order_unknown")
        refuse_if(self.orders[body["order"]]["member"] != member, "order_not_owned")
        refuse_if(self.is_pending(body["order"]), "order_cleared")
        self.close(body["order"])

    def close(self, order_id: str) -> None:
        for lot_id in self.orders.pop(order_id)["lots"]:
            self.lots[lot_id]["offer"] = ""

    # matching

    def age(self, order_id: str) -> tuple[int, int]:
        return self.orders[order_id]["height"], self.orders[order_id]["index"]

    def match(self, entering: str) -> None:
        side = self.orders[entering]["side"]
        sign = 1 if side == "bid" else -1
        others = [key for key, order in self.orders.items() if order["side"] != side and order["energy_wh"]]
        for other in sorted(others, key=lambda key: (sign * self.orders[key]["price_micro"], *self.age(key))):
            if entering not in self.orders or not self.orders[entering]["energy_wh"]:
                return
            offer_id, bid_id = (other, entering) if side == "bid" else (entering, other)
            offer, bid = self.orders[offer_id], self.orders[bid_id]
            if offer["price_micro"] > bid["price_micro"]:
                return
            strangers = offer["member"] != bid["member"] and offer["buyer"] in ("", bid["member"])
            if not strangers or self.age(other) > self.age(entering):
                continue
            if self.fills == self.parameters["max_fills_per_block"]:
                self.orders[entering]["waiting"] = True
                return
            energy = min(offer["energy_wh"], bid["energy_wh"])
            if energy >= min(offer["smallest_wh"], offer["energy_wh"]):
                self.fill(offer_id, bid_id, self.orders[other]["price_micro"], energy)

    def fill(self, offer_id: str, bid_id: str, price: int, energy: int) -> None:
        offer, bid = self.orders[offer_id], self.orders[bid_id]
        pair = f"{bid['member']}/{offer['member']}"
        owed = self.obligations.get(pair, {"amount_micro": 0, "energy_wh": 0})
        after = {"amount_micro": owed["amount_micro"] + energy * price, "energy_wh": owed["energy_wh"] + energy}
        if max(after.values()) >= LIMIT:
            return
        self.obligations[pair] = after
        trade = {
            "height": self.height,
            "position": self.fills,
            "offer": offer_id,
            "bid": bid_id,
            "seller": offer["member"],
            "buyer": bid["member"],
            "energy_wh": energy,
            "price_micro": price,
            "amount_micro": energy * price,
            "lots": self.deliver(offer_id, bid_id, energy),
        }
        self.trades.append(trade)
        self.fills += 1
        for order_id in (offer_id, bid_id):
            self.orders[order_id]["energy_wh"] -= energy
            if self.orders[order_id]["energy_wh"] == 0 and not self.orders[order_id]["repeat_wh"]:
                del self.orders[order_id]

    def deliver(self, offer_id: str, bid_id: str, energy: int) -> list[str]:
        offer, delivered = self.orders[offer_id], []
        while energy:
            taken = offer["lots"].pop(0)
            lot = self.lots.pop(taken)
            part = min(energy, lot["energy_wh"])
            delivered.append(self.derive(offer_id, bid_id))
            origins = {each["statement"]: each["energy_wh"] for each in lot["origins"]}
            away = first_of(origins, part)
            sold = {"owner": self.orders[bid_id]["member"], "energy_wh": part, "parent": taken, "offer": ""}
            self.lots[delivered[-1]] = lot | sold | {"origins": listed(away)}
            if part < lot["energy_wh"]:
                left = self.derive(offer_id, "")
                kept = {key: energy_wh - away.get(key, 0) for key, energy_wh in origins.items()}
                change = {"energy_wh": lot["energy_wh"] - part, "parent": taken, "origins": listed(kept)}
                self.lots[left] = lot | change
                offer["lots"].insert(0, left)
            energy -= part
        return delivered

    def derive(self, offer_id: str, bid_id: str) -> str:
        event = self.orders[offer_id]["events"]
        self.orders[offer_id]["events"] += 1
        return sha256(b"minervas/v1/lot\0" + f"{offer_id}/{bid_id}/{event}".encode())


@pytest.mark.parametrize(
    ("file", "history"),
    [(file, history) for file in (FILE, AUCTIONS) for history in file["histories"]],
    ids=lambda value: value.get("name", ""),
)
def test_history(file: Row, history: Row) -> None:
    genesis: Row = json.loads(bytes.fromhex(file["genesis_hex"]))["body"]
    genesis_hash = sha256(b"minervas/v1/genesis\0" + genesis["network"].encode() + canonical(genesis))
    ledgers = {genesis_hash: Ledger(genesis)}
    for step in history["steps"]:
        block = json.loads(bytes.fromhex(file["blocks"][step["block"]]))
        ledger = copy.deepcopy(ledgers[block["header"]["prev"]])
        if step["code"] is None:
            ledger.add(block)
            ledgers[hash_of(block["header"])] = ledger
        else:
            with pytest.raises(Refused, match=f"^{step['code']}$"):
                ledger.add(block)
        if "market" in step:
            assert ledgers[step["tip"]].tables() == step["market"]
            assert ledgers[step["tip"]].trades == step["trades"]
            assert ledgers[step["tip"]].retirements == step["retirements"]
            assert ledgers[step["tip"]].clearings == step["clearings"]


def test_derived_lots() -> None:
    for case in FILE["derived_lots"]:
        text = f"{case['offer']}/{case['bid']}/{case['event']}"
        assert sha256(b"minervas/v1/lot\0" + text.encode()) == case["id"]


def test_the_histories_show_trades_waiting_orders_and_a_changed_branch() -> None:
    steps = [step for history in FILE["histories"] for step in history["steps"]]
    assert sum(len(step.get("trades", [])) for step in steps) > 20
    assert any(order["waiting"] for step in steps for order in step.get("market", {}).get("orders", {}).values())
    assert len({step["code"] for step in steps}) > 20


def test_the_histories_of_auctions_show_prices_fills_that_wait_deals_and_bids_that_repeat() -> None:
    steps = [step for history in AUCTIONS["histories"] for step in history["steps"] if "market" in step]
    told = [clearing for step in steps for clearing in step["clearings"]]
    assert len({clearing.get("price_micro") for clearing in told}) > 8
    assert any(clearing["deals"] for clearing in told)
    assert any("price_micro" not in clearing for clearing in told)
    assert any(step["market"].get("pending_fills") for step in steps)
    orders = [order for step in steps for order in step["market"].get("orders", {}).values()]
    assert any(order["repeat_wh"] > 0 and order["energy_wh"] == 0 for order in orders)
