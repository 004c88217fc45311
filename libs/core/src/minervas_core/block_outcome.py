"""What becomes of blocks that a chain takes in, and what it is restored from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from minervas_core.blocks import Block, Header
from minervas_core.errors import MinervasError
from minervas_core.reorganisation import TipChange
from minervas_core.transactions import Transaction
from minervas_core.tree import HeaderNode

BlockStatus = Literal["connected", "side_branch", "known", "orphan", "postponed", "refused"]
"""What became of a block, as `node_messages.BlockResult` tells it."""


@dataclass(frozen=True, slots=True)
class RestoredNode:
    """A stored block as the tree needs it."""

    header: Header
    hash: str
    work: int
    has_body: bool
    invalid: bool
    order: int


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Hashes of the checkpoints that the fork choice starts from; genesis at first."""

    justified: str
    final: str


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block whose body is new and valid by itself: to be stored, whether or not it joined the main chain."""

    block: Block
    work: int
    order: int


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What became of a delivered block and of the orphans that had waited for it; to be stored as a whole."""

    status: BlockStatus
    hash: str
    error: MinervasError | None = None
    """Why it was refused, postponed or held as an orphan."""
    stored: tuple[StoredBlock, ...] = ()
    """New blocks to store, oldest first."""
    change: TipChange | None = None
    """How the main chain changed; its connected blocks are stored before or in `stored`."""
    invalid: tuple[str, ...] = ()
    """Blocks that turned out invalid for ever; some may be stored as side branches."""
    discarded: tuple[str, ...] = ()
    """Stored side branch blocks to delete: their signature is wrong, but a copy with a right one may come."""
    refused: tuple[tuple[str, MinervasError], ...] = ()
    """Other blocks refused on the way, with the reason."""

    @property
    def returned(self) -> tuple[Transaction, ...]:
        """Transactions that go back into the queue."""
        return self.change.returned() if self.change else ()


@dataclass(slots=True)
class Arrival:
    """What has happened so far while a block is taken in."""

    fresh: dict[str, Block] = field(default_factory=dict)
    nodes: list[HeaderNode] = field(default_factory=list)
    announced: set[str] = field(default_factory=set)
    """Those of `nodes` whose headers were known before."""
    invalid: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    faults: dict[str, MinervasError] = field(default_factory=dict)
