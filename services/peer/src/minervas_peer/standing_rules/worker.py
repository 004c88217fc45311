"""Carries out the standing rules: once for each new tip, over the same wallet and ledger as the API."""

from __future__ import annotations

import asyncio
import logging

from minervas_core.errors import Code, InvalidTransaction, LocalFault, MinervasError
from minervas_core.market.records import Bid, Cancel, Offer
from minervas_core.transactions import Transaction, TransactionBody, decode_transaction
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.standing_rules.decision import Decision, NewOrder, Situation, decide
from minervas_peer.standing_rules.keeper import LastDecision, RulesKeeper
from minervas_peer.standing_rules.records import SIDES, PlacedOrder, Side, rule_of
from minervas_peer.standing_rules.situation import read_situation
from minervas_peer.trader import EXPIRY_BLOCKS, Trader
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_salt

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Pause after a failure, if the tip does not move before."""


class RulesWorker:
    """Looks at each new tip and does what the rules say."""

    def __init__(
        self, keeper: RulesKeeper, *, ledger: LedgerLink, trader: Trader, network: str, member: str, clock: Clock
    ) -> None:
        """Prepare; `run` works.

        Args:
            keeper: the rules.
            ledger: our own.
            trader: signs and submits.
            network: the consortium's id.
            member: whose peer this is.
            clock: for the times that people are shown.
        """
        self._keeper = keeper
        self._ledger = ledger
        self._trader = trader
        self._network = network
        self._member = member
        self._clock = clock
        self._wake = asyncio.Event()
        keeper.on_change(self.wake)

    def wake(self) -> None:
        """The tip moved, or a rule changed."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. Whatever fails is tried again: with the next tip, or a little later."""
        while True:
            self._wake.clear()
            pause_s = None if await self.try_step() else RETRY_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def try_step(self) -> bool:
        """Look once; returns whether nothing is left to be tried again at this tip."""
        if not self._keeper.has_work:
            return True
        try:
            now = await read_situation(self._ledger, self._member)
            if now is None:
                return False
            self._keeper.prune(now)
        except MinervasError as error:
            for side in SIDES:
                self._fail(side, error)
            return False
        return all([await self._try_side(side, now) for side in SIDES])

    async def _try_side(self, side: Side, now: Situation) -> bool:
        """Let one rule decide and act; that of the other side is not held up by a failure."""
        try:
            state = self._keeper.state
            decision = decide(side, rule_of(state, side), state.placed, now)
            await self._carry_out(side, decision, now)
        except InvalidTransaction as error:
            self._fail(side, error)
            return True  # refused for good at this tip
        except MinervasError as error:
            self._fail(side, error)
            return False
        return True

    async def _carry_out(self, side: Side, decision: Decision, now: Situation) -> None:
        order = decision.resend[-1].id if decision.resend else ""
        self._note(side, decision, now, order)
        for order_id in decision.cancel:
            await self._cancel(side, order_id, now)
        for placed in decision.resend:
            await self._send(placed, decode_transaction(placed.raw.encode()), is_first=False)
        if decision.order is not None:
            await self._place(side, decision.order, decision, now)

    async def _place(self, side: Side, order: NewOrder, decision: Decision, now: Situation) -> None:
        """Sign, store, send: in this order, so that a crash or a lost answer never makes a second order."""
        transaction = self._trader.sign(self._body(order, now))
        placed = PlacedOrder(
            id=transaction.id,
            side=side,
            valid_until_ms=order.valid_until_ms,
            energy_wh=order.energy_wh,
            lots=list(order.lots),
            raw=transaction.raw.decode(),
        )
        self._keeper.add_placed(placed)
        self._note(side, decision, now, placed.id)
        await self._send(placed, transaction, is_first=True)

    async def _send(self, placed: PlacedOrder, transaction: Transaction, *, is_first: bool) -> None:
        """Hand an order to the ledger.

        Refused at the first try, it is nowhere. Later it may be: an earlier try may have been heard without an answer.

        Raises:
            InvalidTransaction: what the ledger refused with.
            TransientFault: if it did not answer; the order is sent again.
        """
        try:
            await self._trader.submit(transaction)
        except InvalidTransaction as error:
            if error.code != Code.TX_DUPLICATE:  # else a block has it already
                self._keeper.count(placed.side, refusals=1)
                if is_first:
                    self._keeper.drop_placed(placed.id)
                else:
                    self._keeper.answered(placed.id)
                raise
        self._keeper.answered(placed.id)
        self._keeper.count(placed.side, orders=1, energy_wh=placed.energy_wh)
        fields = {"rule": placed.side, "order": placed.id, "energy_wh": placed.energy_wh}
        log.info("rule_placed_order", extra={"fields": fields})

    async def _cancel(self, side: Side, order_id: str, now: Situation) -> None:
        body = Cancel(
            network=self._network,
            sender=self._trader.sender,
            salt=new_salt(),
            expires_height=_expires_height(now),
            order=order_id,
        )
        transaction = self._trader.sign(body)
        self._keeper.cancelling(order_id, now.height)
        try:
            await self._trader.submit(transaction)
        except InvalidTransaction as error:
            self._keeper.count(side, refusals=1)
            self._fail(side, error)  # other orders are taken back all the same
        else:
            self._keeper.count(side, cancellations=1)

    def _body(self, order: NewOrder, now: Situation) -> TransactionBody:
        if order.lots:
            return Offer(
                network=self._network,
                sender=self._trader.sender,
                salt=new_salt(),
                expires_height=_expires_height(now),
                lots=list(order.lots),
                price_micro=order.price_micro,
                smallest_wh=1,
                valid_until_ms=order.valid_until_ms,
                buyer="",
            )
        return Bid(
            network=self._network,
            sender=self._trader.sender,
            salt=new_salt(),
            expires_height=_expires_height(now),
            energy_wh=order.energy_wh,
            price_micro=order.price_micro,
            valid_until_ms=order.valid_until_ms,
            repeats=False,
        )

    def _note(self, side: Side, decision: Decision, now: Situation, order: str) -> None:
        if rule_of(self._keeper.state, side) is not None:
            last = LastDecision(now.height, self._clock.now_ms(), decision.outcome, order)
            self._keeper.decisions[side] = last

    def _fail(self, side: Side, error: MinervasError) -> None:
        """Show why; in the log only what is new, or a broken disk."""
        if rule_of(self._keeper.state, side) is None and not isinstance(error, LocalFault):
            return
        known = self._keeper.errors.get(side)
        if known is None or known.code != error.code:
            log.warning("rule_failed", extra={"fields": {"rule": side, "code": error.code, "reason": str(error)}})
        self._keeper.failed(side, error, self._clock.now_ms())


def _expires_height(now: Situation) -> int:
    return now.height + min(EXPIRY_BLOCKS, now.parameters.max_expiry_blocks)
