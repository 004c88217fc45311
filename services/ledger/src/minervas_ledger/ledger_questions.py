"""Questions to the ledgers of other members, over the bus."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, InvalidEncoding, TransientFault
from minervas_core.ledger_messages import (
    MAX_LEDGER_ANSWER_BYTES,
    GetReadingBatches,
    GetReadingRuns,
    ReadingBatches,
    ReadingRuns,
)
from minervas_core.messages import Reply
from minervas_runtime.requests import Requester

TIMEOUT_S = 20.0

Answer = TypeVar("Answer", bound=Record)


class LedgerQuestions:
    """See `readings_pull.ReadingsSource`."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def runs(self, member: str, question: GetReadingRuns) -> ReadingRuns:
        """See `readings_pull.ReadingsSource.runs`."""
        return await self._ask(member, "reading_runs", question, ReadingRuns)

    async def batches(self, member: str, question: GetReadingBatches) -> ReadingBatches:
        """See `readings_pull.ReadingsSource.batches`."""
        return await self._ask(member, "reading_batches", question, ReadingBatches)

    async def _ask(self, member: str, kind: str, question: Record, answer_type: type[Answer]) -> Answer:
        message = await self._requester.request(member, "ledger", kind, encode(question), TIMEOUT_S)
        reply = decode(message.payload, Reply, max_bytes=MAX_LEDGER_ANSWER_BYTES)
        if not isinstance(reply.failure, msgspec.UnsetType):
            raise TransientFault(
                Code.PEER_UNREACHABLE, "The member's ledger cannot answer", member=member, said=reply.failure.code
            )
        if isinstance(reply.body, msgspec.UnsetType):
            raise InvalidEncoding(Code.WRONG_SHAPE, "An answer with neither a body nor a failure", member=member)
        return decode(bytes(reply.body), answer_type, max_bytes=MAX_LEDGER_ANSWER_BYTES)
