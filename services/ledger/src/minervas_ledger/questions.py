"""Answers to questions about the chain: committed blocks from the database, the rest from the last snapshot."""

from __future__ import annotations

from typing import Literal

import msgspec

from minervas_core.errors import Code, PeerFault
from minervas_core.messages import (
    MAX_REPLY_BODIES_BYTES,
    Bodies,
    GetBodies,
    GetHeaders,
    GetTransactionStatus,
    GetVotes,
    Headers,
    TransactionStatus,
    TransactionStatuses,
    Votes,
)
from minervas_core.node_messages import (
    AbandonedSearches,
    BlockDetail,
    BlockSummaries,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetRoster,
    GetSideBranches,
    GetTransaction,
    Roster,
    SideBranches,
    TransactionDetail,
)
from minervas_core.transactions import Transaction
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.store import chain_reads
from minervas_ledger.store.abandoned_searches import newest_searches
from minervas_ledger.store.chain_reads import TransactionPlace
from minervas_ledger.store.reader import DatabaseReader


class Questions:
    """One method for each kind of question. All raise `TransientFault` ``database_away`` when it is.

    Args:
        worker: the chain.
        reader: the database.
    """

    def __init__(self, worker: ChainWorker, reader: DatabaseReader) -> None:
        self._worker = worker
        self._reader = reader

    async def headers(self, question: GetHeaders) -> Headers:
        """Headers that follow a locator."""
        found = await self._reader.ask(
            lambda database: chain_reads.headers_after(database, question.locator, question.limit)
        )
        return Headers(headers=[msgspec.Raw(header) for header in found])

    async def bodies(self, question: GetBodies) -> Bodies:
        """Blocks by hash."""
        found = await self._reader.ask(
            lambda database: chain_reads.bodies(database, question.hashes, MAX_REPLY_BODIES_BYTES)
        )
        return Bodies(blocks=[msgspec.Raw(block) for block in found])

    async def blocks(self, question: GetBlocks) -> BlockSummaries:
        """A page of the best chain, newest first."""
        found = await self._reader.ask(
            lambda database: chain_reads.newest_blocks(database, question.below_height, question.limit)
        )
        return BlockSummaries(blocks=found)

    async def block(self, question: GetBlock) -> BlockDetail:
        """One block.

        Raises:
            PeerFault: ``not_found``.
        """
        found = await self._reader.ask(lambda database: chain_reads.block_detail(database, question.block))
        if found is None:
            raise PeerFault(Code.NOT_FOUND, "No such block", block=question.block)
        return BlockDetail(
            block=msgspec.Raw(found.raw),
            hash=found.hash,
            best_chain=found.best_chain,
            depth=found.depth,
            final=found.final,
            work=f"{found.work:x}",
        )

    async def transaction(self, question: GetTransaction) -> TransactionDetail:
        """One transaction, in the queue or on the best chain.

        Raises:
            PeerFault: ``not_found``.
        """
        queued, places = await self._find([question.id])
        if (place := places.get(question.id)) is not None:
            return TransactionDetail(
                transaction=msgspec.Raw(place.raw),
                id=question.id,
                state="final" if place.final else "in_block",
                height=place.height,
                depth=place.depth,
                block=place.block,
            )
        if question.id in queued:
            raw = msgspec.Raw(queued[question.id].raw)
            return TransactionDetail(transaction=raw, id=question.id, state="queued")
        raise PeerFault(Code.NOT_FOUND, "No such transaction", id=question.id)

    async def transaction_statuses(self, question: GetTransactionStatus) -> TransactionStatuses:
        """Where transactions stand, in the order asked."""
        queued, places = await self._find(question.ids)
        statuses: list[TransactionStatus] = []
        for tx_id in question.ids:
            if (place := places.get(tx_id)) is not None:
                state: Literal["in_block", "final"] = "final" if place.final else "in_block"
                statuses.append(TransactionStatus(id=tx_id, state=state, height=place.height, depth=place.depth))
            else:
                statuses.append(TransactionStatus(id=tx_id, state="queued" if tx_id in queued else "unknown"))
        view = self._worker.view
        return TransactionStatuses(statuses=statuses, tip_height=view.tip.height, final_height=view.final.height)

    async def votes(self, question: GetVotes) -> Votes:
        """Votes that we have seen, newest targets first."""
        found = await self._worker.run(lambda chain: chain.votes.find(question))
        return Votes(votes=[msgspec.Raw(vote) for vote in found])

    async def roster(self, _: GetRoster) -> Roster:
        """All members on the tip."""
        return await self._worker.run(lambda chain: chain.roster())

    async def abandoned(self, question: GetAbandoned) -> AbandonedSearches:
        """The newest abandoned searches of this node."""
        found = await self._reader.ask(lambda database: newest_searches(database, question.limit))
        return AbandonedSearches(searches=found)

    async def side_branches(self, question: GetSideBranches) -> SideBranches:
        """Branches that this node knows and does not follow."""
        return await self._worker.run(lambda chain: chain.side_branches(question.limit))

    async def _find(self, ids: list[str]) -> tuple[dict[str, Transaction], dict[str, TransactionPlace]]:
        """The queue is asked first: a transaction that a block takes meanwhile is then found in the block."""
        queued = await self._worker.run(
            lambda chain: {tx_id: queued for tx_id in ids if (queued := chain.queued(tx_id)) is not None}
        )
        return queued, await self._reader.ask(lambda database: chain_reads.transaction_places(database, ids))
