"""Metering statements of our own gateways: queued here, and handed to our peer for the others."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from minervas_core.errors import Code, InvalidTransaction, PeerFault
from minervas_core.metering import Generation
from minervas_core.node_market_messages import Relay, Statement
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import Transaction, decode_transaction
from minervas_ledger import refusals
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.templates import Sender
from minervas_runtime.clock import Clock

KIND = "statement"


@dataclass(frozen=True, slots=True)
class _Queued:
    is_new: bool
    waits: bool
    """Whether it still waits for a block."""


class Statements:
    """Takes statements. Repeating one is harmless, and spreads it again as long as no block carries it.

    Args:
        member: whose node it is: its gateways state nothing for others.
        worker: the chain.
        link: to the peer.
        clock: time of day.
    """

    def __init__(self, *, member: str, worker: ChainWorker, link: Sender, clock: Clock) -> None:
        self._member = member
        self._worker = worker
        self._link = link
        self._clock = clock

    async def take(self, statement: Statement) -> SubmitResult:
        """Check, queue and spread a statement.

        Raises:
            TransientFault: ``database_away``; ``bus_offline`` if it was queued, but our peer was not told: repeat it.
        """
        raw, tx_id, now_ms = bytes(statement.transaction), "", self._clock.now_ms()
        try:
            transaction = decode_transaction(raw)
            tx_id = transaction.id
            self._check_own(transaction)
            queued = await self._worker.run(lambda chain: _queue(chain, transaction, now_ms))
        except PeerFault as error:
            refusals.record(KIND, error, origin=self._member)
            return SubmitResult(
                status="refused", id=tx_id, code=error.code.value, message=error.message, values=error.values
            )
        if queued.waits:
            await self._link.send("peer", "relay", Relay(transactions=[msgspec.Raw(raw)]))
        return SubmitResult(status="accepted" if queued.is_new else "known", id=tx_id)

    def _check_own(self, transaction: Transaction) -> None:
        body = transaction.body
        if not isinstance(body, Generation):
            raise InvalidTransaction(Code.UNKNOWN_TYPE, "Not a metering statement", kind=transaction.kind)
        if body.member != self._member:
            raise InvalidTransaction(Code.TX_WRONG_SENDER, "A statement for another member's meter", member=body.member)


def _queue(chain: NodeChain, transaction: Transaction, now_ms: int) -> _Queued:
    [result] = chain.submit([transaction], now_ms)
    if isinstance(result, InvalidTransaction):
        raise result
    return _Queued(is_new=result, waits=chain.queued(transaction.id) is not None)
