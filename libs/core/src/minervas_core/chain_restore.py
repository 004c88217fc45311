"""Building a chain's tree again from what is stored, without checking the rules."""

from __future__ import annotations

from collections.abc import Iterable

from minervas_core.block_outcome import RestoredNode
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis
from minervas_core.state import ChainState
from minervas_core.tree import BlockTree, HeaderNode


def restore_tree(genesis: Genesis, nodes: Iterable[RestoredNode], state: ChainState) -> BlockTree:
    """The tree of the stored blocks, with the stored state's block as its tip.

    Raises:
        LocalFault: ``audit_mismatch`` if blocks, work and state do not belong together.
    """
    tree = BlockTree(genesis)
    invalid: list[HeaderNode] = []
    for stored in nodes:
        parent = tree.get(stored.header.prev)
        if parent is None or parent.work + stored.header.difficulty != stored.work:
            raise LocalFault(
                Code.AUDIT_MISMATCH, "A stored block does not follow from its predecessor", hash=stored.hash
            )
        node = tree.add(stored.header, stored.hash, parent)
        if stored.has_body:
            tree.set_body(node, stored.order)
        if stored.invalid:
            invalid.append(node)
    tip = tree.get(state.tip_hash)
    if tip is None or tip.height != state.height or tip.state != "body":
        raise LocalFault(Code.AUDIT_MISMATCH, "The stored state is not of a stored block", hash=state.tip_hash)
    tree.move_tip(tip)
    for node in invalid:
        tree.mark_invalid(node)
    return tree


def stored_checkpoint(tree: BlockTree, block_hash: str) -> HeaderNode:
    """The node of a stored checkpoint.

    Raises:
        LocalFault: ``audit_mismatch`` if it does not lie on the stored chain.
    """
    node = tree.get(block_hash)
    if node is None or not tree.descends(tree.tip, node):
        raise LocalFault(Code.AUDIT_MISMATCH, "The stored chain lacks a justified checkpoint", hash=block_hash)
    return node
