"""Asking other members for headers, blocks and votes, through our own peer."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.messages import Bodies, GetVotes, Headers, Votes
from minervas_core.node_messages import FetchBodies, FetchHeaders
from minervas_core.node_vote_messages import FetchVotes
from minervas_runtime.node_link import NodeLink

HEADERS_TIMEOUT_S = 12.0
BODIES_TIMEOUT_S = 20.0
"""A reply has up to 1.5 MB, and goes over two hops of the bus. Both are longer than our peer waits for the member."""


class PeerFetcher:
    """See `sync.Fetcher` and `voting.VoteFetcher`."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link

    async def headers(self, member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        """See `sync.Fetcher.headers`."""
        body = FetchHeaders(member=member, locator=list(locator), limit=limit)
        reply = await self._link.request("peer", "fetch_headers", body, Headers, HEADERS_TIMEOUT_S)
        return [bytes(header) for header in reply.headers]

    async def votes(self, member: str, question: GetVotes) -> Votes:
        """See `voting.VoteFetcher.votes`."""
        body = FetchVotes(member=member, question=question)
        return await self._link.request("peer", "fetch_votes", body, Votes, HEADERS_TIMEOUT_S)

    async def bodies(self, member: str, hashes: Sequence[str]) -> list[bytes]:
        """See `sync.Fetcher.bodies`."""
        body = FetchBodies(member=member, hashes=list(hashes))
        reply = await self._link.request("peer", "fetch_bodies", body, Bodies, BODIES_TIMEOUT_S)
        return [bytes(block) for block in reply.blocks]
