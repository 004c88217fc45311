"""Answer other members' peers out of our ledger: headers, bodies and votes, sealed; and admission's plain questions."""

from __future__ import annotations

import logging
from typing import TypeVar

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, InvalidFrame, MinervasError, PeerFault
from minervas_core.messages import (
    MAX_PLAIN_BYTES,
    Bodies,
    Failure,
    GetBodies,
    GetHeaders,
    GetTransactionStatus,
    GetVotes,
    Headers,
    Reply,
    TransactionStatuses,
    Votes,
)
from minervas_core.node_bill_messages import GetSoldReadings, SoldReadings
from minervas_core.rights import ADMISSION
from minervas_peer.key_courier import PEER
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.rate_limit import RateLimit
from minervas_peer.refusals import Refusals
from minervas_peer.sealed_channel import SealedChannel
from minervas_runtime.bus import Message
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.requests import Request, Requester

log = logging.getLogger(__name__)

REQUEST_BURST = 60
REQUEST_REFILL_MS = 50
"""Requests answered to one member: 20 a second for ever."""

VOLUME_UNIT_BYTES = 4_096
VOLUME_BURST = 16_384
VOLUME_REFILL_MS = 1
"""Answers to one member: 64 MiB at once, then 4 MiB a second. Syncing is bounded by the asker, not by this."""

KEY_TIMEOUT_S = 3.0
"""How long a request under an unknown key waits for that key."""

Answer = TypeVar("Answer", bound=Record)


class SyncServer:
    """Serves the kinds ``get_headers``, ``get_bodies``, ``get_votes``, ``sold_readings`` and ``tx_status``."""

    def __init__(self, requester: Requester, channel: SealedChannel, ledger: LedgerLink, refusals: Refusals) -> None:
        self._channel = channel
        self._ledger = ledger
        self._refusals = refusals
        self._requests = RateLimit(burst=REQUEST_BURST, refill_ms=REQUEST_REFILL_MS)
        self._volume = RateLimit(burst=VOLUME_BURST, refill_ms=VOLUME_REFILL_MS)
        requester.serve("get_headers", self._serve_headers)
        requester.serve("get_bodies", self._serve_bodies)
        requester.serve("get_votes", self._serve_votes)
        requester.serve("tx_status", self._serve_status)
        requester.serve("sold_readings", self._serve_readings)

    async def _serve_headers(self, request: Request) -> bytes | None:
        return await self._serve(request, GetHeaders, Headers)

    async def _serve_bodies(self, request: Request) -> bytes | None:
        return await self._serve(request, GetBodies, Bodies)

    async def _serve_votes(self, request: Request) -> bytes | None:
        return await self._serve(request, GetVotes, Votes)

    async def _serve_readings(self, request: Request) -> bytes | None:
        return await self._serve(request, GetSoldReadings, SoldReadings)

    async def _serve(self, request: Request, ask_type: type[Record], answer_type: type[Answer]) -> bytes | None:
        """Answer a sealed request. Who can not prove to be a member gets no answer at all."""
        member = request.sender.member
        try:
            self._admit(request)
            message = Message(request.topic, request.payload, correlation=request.correlation)
            body = await self._channel.open_soon(message, member, ask_type, KEY_TIMEOUT_S)
        except MinervasError as error:
            self._refusals.note(request.kind, error, member=member)
            return None
        reply = await self._reply(request, body, answer_type)
        return self._channel.seal(reply, request.reply_topic, request.correlation)

    def _admit(self, request: Request) -> None:
        if request.sender.service != PEER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only peers sync", sender=str(request.sender))
        if not self._requests.allow(request.sender.member, monotonic_ms()):
            raise PeerFault(Code.RATE_LIMITED, "Too many requests", member=request.sender.member)

    async def _reply(self, request: Request, body: Record, answer_type: type[Answer]) -> Reply:
        try:
            if isinstance(body, GetSoldReadings):  # who asks, the frame says, not the question
                body = msgspec.structs.replace(body, asker=request.sender.member)
            answer = encode(await self._ledger.ask(request.kind, body, answer_type))
            units = -(-len(answer) // VOLUME_UNIT_BYTES)
            if not self._volume.allow(request.sender.member, monotonic_ms(), cost=units):
                raise PeerFault(Code.RATE_LIMITED, "Too much was asked for", member=request.sender.member)
        except MinervasError as error:
            self._refusals.note(request.kind, error, member=request.sender.member)
            return Reply(failure=Failure(code=error.code, message="The ledger of this member did not answer that"))
        return Reply(body=msgspec.Raw(answer))

    async def _serve_status(self, request: Request) -> bytes | None:
        """Tell admission, and nobody else, where its transactions stand."""
        try:
            if request.sender != ADMISSION:
                raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only admission asks this", sender=str(request.sender))
            body = decode(request.payload, GetTransactionStatus, max_bytes=MAX_PLAIN_BYTES)
        except MinervasError as error:
            self._refusals.note(request.kind, error, member=request.sender.member)
            return None
        return encode(await self._reply(request, body, TransactionStatuses))
