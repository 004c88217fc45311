"""How fast a ledger catches up with a chain that another member serves, against the naive node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from benchmarks.databases import Databases, databases, naive_connect
from benchmarks.naive.node import NaiveNode
from benchmarks.results import Result
from benchmarks.world import World, make_world
from minervas_core.encoding import encode
from minervas_core.messages import ChainTip
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.store.connection import as_transient
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_runtime.clock import ManualClock, monotonic_ms
from tests.support.builders import FAR_FUTURE_MS

MEMBER = "m0"
MAX_REPLY_BYTES = 1_500_000
"""Bodies that a member puts into one reply."""


class Remote:
    """A member that has the whole chain and answers at once. See `sync.Fetcher`."""

    def __init__(self, world: World) -> None:
        self._blocks = world.all_blocks
        self._heights = {block.hash: block.header.height for block in self._blocks}
        self._headers = [encode(block.header) for block in self._blocks]

    @property
    def tip(self) -> ChainTip:
        """What it claims."""
        head, work = self._blocks[-1], sum(block.header.difficulty for block in self._blocks)
        return ChainTip(height=head.header.height, hash=head.hash, work=f"{work:x}")

    async def headers(self, member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        """Headers above the locator."""
        start = max((self._heights.get(block_hash, 0) for block_hash in locator), default=0)
        return self._headers[start : start + limit]

    async def bodies(self, member: str, hashes: Sequence[str]) -> list[bytes]:
        """As many blocks as fit into a reply."""
        found: list[bytes] = []
        for block_hash in hashes:
            found.append(self._blocks[self._heights[block_hash] - 1].raw)
            if sum(map(len, found)) > MAX_REPLY_BYTES:
                return found[:-1]
        return found


def measure(*, full_blocks: int = 60, nearly_empty_blocks: int = 600, rounds: int = 3) -> list[Result]:
    """Measure; the time goes into the baseline."""
    with databases() as made:
        return [
            *_compare(made, "full", make_world(full_blocks, 100), rounds),
            *_compare(made, "nearly_empty", make_world(nearly_empty_blocks, 1), rounds),
        ]


def _compare(made: Databases, name: str, world: World, rounds: int) -> list[Result]:
    """Sync the same chain both ways, in turns; the fastest of each counts."""
    plain, ours = [], []
    for _ in range(rounds):
        plain.append(_naive(made, world))
        ours.append(asyncio.run(_project(made, world)))
    count = len(world.all_blocks)
    return [
        Result(f"sync.{name}.naive", count / min(plain), "blocks/s"),
        Result(f"sync.{name}", count / min(ours), "blocks/s"),
        Result(f"sync.{name}.ratio", min(plain) / min(ours), "x", goal=10),
    ]


def _naive(made: Databases, world: World) -> float:
    """Seconds that the naive node takes, block by block."""
    node = NaiveNode(world.genesis)
    with made.naive_store() as store:
        began = time.perf_counter()
        for block in world.all_blocks:
            naive_connect(node, store, block.raw)
        return time.perf_counter() - began


async def _project(made: Databases, world: World) -> float:
    """Seconds from the first claim of a tip until the ledger has committed it."""
    database, remote = made.fresh(), Remote(world)
    worker = ChainWorker(ChainOpener(database, world.genesis).open, lambda: as_transient(database))
    await worker.start()
    sync = Sync(WorkerSyncChain(worker, ManualClock(FAR_FUTURE_MS), world.genesis), remote, monotonic_ms)
    arrived = asyncio.Event()
    worker.on_change(lambda _, view: arrived.set() if view.tip == remote.tip else None)
    began = time.perf_counter()
    running = asyncio.create_task(sync.run())
    sync.heard_tip(MEMBER, remote.tip)
    await arrived.wait()
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await worker.close()
    return seconds
