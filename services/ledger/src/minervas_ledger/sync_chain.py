"""The chain as sync sees it, on the chain's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from minervas_core.errors import PeerFault
from minervas_core.genesis import Genesis
from minervas_ledger import refusals
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.disk import no_check
from minervas_ledger.prepared_bodies import PreparedBodies, prepare_bodies
from minervas_ledger.sync import HeadersTaken, SyncState
from minervas_ledger.sync_peers import Standing
from minervas_ledger.verifying import VerifyingThreads
from minervas_runtime.clock import Clock


class WorkerSyncChain:
    """See `sync.SyncChain`.

    Args:
        worker: the chain.
        clock: time of day.
        genesis: the consortium's genesis.
        check_room: raises `TransientFault` ``disk_low`` if there is no room for blocks.
    """

    def __init__(
        self, worker: ChainWorker, clock: Clock, genesis: Genesis, check_room: Callable[[], None] = no_check
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._genesis = genesis
        self._check_room = check_room
        self._threads = VerifyingThreads()

    @property
    def standing(self) -> Standing:
        """See `sync.SyncChain.standing`."""
        view = self._worker.view
        return Standing(view.justified.height, view.work)

    async def has_block(self, block_hash: str) -> bool:
        """See `sync.SyncChain.has_block`."""
        return await self._worker.run(lambda chain: chain.has_block(block_hash))

    async def sync_state(self, max_missing: int, branch: str = "") -> SyncState:
        """See `sync.SyncChain.sync_state`."""
        self._check_room()  # before anything is fetched
        return await self._worker.run(lambda chain: chain.sync_state(max_missing, branch))

    async def take_headers(self, member: str, headers: Sequence[bytes]) -> HeadersTaken:
        """See `sync.SyncChain.take_headers`."""
        now_ms = self._clock.now_ms()
        try:
            return await self._worker.run(lambda chain: chain.take_headers(headers, now_ms))
        except PeerFault as error:
            refusals.record("headers", error, origin=member)
            raise

    async def prepare_bodies(
        self, member: str, expected: Sequence[str], bodies: Sequence[bytes], block_keys: Mapping[str, str]
    ) -> PreparedBodies:
        """See `sync.SyncChain.prepare_bodies`."""
        try:
            return await asyncio.to_thread(prepare_bodies, expected, bodies, block_keys, self._genesis, self._threads)
        except PeerFault as error:
            refusals.record("bodies", error, origin=member)
            raise

    async def take_bodies(self, member: str, bodies: PreparedBodies) -> int:
        """See `sync.SyncChain.take_bodies`."""
        now_ms = self._clock.now_ms()
        return await self._worker.run(lambda chain: chain.take_bodies(bodies, now_ms, origin=member))

    async def forget_headers(self) -> None:
        """See `sync.SyncChain.forget_headers`."""
        await self._worker.run(lambda chain: chain.forget_headers())
