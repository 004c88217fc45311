"""Ask other members' peers for headers, bodies and votes, on behalf of our ledger; sealed both ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from minervas_core.encoding import Record, decode
from minervas_core.errors import Code, InvalidFrame, TransientFault
from minervas_core.messages import MAX_CONTENT_BYTES, Bodies, Failure, GetBodies, GetHeaders, Headers, Reply, Votes
from minervas_core.node_bill_messages import GetSoldReadings, SoldReadings
from minervas_core.node_messages import FetchBodies, FetchHeaders
from minervas_core.node_vote_messages import FetchVotes
from minervas_peer.key_courier import PEER
from minervas_peer.ledger_link import LEDGER
from minervas_peer.sealed_channel import SealedChannel
from minervas_runtime.node_link import NodeLink
from minervas_runtime.requests import Requester

HEADERS_TIMEOUT_S = 8.0
BODIES_TIMEOUT_S = 15.0
"""A reply with bodies has up to 1.5 MB."""
KEY_TIMEOUT_S = 3.0
"""How long an answer under an unknown key waits for that key."""

Answer = TypeVar("Answer", bound=Record)


class RemoteSync:
    """Carries ``fetch_headers``, ``fetch_bodies`` and ``fetch_votes`` of our ledger to the member that they name."""

    def __init__(
        self,
        link: NodeLink,
        requester: Requester,
        channel: SealedChannel,
        *,
        me: str,
        is_offline: Callable[[str], bool],
    ) -> None:
        self._requester = requester
        self._channel = channel
        self._me = me
        self._is_offline = is_offline
        link.on("fetch_headers", FetchHeaders, self.fetch_headers)
        link.on("fetch_bodies", FetchBodies, self.fetch_bodies)
        link.on("fetch_votes", FetchVotes, self.fetch_votes)

    async def fetch_headers(self, body: FetchHeaders, service: str) -> Headers:
        """Headers that follow the locator on a member's best chain.

        Raises:
            TransientFault: ``peer_unreachable``, ``timeout``, ``frame_unknown_key`` or what the member answered.
            PeerFault: if its answer must be refused.
        """
        self._check(service, body.member)
        ask = GetHeaders(locator=body.locator, limit=body.limit)
        return await self._ask(body.member, "get_headers", ask, Headers, HEADERS_TIMEOUT_S)

    async def fetch_bodies(self, body: FetchBodies, service: str) -> Bodies:
        """Blocks of a member by hash.

        Raises:
            TransientFault, PeerFault: as `fetch_headers`.
        """
        self._check(service, body.member)
        ask = GetBodies(hashes=body.hashes)
        return await self._ask(body.member, "get_bodies", ask, Bodies, BODIES_TIMEOUT_S)

    async def fetch_votes(self, body: FetchVotes, service: str) -> Votes:
        """Votes that a member's ledger has seen.

        Raises:
            TransientFault, PeerFault: as `fetch_headers`.
        """
        self._check(service, body.member)
        return await self._ask(body.member, "get_votes", body.question, Votes, HEADERS_TIMEOUT_S)

    async def sold_readings(self, member: str, question: GetSoldReadings) -> SoldReadings:
        """Readings behind energy that a member metered and we have or had.

        Raises:
            TransientFault, PeerFault: as `fetch_headers`.
        """
        self._check_there(member)
        return await self._ask(member, "sold_readings", question, SoldReadings, BODIES_TIMEOUT_S)

    def _check(self, service: str, member: str) -> None:
        if service != LEDGER:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger syncs", service=service)
        self._check_there(member)

    def _check_there(self, member: str) -> None:
        if member == self._me or self._is_offline(member):
            raise TransientFault(Code.PEER_UNREACHABLE, "This member's peer is not there", member=member)

    async def _ask(self, member: str, kind: str, body: Record, answer_type: type[Answer], timeout_s: float) -> Answer:
        message = await self._requester.request(member, PEER, kind, partial(self._channel.seal, body), timeout_s)
        reply = await self._channel.open_soon(message, member, Reply, KEY_TIMEOUT_S)
        if isinstance(reply.failure, Failure):
            raise _refused(member, reply.failure)
        raw = b"" if isinstance(reply.body, msgspec.UnsetType) else bytes(reply.body)
        return decode(raw, answer_type, max_bytes=MAX_CONTENT_BYTES)


def _refused(member: str, failure: Failure) -> TransientFault:
    """The other member's failure as our exception: the text is its own and must not be trusted to be short."""
    code = Code.RATE_LIMITED if failure.code == Code.RATE_LIMITED else Code.PEER_UNREACHABLE
    return TransientFault(code, "The member did not answer our request", member=member, their_code=failure.code[:64])
