"""Catching up with another node: headers first, then bodies, as a state machine without waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minervas_core.blocks import Block, Header, decode_block
from minervas_core.errors import InvalidBlock
from tests.sim.messages import BodiesReply, BodiesRequest, HeadersReply, HeadersRequest, SyncMessage, TipMessage
from tests.sim.surroundings import INTERVAL_MS

if TYPE_CHECKING:
    from tests.sim.node import Node

MAX_HEADERS = 16
MAX_BODIES = 6
STALLED_MS = 5 * INTERVAL_MS


class Sync:
    """One node's sync; it asks one other node at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._source = ""
        """Whom we are asking, or empty."""
        self._asked_ms = 0
        self._claims: dict[str, tuple[int, ...]] = {}
        self._head = ""
        """Last header that the source gave."""

    def receive(self, source: str, message: SyncMessage) -> None:
        """Take a message of sync."""
        match message:
            case TipMessage(claim):
                self._heard_claim(source, claim)
            case HeadersRequest(locator):
                self._serve_headers(source, locator)
            case HeadersReply(headers):
                self._take_headers(source, headers)
            case BodiesRequest(hashes):
                self._serve_bodies(source, hashes)
            case BodiesReply(blocks):
                self._take_bodies(source, blocks)

    @property
    def is_behind(self) -> bool:
        """Whether somebody claims a better chain."""
        return any(claim > self._node.claim() for claim in self._claims.values())

    # asking

    def _heard_claim(self, source: str, claim: tuple[int, ...]) -> None:
        """Another node says how good its chain is."""
        self._claims[source] = claim
        if claim > self._node.claim():
            self.begin(source)

    def begin(self, source: str) -> None:
        """Ask a node for what it has beyond us, unless we are asking already."""
        if not self._source:
            self._source, self._head = source, ""
            self._ask_headers()

    def look_after(self) -> None:
        """Give up a source that does not answer, and what it announced without delivering."""
        if self._source and self._node.world.timeline.now_ms - self._asked_ms > STALLED_MS:
            self._node.world.watch.counts["sync_stalled"] += 1
            self._end()

    def _take_headers(self, source: str, headers: Sequence[Header]) -> None:
        """Headers came, perhaps late or twice."""
        if source != self._source:
            return
        try:
            self._node.chain.receive_headers(headers, self._node.now_ms)
        except InvalidBlock as error:
            self._node.world.watch.counts[f"sync_{error.code}"] += 1
            self._end()
            return
        known = [each for each in (header.hash() for header in headers) if self._node.chain.tree.get(each)]
        self._head = known[-1] if known else self._head
        if len(known) == MAX_HEADERS:
            self._ask_headers()
        else:
            self._ask_bodies()

    def _take_bodies(self, source: str, blocks: Sequence[Block]) -> None:
        """Bodies came, perhaps late or twice."""
        if source != self._source:
            return
        taken = 0
        for block in blocks:
            taken += self._node.take(block).status in ("connected", "side_branch")
            if not self._node.up:
                return
        if taken:
            self._ask_bodies()
        else:
            self._end()

    def _ask_headers(self) -> None:
        locator = ([self._head] if self._head else []) + self._node.chain.tree.locator()
        self._asked_ms = self._node.world.timeline.now_ms
        self._node.world.bus.send(self._node.address, self._source, HeadersRequest(tuple(locator)))

    def _ask_bodies(self) -> None:
        missing = self._missing()
        if not missing:
            self._source = ""
            return
        self._asked_ms = self._node.world.timeline.now_ms
        self._node.world.bus.send(self._node.address, self._source, BodiesRequest(tuple(missing)))

    def _missing(self) -> list[str]:
        """What to fetch along the chain that the source gave, whether or not it has more work than ours."""
        tree = self._node.chain.tree
        head = tree.get(self._head)
        if head is None:
            return self._node.chain.missing_bodies(MAX_BODIES)
        return [node.hash for node in tree.path(tree.fork_point(head), head) if node.state == "header"][:MAX_BODIES]

    def _end(self) -> None:
        self._source = ""
        self._node.chain.forget_bodiless()

    # serving

    def _serve_headers(self, source: str, locator: Sequence[str]) -> None:
        """Give the headers of our best chain that follow."""
        found = self._node.chain.tree.after(locator, MAX_HEADERS)
        reply = HeadersReply(tuple(node.header for node in found))
        self._node.world.bus.send(self._node.address, source, reply)

    def _serve_bodies(self, source: str, hashes: Sequence[str]) -> None:
        """Give the blocks that we have."""
        known = [self._node.disk.blocks[each].raw for each in hashes if each in self._node.disk.blocks]
        reply = BodiesReply(tuple(decode_block(raw) for raw in known))
        self._node.world.bus.send(self._node.address, source, reply)
