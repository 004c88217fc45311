"""Chains of blocks with votes upon block 1 of the fixtures."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Block, assemble_block, sign_block_hash, votes_root
from minervas_core.finality.votes import Checkpoint, Vote, vote_order
from minervas_core.transactions import Transaction
from tools.vectors.fixtures import (
    BLOCK_1,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MOKPO,
    NETWORK,
    MemberKeys,
    draft,
    ordered,
    search,
)
from tools.vectors.vote_samples import GENESIS_CHECKPOINT, vote

MINERS = (MOKPO, HAENAM, KIM)


class Line:
    """A chain from block 1 on, to grow block by block.

    Args:
        miners: who mine in turn.
        later_ms: makes blocks of equal content differ from those of another line.
    """

    def __init__(self, miners: tuple[MemberKeys, ...] = MINERS, *, later_ms: int = 0) -> None:
        self.blocks = [BLOCK_1]
        self._miners = miners
        self._later_ms = later_ms

    def fork(self, height: int, miners: tuple[MemberKeys, ...] = MINERS, *, later_ms: int = 0) -> Line:
        """A line with the same blocks up to a height."""
        other = Line(miners, later_ms=later_ms)
        other.blocks = self.blocks[:height]
        return other

    @property
    def height(self) -> int:
        """Height of the last block."""
        return len(self.blocks)

    def at(self, height: int) -> Checkpoint:
        """The checkpoint at a height."""
        if height == 0:
            return GENESIS_CHECKPOINT
        return Checkpoint(height=height, hash=self.blocks[height - 1].hash)

    def votes(self, source: int, target: int, voters: tuple[MemberKeys, ...] = MINERS) -> tuple[Vote, ...]:
        """Votes for a link between two checkpoints of this line."""
        return tuple(vote(who, self.at(source), self.at(target)) for who in voters)

    def next(self, *votes: Vote, transactions: tuple[Transaction, ...] = (), keep_order: bool = False) -> Block:
        """The block that would be next; the line stays as it is."""
        parent = self.blocks[-1].header
        listed = votes if keep_order else tuple(sorted(votes, key=vote_order))
        content = ordered(*transactions)
        miner = self._miners[self.height % len(self._miners)]
        due = draft(
            self.height + 1,
            self.blocks[-1].hash,
            content,
            time_ms=parent.time_ms + INTERVAL_MS + self._later_ms,
            miner=miner.member,
        )
        wanted = msgspec.structs.replace(due, votes_root=votes_root(listed))
        header = wanted.with_nonce(search(wanted))
        return assemble_block(header, sign_block_hash(header.hash(), NETWORK, miner.block), content, listed)

    def add(self, *votes: Vote, transactions: tuple[Transaction, ...] = ()) -> Block:
        """Add the next block."""
        self.blocks.append(self.next(*votes, transactions=transactions))
        return self.blocks[-1]

    def grow_to(self, height: int) -> Line:
        """Add blocks without content up to a height."""
        while self.height < height:
            self.add()
        return self
