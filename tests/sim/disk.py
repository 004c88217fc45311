"""What a node would have in its database, and the way back from there into memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from minervas_core.blocks import Header
from minervas_core.chain import BlockOutcome, Chain, Landmarks, RestoredNode
from minervas_core.encoding import decode, encode
from minervas_core.finality.votes import Vote
from minervas_core.genesis import Genesis
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import BlockUndo, ChainState, StateSnapshot


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A stored block as the ledger's table has it."""

    header: Header
    raw: bytes
    work: int
    order: int
    invalid: bool = False


class Disk:
    """Rows of blocks and undo data, written with every outcome; the state's rows as they are at the tip.

    A ledger writes changed rows of the state with each commit. Here they are taken from the memory that they equal,
    when the process ends or a backup is made.
    """

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.blocks: dict[str, BlockRow] = {}
        self.undo: dict[str, bytes] = {}
        self.votes: dict[bytes, None] = {}
        """Votes as they were signed, the node's own among them."""
        self.state = encode(ChainState.fresh(genesis).snapshot())
        self.landmarks = Landmarks(genesis.hash, genesis.hash)

    def keep_vote(self, vote: Vote) -> None:
        """Store a vote."""
        self.votes[vote.raw] = None

    def keep(self, outcome: BlockOutcome) -> None:
        """Store what an outcome says."""
        for stored in outcome.stored:
            block = stored.block
            self.blocks[block.hash] = BlockRow(block.header, block.raw, stored.work, stored.order)
        if outcome.change:
            for block in outcome.change.disconnected:
                del self.undo[block.hash]
            for connected in outcome.change.connected:
                self.undo[connected.block.hash] = encode(connected.undo)
        for block_hash in outcome.invalid:
            if block_hash in self.blocks:
                self.blocks[block_hash] = replace(self.blocks[block_hash], invalid=True)
        for block_hash in outcome.discarded:
            del self.blocks[block_hash]

    def save_state(self, chain: Chain) -> None:
        """Write the rows of a state that is committed."""
        self.state = encode(chain.state.snapshot())
        self.landmarks = chain.landmarks

    def backup(self) -> Disk:
        """A copy; the state must be saved."""
        copy = Disk(self.genesis)
        copy.blocks, copy.undo, copy.votes = dict(self.blocks), dict(self.undo), dict(self.votes)
        copy.state, copy.landmarks = self.state, self.landmarks
        return copy

    def open(self, signatures: SignatureCache) -> Chain:
        """The chain as it is stored."""
        chain = Chain.restore(
            self.genesis, self._nodes(), self._state(), self.load_block, self.load_undo, landmarks=self.landmarks
        )
        chain.signatures = signatures
        return chain

    def load_block(self, block_hash: str) -> bytes:
        """Bytes of a stored block."""
        return self.blocks[block_hash].raw

    def load_undo(self, block_hash: str) -> BlockUndo:
        """Undo data of a block of the main chain."""
        return decode(self.undo[block_hash], BlockUndo, max_bytes=10**9)

    def _nodes(self) -> Iterable[RestoredNode]:
        for block_hash, row in sorted(self.blocks.items(), key=lambda item: (item[1].header.height, item[0])):
            yield RestoredNode(row.header, block_hash, row.work, True, row.invalid, row.order)

    def _state(self) -> ChainState:
        stored = decode(self.state, StateSnapshot, max_bytes=10**9)
        return ChainState.restore(
            stored.height,
            stored.tip_hash,
            stored.time_ms,
            members=stored.members,
            recent_ids=stored.recent_ids,
            market=stored.market,
            finality=stored.finality,
            governance=stored.governance,
        )
