"""Asking other members for headers and blocks, through our own peer."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.messages import Bodies, Headers
from minervas_core.node_messages import FetchBodies, FetchHeaders
from minervas_runtime.node_link import NodeLink

HEADERS_TIMEOUT_S = 10.0
BODIES_TIMEOUT_S = 20.0
"""A reply has up to 1.5 MB, and goes over two hops of the bus."""


class PeerFetcher:
    """See `sync.Fetcher`.

    Args:
        link: to our peer.
        headers_timeout_s: how long to wait for headers.
        bodies_timeout_s: how long to wait for blocks.
    """

    def __init__(
        self,
        link: NodeLink,
        *,
        headers_timeout_s: float = HEADERS_TIMEOUT_S,
        bodies_timeout_s: float = BODIES_TIMEOUT_S,
    ) -> None:
        self._link = link
        self._headers_timeout_s = headers_timeout_s
        self._bodies_timeout_s = bodies_timeout_s

    async def headers(self, member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        """See `sync.Fetcher.headers`."""
        body = FetchHeaders(member=member, locator=list(locator), limit=limit)
        reply = await self._link.request("peer", "fetch_headers", body, Headers, self._headers_timeout_s)
        return [bytes(header) for header in reply.headers]

    async def bodies(self, member: str, hashes: Sequence[str]) -> list[bytes]:
        """See `sync.Fetcher.bodies`."""
        body = FetchBodies(member=member, hashes=list(hashes))
        reply = await self._link.request("peer", "fetch_bodies", body, Bodies, self._bodies_timeout_s)
        return [bytes(block) for block in reply.blocks]
