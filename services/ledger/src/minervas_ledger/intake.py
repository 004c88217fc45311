"""What our peer brings in from others: transactions, blocks and votes."""

from __future__ import annotations

from minervas_core.blocks import decode_block
from minervas_core.errors import PeerFault
from minervas_core.node_messages import BlockResult, DeliverBlock, Submit, SubmitResult, SubmitResults
from minervas_core.node_vote_messages import SubmitVotes, VoteResults
from minervas_core.transactions import decode_transaction
from minervas_ledger import refusals
from minervas_ledger.block_results import block_result, refused_result
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.sync import Sync
from minervas_runtime.clock import Clock


class Intake:
    """Takes transactions, blocks and votes; whatever is wrong with one is counted and disturbs nothing else.

    Args:
        worker: the chain.
        sync: told of blocks whose parent is unknown.
        clock: time of day.
    """

    def __init__(self, worker: ChainWorker, sync: Sync, clock: Clock) -> None:
        self._worker = worker
        self._sync = sync
        self._clock = clock

    async def submit(self, submit: Submit) -> SubmitResults:
        """Queue transactions, each on its own.

        Raises:
            TransientFault: ``database_away``.
        """
        raw, now_ms, origin = [bytes(item) for item in submit.transactions], self._clock.now_ms(), submit.origin
        results = await self._worker.run(lambda chain: [_queue(chain, item, now_ms, origin) for item in raw])
        return SubmitResults(results=results)

    async def block(self, delivered: DeliverBlock) -> BlockResult:
        """Take in a block that a member announced.

        Raises:
            TransientFault: ``database_away``.
        """
        now_ms, origin = self._clock.now_ms(), delivered.origin
        raw = bytes(delivered.block)
        try:
            [outcome] = await self._worker.run(
                lambda chain: chain.take_blocks([decode_block(raw)], now_ms, origin=origin)
            )
        except PeerFault as error:
            refusals.record("block", error, origin=origin)
            return refused_result(error)
        if outcome.status == "orphan":
            self._sync.heard_orphan(origin)
        return block_result(outcome)

    async def votes(self, submit: SubmitVotes) -> VoteResults:
        """Take in votes that a member sent, each on its own.

        Raises:
            TransientFault: ``database_away``.
        """
        raw, now_ms, origin = [bytes(item) for item in submit.votes], self._clock.now_ms(), submit.origin
        return await self._worker.run(lambda chain: chain.votes.take(raw, now_ms, origin=origin))


def _queue(chain: NodeChain, raw: bytes, now_ms: int, origin: str) -> SubmitResult:
    tx_id = ""
    try:
        transaction = decode_transaction(raw)
        tx_id = transaction.id
        is_new = chain.submit(transaction, now_ms)
    except PeerFault as error:
        refusals.record("transaction", error, origin=origin)
        return SubmitResult(status="refused", id=tx_id, code=error.code.value, message=error.message)
    return SubmitResult(status="accepted" if is_new else "known", id=tx_id)
