"""The branches beside the best chain, as a node shows them (like Bitcoin's ``getchaintips``)."""

from __future__ import annotations

from typing import Literal

from minervas_core.node_messages import SideBranchEntry, SideBranches
from minervas_core.tree import BlockTree, HeaderNode, SideBranch


def list_side_branches(tree: BlockTree, limit: int) -> SideBranches:
    """All branches that the node knows and does not follow, most work first.

    Args:
        tree: all known headers.
        limit: how many to name at most.
    """
    branches = tree.side_branches()
    return SideBranches(branches=[_entry(branch) for branch in branches[:limit]], total=len(branches))


def _entry(branch: SideBranch) -> SideBranchEntry:
    head = branch.head
    return SideBranchEntry(
        hash=head.hash,
        height=head.height,
        length=branch.length,
        fork_height=branch.fork.height,
        work=f"{head.work:x}",
        status=_status(head),
    )


def _status(head: HeaderNode) -> Literal["valid-fork", "invalid", "headers-only"]:
    """A head with a body stands on bodies only, and what stands on an invalid block is invalid."""
    match head.state:
        case "body":
            return "valid-fork"
        case "invalid":
            return "invalid"
        case "header":
            return "headers-only"
