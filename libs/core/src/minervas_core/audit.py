"""Replay a chain from genesis, checking every rule again (design section 6, audit)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from minervas_core.blocks import Block, decode_block
from minervas_core.errors import Code, InvalidBlock
from minervas_core.genesis import Genesis
from minervas_core.market.records import Clearing, Lot, Retirement, Trade
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import BlockUndo, ChainState
from minervas_core.tree import BlockTree
from minervas_core.validation import check_block_body, check_header, connect_block


@dataclass(frozen=True, slots=True)
class ReplayedBlock:
    """A block that follows from genesis."""

    height: int
    block: Block
    undo: BlockUndo
    work: int
    """Of the chain up to it."""
    state: ChainState
    """After the block. The replay goes on changing it: look at it before asking for the next block."""
    trades: tuple[Trade, ...] = ()
    """What it traded, in order."""
    lots: Mapping[str, Lot] = field(default_factory=dict)
    """Lots that it made, by id, as they were then; some may be used up again."""
    retirements: tuple[Retirement, ...] = ()
    """Lots that it retired, in order."""
    clearings: tuple[Clearing, ...] = ()
    """The auction that it decided, if any."""


def replay(
    genesis: Genesis, blocks: Iterable[bytes], signatures: SignatureCache | None = None
) -> Iterator[ReplayedBlock]:
    """Check the canonical bytes of a main chain, oldest first, and yield each block with what follows from it.

    Only the rule about our own clock is left out: it is not about the chain.

    Args:
        genesis: the consortium's genesis.
        blocks: canonical bytes from block 1 on.
        signatures: transactions that need not be verified again; without it, all are.

    Raises:
        InvalidEncoding: bytes that are not a block.
        InvalidBlock: the first block that breaks a rule, with its code; ``block_unknown_parent`` if it is not the
            next one.
        LocalFault: ``software_too_old`` at the first block under rules that this software does not have.
    """
    tree = BlockTree(genesis)
    state = ChainState.fresh(genesis)
    signatures = SignatureCache(genesis) if signatures is None else signatures
    for raw in blocks:
        block = decode_block(raw)
        parent = tree.tip
        if block.header.prev != parent.hash:
            raise InvalidBlock(
                Code.BLOCK_UNKNOWN_PARENT,
                "Does not name the block before it",
                hash=block.hash,
                prev=block.header.prev,
                expected=parent.hash,
            )
        check_header(block.header, block.hash, parent, genesis)
        check_block_body(block, signatures)
        applied = connect_block(state, block, parent, genesis)
        node = tree.add(block.header, block.hash, parent)
        tree.set_body(node)
        tree.move_tip(node)
        yield ReplayedBlock(
            node.height,
            block,
            applied.undo,
            node.work,
            state,
            applied.trades,
            applied.lots,
            retirements=applied.retirements,
            clearings=applied.clearings,
        )
