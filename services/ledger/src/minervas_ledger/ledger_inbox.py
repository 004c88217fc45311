"""Answers for the operator's ledger: which readings of our member we have, and the batches that they came in.

The broker lets nobody but the operator's ledger write here. What it gets is what it might have read on the bus.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, InvalidFrame, MinervasError
from minervas_core.ledger_messages import GetReadingBatches, GetReadingRuns
from minervas_core.messages import Failure, Reply
from minervas_ledger import refusals
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.store.reading_batches import find_batches
from minervas_ledger.store.reading_runs import page_of_runs
from minervas_runtime.requests import Request, Requester

MAX_QUESTION_BYTES = 1_024

Question = TypeVar("Question", bound=Record)


class LedgerInbox:
    """Answers requests of other ledgers.

    Args:
        member: whose node it is.
        network: network id.
        reader: the database, on a connection that the questions of our peer do not wait for.
    """

    def __init__(self, member: str, network: str, reader: DatabaseReader) -> None:
        self._member = member
        self._network = network
        self._reader = reader

    def listen(self, requester: Requester) -> None:
        """Take requests from now on."""
        requester.serve("reading_runs", self._answering(GetReadingRuns, self._runs))
        requester.serve("reading_batches", self._answering(GetReadingBatches, self._batches))

    async def _runs(self, question: GetReadingRuns) -> Record:
        return await self._reader.ask(lambda database: page_of_runs(database, self._member, question))

    async def _batches(self, question: GetReadingBatches) -> Record:
        if question.last < question.first:
            raise InvalidFrame(Code.WRONG_SHAPE, "The last number is below the first", last=question.last)
        return await self._reader.ask(lambda database: find_batches(database, self._network, self._member, question))

    def _answering(
        self, question_type: type[Question], answer: Callable[[Question], Awaitable[Record]]
    ) -> Callable[[Request], Awaitable[bytes]]:
        async def serve(request: Request) -> bytes:
            try:
                if request.sender.role != "ledger":
                    raise InvalidFrame(
                        Code.FRAME_FOREIGN_SENDER, "Only ledgers ask ledgers", sender=str(request.sender)
                    )
                question = decode(request.payload, question_type, max_bytes=MAX_QUESTION_BYTES)
                reply = Reply(body=msgspec.Raw(encode(await answer(question))))
            except MinervasError as error:
                refusals.record(request.kind, error, origin=str(request.sender))
                reply = Reply(failure=Failure(code=error.code, message=error.message))
            return encode(reply)

        return serve
