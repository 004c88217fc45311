"""How fast a ledger catches up with a chain that another member serves, against the naive node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from benchmarks.comparing import compared
from benchmarks.databases import Databases, databases, naive_connect, opener
from benchmarks.naive.node import NaiveNode
from benchmarks.naive.store import NaiveStore
from benchmarks.results import Result
from benchmarks.world import World, make_world
from minervas_core.encoding import encode
from minervas_core.messages import MAX_REPLY_BODIES_BYTES, ChainTip
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.store.connection import as_transient
from minervas_ledger.sync import Sync
from minervas_ledger.sync_chain import WorkerSyncChain
from minervas_runtime.clock import ManualClock, monotonic_ms
from tests.support.builders import FAR_FUTURE_MS

MEMBER = "m0"


class Remote:
    """A member that has the chain up to some block, and answers at once. See `sync.Fetcher`."""

    def __init__(self, world: World) -> None:
        self._blocks = world.all_blocks
        self._heights = {block.hash: block.header.height for block in self._blocks}
        self._headers = [encode(block.header) for block in self._blocks]
        self.height = 0
        """Its newest block."""

    @property
    def tip(self) -> ChainTip:
        """What it claims."""
        here = self._blocks[: self.height]
        work = sum(block.header.difficulty for block in here)
        return ChainTip(height=self.height, hash=here[-1].hash, work=f"{work:x}")

    async def headers(self, _member: str, locator: Sequence[str], limit: int) -> list[bytes]:
        """Headers above the locator."""
        start = max((self._heights.get(block_hash, 0) for block_hash in locator), default=0)
        return self._headers[start : min(start + limit, self.height)]

    async def bodies(self, _member: str, hashes: Sequence[str]) -> list[bytes]:
        """As many blocks as fit into a reply."""
        found: list[bytes] = []
        room = MAX_REPLY_BODIES_BYTES
        for raw in (self._blocks[self._heights[block_hash] - 1].raw for block_hash in hashes):
            room -= len(raw)
            if found and room < 0:
                break
            found.append(raw)
        return found


class Syncing:
    """The project's ledger, whose sync driver runs."""

    def __init__(self, made: Databases, world: World) -> None:
        self._remote = Remote(world)
        database = made.fresh()
        self._worker = ChainWorker(opener(database, world.genesis).open, lambda: as_transient(database))
        chain = WorkerSyncChain(self._worker, ManualClock(FAR_FUTURE_MS), world.genesis)
        self._sync = Sync(chain, self._remote, monotonic_ms)

    async def run(self, steps: AsyncIterator[int]) -> None:
        """Follow the remote member to each height that `steps` yields; the step ends when that block is committed."""
        await self._worker.start()
        arrived = asyncio.Event()
        self._worker.on_change(lambda _, view: arrived.set() if view.tip.height == self._remote.height else None)
        running = asyncio.create_task(self._sync.run())
        async for height in steps:
            arrived.clear()
            self._remote.height = height
            self._sync.heard_tip(MEMBER, self._remote.tip)
            await arrived.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await self._worker.close()


def measure(*, full: int = 24, nearly_empty: int = 128, rounds: int = 5) -> list[Result]:
    """Measure; takes about 30 seconds.

    Args:
        full: blocks of 100 transactions in each round.
        nearly_empty: blocks of one transaction in each round.
        rounds: how often the chain grows by so many; both sides take each piece in turn.
    """
    with databases() as made:
        return measure_in(made, full=full, nearly_empty=nearly_empty, rounds=rounds)


def measure_in(made: Databases, *, full: int, nearly_empty: int, rounds: int) -> list[Result]:
    """As `measure`, in databases of a server that runs already."""
    return [
        *_compare(made, "sync.full", make_world(full * rounds, 100), full),
        *_compare(made, "sync.nearly_empty", make_world(nearly_empty * rounds, 1), nearly_empty),
    ]


def _compare(made: Databases, name: str, world: World, size: int) -> list[Result]:
    turns = _Turns()
    with made.naive_store() as store:
        asyncio.run(Syncing(made, world).run(turns.steps(store, world, size)))
    return compared(name, turns.naive, turns.ours, per_s=size, unit="blocks/s", goal=10)


@dataclass
class _Turns:
    """Seconds that each side takes for each piece of a chain."""

    naive: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    async def steps(self, store: NaiveStore, world: World, size: int) -> AsyncIterator[int]:
        """Let the naive node take each piece, then the project; the founding blocks are not counted."""
        node, begin = NaiveNode(world.genesis), len(world.founding)
        for block in world.founding:
            naive_connect(node, store, block.raw)
        yield begin
        for height in range(begin, len(world.all_blocks), size):
            began = time.perf_counter()
            for block in world.all_blocks[height : height + size]:
                naive_connect(node, store, block.raw)
            self.naive.append(time.perf_counter() - began)
            began = time.perf_counter()
            yield height + size
            self.ours.append(time.perf_counter() - began)
