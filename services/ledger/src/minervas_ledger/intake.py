"""What our peer brings in from others: transactions, blocks and votes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_core.node_messages import BlockResult, DeliverBlock, Submit, SubmitResult, SubmitResults
from minervas_core.node_vote_messages import SubmitVotes, VoteResults
from minervas_core.transactions import Transaction, decode_transaction
from minervas_ledger import refusals
from minervas_ledger.block_results import block_result, refused_result
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.disk import no_check
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.sync import Sync
from minervas_runtime.clock import Clock


@dataclass(slots=True, eq=False)
class _Submission:
    """Transactions that somebody handed in, and what became of them."""

    raw: list[bytes]
    origin: str
    results: list[SubmitResult] = field(default_factory=list)
    failure: TransientFault | None = None
    """Why nothing became of them, if another submission's commit, which they shared, failed."""


class Intake:
    """Takes transactions, blocks and votes; whatever is wrong with one is counted and disturbs nothing else.

    Args:
        worker: the chain.
        sync: told of blocks whose parent is unknown.
        clock: time of day.
        check_room: raises `TransientFault` ``disk_low`` if there is no room for blocks.
    """

    def __init__(
        self, worker: ChainWorker, sync: Sync, clock: Clock, check_room: Callable[[], None] = no_check
    ) -> None:
        self._worker = worker
        self._sync = sync
        self._clock = clock
        self._check_room = check_room
        self._waiting: list[_Submission] = []
        self._lock = threading.Lock()
        """Guards `_waiting`, which the chain's thread empties."""

    async def submit(self, submit: Submit) -> SubmitResults:
        """Queue transactions, each on its own. The answer "accepted" or "known" means: on disk, or in a block.

        Submissions that come while the chain is busy share one commit.

        Raises:
            TransientFault: ``database_away``: whoever asked repeats it.
        """
        mine = _Submission([bytes(item) for item in submit.transactions], submit.origin)
        with self._lock:
            self._waiting.append(mine)
        try:
            await self._worker.run(self._queue_waiting)
        except TransientFault:
            with self._lock:  # if there is no chain at present, nobody has taken it
                self._waiting = [each for each in self._waiting if each is not mine]
            raise
        if mine.failure is not None:
            raise mine.failure
        return SubmitResults(results=mine.results)

    def _queue_waiting(self, chain: NodeChain) -> None:
        """On the chain's thread: queue whatever waits at this moment, in one commit."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        try:
            _queue(chain, taken, self._clock.now_ms())
        except Exception as error:
            for each in taken:
                each.failure = TransientFault(Code.DATABASE_AWAY, "The queue was not stored", reason=str(error))
            raise

    async def block(self, delivered: DeliverBlock) -> BlockResult:
        """Take in a block that a member announced.

        Raises:
            TransientFault: ``database_away`` or ``disk_low``.
        """
        self._check_room()
        now_ms, origin = self._clock.now_ms(), delivered.origin
        raw = bytes(delivered.block)
        try:
            [outcome] = await self._worker.run(
                lambda chain: chain.take_blocks([chain.decode(raw)], now_ms, origin=origin)
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


def _queue(chain: NodeChain, submissions: Sequence[_Submission], now_ms: int) -> None:
    """Queue the transactions of all submissions and note what became of each."""
    decoded = [[_decode(raw) for raw in each.raw] for each in submissions]
    readable = [item for items in decoded for item in items if isinstance(item, Transaction)]
    verdicts = iter(chain.submit(readable, now_ms))
    for each, items in zip(submissions, decoded, strict=True):
        for item in items:
            verdict = next(verdicts) if isinstance(item, Transaction) else item
            each.results.append(_result(item, verdict, each.origin))


def _decode(raw: bytes) -> Transaction | PeerFault:
    try:
        return decode_transaction(raw)
    except PeerFault as error:
        return error


def _result(item: Transaction | PeerFault, verdict: bool | PeerFault, origin: str) -> SubmitResult:  # noqa: FBT001 - as submit returns it
    tx_id = item.id if isinstance(item, Transaction) else ""
    if isinstance(verdict, PeerFault):
        refusals.record("transaction", verdict, origin=origin)
        return SubmitResult(
            status="refused", id=tx_id, code=verdict.code.value, message=verdict.message, values=verdict.values
        )
    return SubmitResult(status="accepted" if verdict else "known", id=tx_id)
