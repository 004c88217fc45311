"""A ledger, a chain and a wallet in memory, as the standing rules see them: what they send can get lost on the way."""

from __future__ import annotations

from typing import Any

import msgspec

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, InvalidTransaction, TransientFault
from minervas_core.finality.votes import Checkpoint
from minervas_core.genesis import Parameters
from minervas_core.keys import SigningKey
from minervas_core.market.records import Bid, Cancel, Lot, Obligation, Offer, Order, Origin, Slot
from minervas_core.messages import ChainTip
from minervas_core.node_bill_messages import SettlementEntry, Settlements
from minervas_core.node_market_messages import (
    LotEntry,
    Lots,
    MarketView,
    ObligationEntry,
    Obligations,
    OrderEntry,
    Orders,
)
from minervas_core.node_messages import LedgerStatus
from minervas_core.transactions import Transaction, TransactionBody, sign_transaction
from minervas_peer.standing_rules.keeper import RulesKeeper
from minervas_peer.standing_rules.records import RulesState
from minervas_peer.standing_rules.store import RulesStore
from minervas_peer.standing_rules.worker import RulesWorker
from minervas_runtime.clock import ManualClock
from tests.support.peer import NOW_MS, seed

NETWORK = "ab" * 16
ME = "anna"
SLOT_MS = 900_000
WALLET = SigningKey(seed("wallet/rules"))


def lot_id(n: int) -> str:
    return f"{n:064x}"


class MemoryStore(RulesStore):
    """Keeps the bytes that would be in the file."""

    def __init__(self) -> None:
        self.raw = msgspec.json.encode(RulesState())
        self.writes = 0
        self.broken = False

    @property
    def state(self) -> RulesState:
        return msgspec.json.decode(self.raw, type=RulesState)

    def put(self, state: RulesState) -> None:
        if self.broken:
            raise TransientFault(Code.TIMEOUT, "The disk is full in this test")
        self.raw, self.writes = msgspec.json.encode(state), self.writes + 1


