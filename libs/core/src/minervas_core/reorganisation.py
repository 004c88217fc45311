"""Move the state from one branch to another, whole or not at all (design section 5, fork choice)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from minervas_core.blocks import Block
from minervas_core.errors import Code, InvalidBlock, LocalFault
from minervas_core.genesis import Genesis
from minervas_core.market.records import Clearing, Lot, Retirement, Trade
from minervas_core.state import BlockUndo, ChainState, undo_block
from minervas_core.transactions import Transaction
from minervas_core.tree import BlockTree, HeaderNode
from minervas_core.validation import connect_block


@dataclass(frozen=True, slots=True)
class ConnectedBlock:
    """A block that became part of the main chain, with what undoes it."""

    block: Block
    undo: BlockUndo
    work: int
    """Of the chain up to it."""
    trades: tuple[Trade, ...] = ()
    """What it traded, in order."""
    lots: Mapping[str, Lot] = field(default_factory=dict)
    """Lots that it made, by id, as they were then; some may be used up again."""
    retirements: tuple[Retirement, ...] = ()
    """Lots that it retired, in order."""
    clearings: tuple[Clearing, ...] = ()
    """The auction that it decided, if any."""


@dataclass(frozen=True, slots=True)
class TipChange:
    """How the main chain changed."""

    disconnected: tuple[Block, ...]
    """Blocks that left it, old tip first."""
    connected: tuple[ConnectedBlock, ...]
    """Blocks that joined it, oldest first."""

    def returned(self) -> tuple[Transaction, ...]:
        """Transactions that left the chain and did not come back in, in the losing branch's order."""
        kept = {transaction.id for each in self.connected for transaction in each.block.transactions}
        return tuple(
            transaction
            for block in reversed(self.disconnected)
            for transaction in block.transactions
            if transaction.id not in kept
        )


class BranchRefused(Exception):
    """A block of the branch does not connect."""

    def __init__(self, node: HeaderNode, error: InvalidBlock) -> None:
        super().__init__(str(error))
        self.node = node
        self.error = error


class RulesUnknown(Exception):
    """The branch goes on under rules that this software does not have; up to there it is valid."""

    def __init__(self, last_known: HeaderNode, error: LocalFault) -> None:
        super().__init__(str(error))
        self.last_known = last_known
        """Last block of the branch that can be judged."""
        self.error = error


def move_state(
    state: ChainState,
    tree: BlockTree,
    node: HeaderNode,
    genesis: Genesis,
    *,
    block_of: Callable[[HeaderNode], Block],
    undo_of: Callable[[str], BlockUndo],
) -> TipChange:
    """Bring `state` from the tree's tip to `node`, over the fork between them. The tree itself is not changed.

    If anything raises, the state is as it was: all work is done on a layer over it, unless it is only one more block,
    for `connect_block` has a layer of its own.

    Raises:
        BranchRefused: a block of the branch is invalid on it.
        RulesUnknown: a block of the branch cannot be judged.
        LocalFault: ``internal`` if stored blocks are not what they should be.
    """
    if node.parent is tree.tip:
        return walk_state(state, tree, node, genesis, block_of=block_of, undo_of=undo_of)
    layer = state.scratch()
    change = walk_state(layer, tree, node, genesis, block_of=block_of, undo_of=undo_of)
    layer.commit()
    return change


def walk_state(
    layer: ChainState,
    tree: BlockTree,
    node: HeaderNode,
    genesis: Genesis,
    *,
    block_of: Callable[[HeaderNode], Block],
    undo_of: Callable[[str], BlockUndo],
) -> TipChange:
    """As `move_state`, on a layer over the state that is changed also if anything raises."""
    fork = tree.fork_point(node)
    disconnected: list[Block] = []
    for leaving in tree.path(fork, tree.tip)[::-1]:
        block = _checked(block_of(leaving), leaving)
        undo_block(layer, block, undo_of(leaving.hash), genesis.parameters)
        disconnected.append(block)
    connected: list[ConnectedBlock] = []
    parent = fork
    for joining in tree.path(fork, node):
        block = _checked(block_of(joining), joining)
        try:
            applied = connect_block(layer, block, parent, genesis)
        except InvalidBlock as error:
            raise BranchRefused(joining, error) from error
        except LocalFault as error:
            if error.code != Code.SOFTWARE_TOO_OLD:
                raise
            raise RulesUnknown(parent, error) from error
        connected.append(
            ConnectedBlock(
                block,
                applied.undo,
                joining.work,
                applied.trades,
                applied.lots,
                retirements=applied.retirements,
                clearings=applied.clearings,
            )
        )
        parent = joining
    return TipChange(tuple(disconnected), tuple(connected))


def _checked(block: Block, node: HeaderNode) -> Block:
    if block.hash != node.hash:
        raise LocalFault(Code.INTERNAL, "The store returned another block", asked=node.hash, got=block.hash)
    return block
