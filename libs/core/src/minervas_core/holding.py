"""Blocks that can not be judged yet: orphans (predecessor not here) and postponed ones (from the future).

Both buffers are bounded in count and bytes, because nothing in them is paid for in full: an orphan's difficulty is only
claimed, and a postponed block may never come due. What is pushed out is no loss, only slower: sync fetches it again.
"""

from __future__ import annotations

from collections.abc import Callable

from minervas_core.blocks import Block

MAX_ORPHANS = 256
"""An hour of 15 s blocks: a longer gap is for sync, which asks for what is missing in order."""

MAX_POSTPONED = 64
"""Blocks that honest miners with bad clocks make within a few minutes."""

MAX_HELD_BYTES = 16_000_000
"""Per buffer: 16 of the largest blocks, or all the usual ones."""


class HeldBlocks:
    """A bounded buffer of blocks by hash, in the order in which they came."""

    def __init__(
        self, *, max_count: int, max_bytes: int = MAX_HELD_BYTES, drop_first: Callable[[Block], int] | None = None
    ) -> None:
        """Make an empty buffer.

        Args:
            max_count: most blocks.
            max_bytes: most bytes of all blocks together.
            drop_first: what is dropped first when it is full: the block with the largest value; without it, the one
                that came first.
        """
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._drop_first = drop_first
        self._blocks: dict[str, Block] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, block_hash: str) -> bool:
        return block_hash in self._blocks

    @property
    def bytes(self) -> int:
        """Bytes of all held blocks."""
        return self._bytes

    def hold(self, block: Block) -> None:
        """Keep a block, which may push out others or find no room itself. Of one hash, the newest copy stays."""
        self._remove(block.hash)
        self._blocks[block.hash] = block
        self._bytes += len(block.raw)
        while len(self._blocks) > self._max_count or self._bytes > self._max_bytes:
            rank = self._drop_first
            first = max(self._blocks.values(), key=rank).hash if rank else next(iter(self._blocks))
            self._remove(first)

    def take(self, wanted: Callable[[Block], bool]) -> list[Block]:
        """Remove and return the blocks that fit, lowest first."""
        fitting = [block for block in self._blocks.values() if wanted(block)]
        for block in fitting:
            self._remove(block.hash)
        return sorted(fitting, key=lambda block: block.header.height)

    def take_children(self, parent_hash: str) -> list[Block]:
        """Remove and return the blocks that name this predecessor."""
        return self.take(lambda block: block.header.prev == parent_hash)

    def _remove(self, block_hash: str) -> None:
        block = self._blocks.pop(block_hash, None)
        if block is not None:
            self._bytes -= len(block.raw)


def orphan_buffer() -> HeldBlocks:
    """For blocks whose predecessor is not here: the oldest go first."""
    return HeldBlocks(max_count=MAX_ORPHANS)


def postponed_buffer() -> HeldBlocks:
    """For blocks from the future: those that come due last go first."""
    return HeldBlocks(max_count=MAX_POSTPONED, drop_first=lambda block: block.header.time_ms)