class RulesMarket:
    """One member's market. The queue and the blocks keep the rules of the chain that matter here."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or Parameters()
        self.height, self.time_ms = 5, NOW_MS
        self.slot = Slot(mode="auction", ends_ms=NOW_MS + SLOT_MS)
        self.syncing = self.torn = False
        self.lots: dict[str, int] = {}
        self.owed: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        self.orders: dict[str, Order] = {}
        self.queue: dict[str, Transaction] = {}
        self.seen: dict[str, Transaction] = {}
        self.attempts: list[str] = []
        self.refusal: Code | None = None
        self.loses_question = self.loses_answer = False
        self.store = MemoryStore()
        self.restart()

    def restart(self) -> None:
        """Start the worker with nothing but its file."""
        self.keeper = RulesKeeper(self.store)
        self.worker = RulesWorker(
            self.keeper,
            ledger=self,  # type: ignore[arg-type]  # only what the worker asks
            trader=self,  # type: ignore[arg-type]  # only what the worker uses
            network=NETWORK,
            member=ME,
            clock=ManualClock(NOW_MS),
        )

    @property
    def free(self) -> dict[str, int]:
        """Lots that no offer holds."""
        held = {lot for order in self.orders.values() for lot in order.lots}
        return {lot: energy_wh for lot, energy_wh in self.lots.items() if lot not in held}

    def placed(self, kind: type[TransactionBody]) -> list[Any]:
        """Bodies of a kind that the ledger ever took."""
        return [each.body for each in self.seen.values() if isinstance(each.body, kind)]

    # the wallet

    sender = WALLET.public

    def sign(self, body: TransactionBody) -> Transaction:
        return sign_transaction(body, WALLET)

    async def submit(self, transaction: Transaction) -> None:
        self.attempts.append(transaction.id)
        if self.loses_question:
            raise TransientFault(Code.TIMEOUT, "No answer")
        if self.refusal is not None:
            raise InvalidTransaction(self.refusal, "Refused in this test")
        if transaction.id not in self.seen:
            self.seen[transaction.id] = self.queue[transaction.id] = transaction
        if self.loses_answer:
            raise TransientFault(Code.TIMEOUT, "No answer")

    # the chain

    def mine(self, *, take: int = 1_000) -> None:
        """A block with some of the queue; what can no longer apply is dropped."""
        self.height += 1
        for tx_id in list(self.queue)[:take]:
            self._apply(tx_id, self.queue.pop(tx_id).body)

    def next_slot(self) -> None:
        """The slot ends, and with it the orders of that slot."""
        self.time_ms = self.slot.ends_ms
        self.orders = {name: each for name, each in self.orders.items() if each.valid_until_ms > self.time_ms}
        self.slot = msgspec.structs.replace(self.slot, ends_ms=self.slot.ends_ms + SLOT_MS)
        self.mine(take=0)

    def sell(self, order_id: str) -> None:
        """Somebody takes an open order whole."""
        order = self.orders.pop(order_id)
        for lot in order.lots:
            del self.lots[lot]
        if order.side == "bid":
            self.owed["bert"] = self.owed.get("bert", 0) + order.energy_wh * order.price_micro

    def _apply(self, tx_id: str, body: Any) -> None:
        match body:
            case Cancel():
                self.orders.pop(body.order, None)
            case Offer() if body.valid_until_ms > self.time_ms and all(lot in self.free for lot in body.lots):
                self._enter(tx_id, body, "offer", sum(self.lots[lot] for lot in body.lots), body.lots)
            case Bid() if body.valid_until_ms > self.time_ms:
                self._enter(tx_id, body, "bid", body.energy_wh, [])

    def _enter(self, tx_id: str, body: Offer | Bid, side: Any, energy_wh: int, lots: list[str]) -> None:
        self.orders[tx_id] = Order(
            side=side,
            member=ME,
            price_micro=body.price_micro,
            energy_wh=energy_wh,
            valid_until_ms=body.valid_until_ms,
            height=self.height,
            index=0,
            lots=lots,
        )

    # the ledger's answers

    async def ask(self, kind: str, body: Any, _answer: type[Any]) -> Any:
        if kind == "lots" and self.torn:
            self.height += 1
        return getattr(self, f"_{kind}")(body)

    def _status(self, _body: Any) -> LedgerStatus:
        zero = Checkpoint(height=0, hash="0" * 64)
        return LedgerStatus(
            member=ME,
            tip=ChainTip(height=self.height, hash=sha256_hex(str(self.height).encode()), work="1"),
            tip_time_ms=self.time_ms,
            difficulty=1,
            roster_hash="0" * 64,
            active_members=1,
            mempool_transactions=0,
            mempool_bytes=0,
            abandoned_searches=0,
            reorganisations=0,
            side_branches=0,
            justified=zero,
            final=zero,
            missing_voters=[],
            parameters=self.parameters,
            unknown_rules_height=0,
            syncing=self.syncing,
            refusals={},
        )

    def _market(self, _body: Any) -> MarketView:
        return MarketView(slot=self.slot, offers=[], bids=[])

    def _lots(self, body: Any) -> Lots:
        ids = [each for each in sorted(self.free) if each > body.after]
        entries = [
            LotEntry(
                id=each,
                lot=Lot(
                    owner=ME,
                    energy_wh=self.lots[each],
                    parent=each,
                    origins=[Origin(statement=each, energy_wh=self.lots[each])],
                ),
            )
            for each in ids[: body.limit]
        ]
        return Lots(lots=entries, more=len(ids) > body.limit)

    def _orders(self, _body: Any) -> Orders:
        return Orders(orders=[OrderEntry(id=each, order=order) for each, order in self.orders.items()])

    def _obligations(self, _body: Any) -> Obligations:
        entries = [
            ObligationEntry(debtor=ME, creditor=name, owed=Obligation(amount_micro=amount, energy_wh=1))
            for name, amount in self.owed.items()
        ]
        other = ObligationEntry(debtor="bert", creditor=ME, owed=Obligation(amount_micro=10**9, energy_wh=1))
        return Obligations(obligations=[*entries, other])

    def _settlements(self, _body: Any) -> Settlements:
        entries = [
            SettlementEntry(
                transaction="1" * 64, height=1, seller=name, buyer=ME, month="2026-01", amount_micro=amount_micro
            )
            for name, amount_micro in self.paid.items()
        ]
        return Settlements(settlements=entries)
