"""Catching up with the other members: headers first, then bodies, checked as they come (design section 5).

One member is asked at a time, beginning at our own tip: its headers (at most 2,000 beyond the verified bodies, a bound
that the chain itself keeps), then the bodies of its branch in batches. While one batch is connected and committed, the
next is fetched, decoded, and its signatures are verified. A sync can end at any moment and goes on from there, with the
same member or another. Whoever lies or stalls is dropped for a while, and the headers that it left without bodies are
forgotten: the next one starts afresh, and nobody can hold us up with a chain that it does not deliver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from minervas_core.errors import Code, MinervasError, PeerFault, TransientFault
from minervas_core.messages import MAX_BODIES_PER_REQUEST, MAX_HEADERS_PER_REPLY, MAX_LOCATOR, ChainTip
from minervas_ledger.metrics import SYNC_BLOCKS, SYNC_DROPS, SYNC_PEERS
from minervas_ledger.prepared_bodies import PreparedBodies
from minervas_ledger.sync_peers import Standing, SyncPeer, SyncPeers, standing_of
from minervas_runtime.node_link import RemoteError

log = logging.getLogger(__name__)

PROGRESS_EVERY_MS = 5_000
OWN_TROUBLE = frozenset({Code.DATABASE_AWAY, Code.BUS_OFFLINE, Code.NOT_READY, Code.DISK_LOW})
"""Codes that say nothing about the member that was asked."""
OWN_TROUBLE_PAUSE_MS = 1_000
MAX_FRUITLESS_REPLIES = 20
"""Replies in a row with nothing but known headers: more than a chain can hold of them."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """What sync needs to know of the chain."""

    height: int
    target_height: int
    """Height of the best header."""
    locator: tuple[str, ...]
    missing: tuple[str, ...]
    """The next bodies to ask for, oldest first."""
    block_keys: Mapping[str, str] = field(default_factory=dict)
    """Block key of every active member."""


@dataclass(frozen=True, slots=True)
class HeadersTaken:
    """What became of a reply with headers."""

    added: int
    """How many were new and remembered."""
    head: str
    """Hash of the last one that is known now; empty if none is."""
    is_full: bool
    """Whether the chain takes no more of this branch before it has bodies."""


class SyncChain(Protocol):
    """The chain as sync sees it."""

    @property
    def standing(self) -> Standing:
        """How good the committed chain is."""
        ...

    async def has_block(self, block_hash: str) -> bool:
        """Whether a valid block is here, with its body, on any branch."""
        ...

    async def sync_state(self, max_missing: int, branch: str = "") -> SyncState:
        """Where the chain stands.

        Args:
            max_missing: how many missing bodies to name at most.
            branch: head of the branch whose bodies are wanted; the best header chain if empty or unknown.
        """
        ...

    async def take_headers(self, member: str, headers: Sequence[bytes]) -> HeadersTaken:
        """Check headers and remember them.

        Raises:
            PeerFault: if one breaks a rule.
        """
        ...

    async def prepare_bodies(
        self, member: str, expected: Sequence[str], bodies: Sequence[bytes], block_keys: Mapping[str, str]
    ) -> PreparedBodies:
        """Do all that can be done with blocks before their predecessors are there; see `prepared_bodies`.

        Raises:
            PeerFault: if they are malformed, or not the first of those expected.
        """
        ...

    async def take_bodies(self, member: str, bodies: PreparedBodies) -> int:
        """Check and commit blocks; returns how many were taken.

        Raises:
            PeerFault: if one breaks a rule.
        """
        ...

    async def forget_headers(self) -> None:
        """Forget headers whose bodies did not come."""
        ...


class Fetcher(Protocol):
    """Asks one member, through our own peer."""

    async def headers(self, member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        """Headers that follow the locator on that member's best chain.

        Raises:
            MinervasError: if it does not answer.
        """
        ...

    async def bodies(self, member: str, hashes: Sequence[str]) -> list[bytes]:
        """Blocks by hash, as many as fit.

        Raises:
            MinervasError: if it does not answer.
        """
        ...


class Sync:
    """The sync driver; `run` is its only task, everything else just wakes it."""

    def __init__(self, chain: SyncChain, fetcher: Fetcher, monotonic_ms: Callable[[], int]) -> None:
        self._chain = chain
        self._fetcher = fetcher
        self._monotonic_ms = monotonic_ms
        self._peers = SyncPeers()
        self._wake = asyncio.Event()
        self._logged_at_ms = 0

    def heard_tip(self, member: str, tip: ChainTip) -> None:
        """A member claims this tip."""
        self._peers.claims(member, tip)
        self._wake.set()

    @property
    def is_behind(self) -> bool:
        """Whether a member that may be asked now claims a better chain than ours."""
        return self._peers.best(self._chain.standing, self._monotonic_ms()) is not None

    def heard_orphan(self, member: str) -> None:
        """A member announced a block whose parent we do not know."""
        self._peers.sent_orphan(member)
        self._wake.set()

    async def run(self) -> None:
        """Keep up with the others until cancelled."""
        while True:
            self._wake.clear()
            self._show_peers()
            peer = self._peers.best(self._chain.standing, self._monotonic_ms())
            if peer is None:
                await self._wait()
            else:
                await self._try(peer)

    def _show_peers(self) -> None:
        for state, count in self._peers.by_state(self._chain.standing, self._monotonic_ms()).items():
            SYNC_PEERS.labels(state).set(count)

    async def _wait(self) -> None:
        """Sleep until something is heard, or somebody who was dropped may be asked again."""
        free_ms = self._peers.next_free_ms(self._chain.standing)
        timeout_s = None if free_ms is None else max(free_ms - self._monotonic_ms(), 1) / 1_000
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _try(self, peer: SyncPeer) -> None:
        """Sync from one member and judge how it behaved."""
        try:
            await self._check_claim(peer, await self._sync_with(peer))
            self._peers.succeeded(peer)
        except MinervasError as error:
            if error.code in OWN_TROUBLE and not isinstance(error, RemoteError):
                log.debug("sync_interrupted", extra={"fields": {"from_member": peer.member, "reason": str(error)}})
                await asyncio.sleep(OWN_TROUBLE_PAUSE_MS / 1_000)
                return
            pause_ms = self._peers.drop(peer, self._monotonic_ms(), lied=isinstance(error, PeerFault))
            SYNC_DROPS.labels(error.code).inc()
            fields = {"from_member": peer.member, "code": error.code, "reason": str(error), "pause_ms": pause_ms}
            log.warning("sync_peer_dropped", extra={"fields": fields})
            await self._forget_headers()

    async def _forget_headers(self) -> None:
        try:
            await self._chain.forget_headers()
        except TransientFault as error:  # the database went away: the chain comes back without those headers
            log.info("sync_interrupted", extra={"fields": {"reason": str(error)}})

    async def _check_claim(self, peer: SyncPeer, claim: ChainTip | None) -> None:
        """Refuse a member that gave all it has, which is less than it claimed before.

        Whether the claimed tip leads is for the fork choice to say: that we have it, is all that can be asked for.

        Raises:
            TransientFault: ``peer_unreachable``.
        """
        if claim is None:
            return
        if await self._chain.has_block(claim.hash):
            peer.shown = claim.hash
            return
        claimed, own = standing_of(claim), self._chain.standing
        if claimed.justified_height <= own.justified_height and claimed.work <= own.work:
            return
        if peer.claim == claim:
            peer.claim = None
        raise TransientFault(
            Code.PEER_UNREACHABLE,
            "The member does not show the chain that it claims",
            member=peer.member,
            claimed_work=f"{claimed.work:x}",
            own_work=f"{own.work:x}",
            claimed_justified_height=claimed.justified_height,
        )

    async def _sync_with(self, peer: SyncPeer) -> ChainTip | None:
        """Take everything that a member's best chain has beyond ours.

        Returns:
            The tip that it claimed when it was asked the last time; it may claim another by now.

        Raises:
            MinervasError: if it lies, stalls, or does not have what it promises.
        """
        head = ""
        while True:
            claim = peer.claim
            headers = await self._take_headers(peer.member, head)
            head = headers.head or head
            # Its branch may lead although another has more work, or pass our work only beyond the headers that fit.
            taken = await self._take_bodies(peer.member, head)
            if not headers.added and not taken:
                return claim

    async def _take_headers(self, member: str, head: str) -> HeadersTaken:
        """Ask for headers above `head` until there are no more, or the chain takes no more ahead of the bodies."""
        total, is_full, fruitless = 0, False, 0
        while True:
            state = await self._chain.sync_state(1)
            locator = ([head] if head else []) + list(state.locator)
            headers = await self._fetcher.headers(member, locator[:MAX_LOCATOR], MAX_HEADERS_PER_REPLY)
            if len(headers) > MAX_HEADERS_PER_REPLY:
                raise PeerFault(Code.TOO_LARGE, "More headers than asked for", member=member, headers=len(headers))
            if headers:
                taken = await self._chain.take_headers(member, headers)
                total, head, is_full = total + taken.added, taken.head or head, taken.is_full
                fruitless = 0 if taken.added else fruitless + 1
            if fruitless > MAX_FRUITLESS_REPLIES:
                raise TransientFault(Code.PEER_UNREACHABLE, "The member repeats headers", member=member)
            if is_full or len(headers) < MAX_HEADERS_PER_REPLY:
                return HeadersTaken(total, head, is_full)

    async def _take_bodies(self, member: str, branch: str) -> int:
        """Ask for the missing bodies until none is missing."""
        total, ahead = 0, None
        try:
            while True:
                state = await self._chain.sync_state(2 * MAX_BODIES_PER_REQUEST, branch)
                if not state.missing:
                    return total
                bodies = await (ahead or self._fetch_bodies(member, state.missing, state.block_keys))
                rest = bodies.without(state.missing)
                ahead = asyncio.create_task(self._fetch_bodies(member, rest, state.block_keys)) if rest else None
                taken = await self._chain.take_bodies(member, bodies)
                if not taken:
                    raise TransientFault(Code.PEER_UNREACHABLE, "The blocks cannot be taken now", member=member)
                SYNC_BLOCKS.inc(taken)
                total += taken
                self._log_progress(member, state.height, state.target_height)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _fetch_bodies(self, member: str, missing: Sequence[str], block_keys: Mapping[str, str]) -> PreparedBodies:
        """Ask for the first of the missing bodies and prepare them."""
        wanted = missing[:MAX_BODIES_PER_REQUEST]
        bodies = await self._fetcher.bodies(member, wanted)
        if not bodies:
            raise TransientFault(Code.PEER_UNREACHABLE, "The member has headers but not their blocks", member=member)
        return await self._chain.prepare_bodies(member, wanted, bodies, block_keys)

    def _log_progress(self, member: str, height: int, target_height: int) -> None:
        now_ms = self._monotonic_ms()
        if now_ms - self._logged_at_ms >= PROGRESS_EVERY_MS:
            self._logged_at_ms = now_ms
            fields = {"from_member": member, "height": height, "target_height": target_height}
            log.info("sync_progress", extra={"fields": fields})
