"""The tree of known headers and where the best chain runs through it (design section 5, fork choice and sync).

Node states: ``header`` (valid header, body not here yet), ``body`` (body here and valid by itself; so are all
ancestors' bodies) and ``invalid``. The main chain is the one whose state the node holds; `main_at` finds its blocks by
height without walking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from minervas_core.blocks import VERSION, Header
from minervas_core.genesis import Genesis
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.messages import MAX_LOCATOR

MAX_BODILESS = 8_000
"""Most headers without body that are kept: four times what one sync may be ahead. Beyond it, those off the best header
chain are dropped, so that nobody fills our memory with cheap old branches."""

DENSE_LOCATOR = 10
"""Newest hashes of a locator that follow each other without gaps; from there the gaps double."""


class Ballot(NamedTuple):
    """What the tree needs to know of a vote in a block."""

    source_height: int
    target_height: int
    voter: str


class TriedLink(NamedTuple):
    """A link that had no majority when a branch was connected for a trial."""

    source_height: int
    target_height: int
    voters: frozenset[str]
    """Those whose votes the branch carries above its fork."""


@dataclass(slots=True, eq=False, repr=False)
class HeaderNode:
    """A header in the tree."""

    hash: str
    header: Header
    """Of the root: a stand-in at height 0 with the genesis' creation time; it is never sent."""
    parent: HeaderNode | None
    work: int
    """Work of the chain up to here: the sum of difficulties, each being the expected tries of its block."""
    state: Literal["header", "body", "invalid"] = "header"
    order: int = 0
    """Counts bodies as they came, from 1: among equal work, the one seen first wins. 0 without body."""
    children: int = 0
    """How many known headers name this one as predecessor."""
    ballots: tuple[Ballot, ...] | None = None
    """The votes that the body carries; None if it was not looked at since our start."""
    tried: tuple[TriedLink, ...] = ()
    """For which links the branch up to here was tried in vain; see `finality.trial`."""
    far: HeaderNode | None = None
    """The ancestor whose height lacks the lowest set bit of this one's: few leaps lead to any ancestor."""

    def __repr__(self) -> str:
        return f"HeaderNode({self.height}, {self.hash[:16]}, {self.state})"

    @property
    def height(self) -> int:
        """Height; 0 for the root."""
        return self.header.height

    @property
    def time_ms(self) -> int:
        """The block's time."""
        return self.header.time_ms

    def chain(self) -> Iterator[HeaderNode]:
        """This node and its ancestors down to the root."""
        node: HeaderNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def blocks(self) -> Iterator[HeaderNode]:
        """As `chain`, without the root."""
        return (node for node in self.chain() if node.parent is not None)


@dataclass(frozen=True, slots=True)
class SideBranch:
    """A branch off the main chain, as Bitcoin's ``getchaintips`` lists it."""

    head: HeaderNode
    fork: HeaderNode
    """Last block that it shares with the main chain."""

    @property
    def length(self) -> int:
        """Blocks from the fork to the head."""
        return self.head.height - self.fork.height


def is_better(node: HeaderNode, other: HeaderNode) -> bool:
    """Fork choice: most cumulative work, then first seen."""
    return fork_key(node) > fork_key(other)


def fork_key(node: HeaderNode) -> tuple[int, int]:
    """Sort key of the fork choice among nodes with bodies; the best is the largest."""
    return node.work, -node.order


class BlockTree:
    """All headers that we know, and the main chain."""

    def __init__(self, genesis: Genesis) -> None:
        self.root = HeaderNode(genesis.hash, _root_header(genesis), None, 0, "body")
        self._nodes = {genesis.hash: self.root}
        self._leaves = {genesis.hash: self.root}
        self._main = [self.root]
        self._next_order = 1
        self._bodiless = 0
        self.best_header = self.root
        """Head of the valid header chain with most work, whether or not the bodies are here."""

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def bodiless_count(self) -> int:
        """How many headers wait for their body."""
        return self._bodiless

    def get(self, block_hash: str) -> HeaderNode | None:
        """The node of a block, if it is known."""
        return self._nodes.get(block_hash)

    @property
    def tip(self) -> HeaderNode:
        """Head of the main chain."""
        return self._main[-1]

    def main_at(self, height: int) -> HeaderNode | None:
        """The main chain's block at a height."""
        return self._main[height] if 0 <= height < len(self._main) else None

    def is_main(self, node: HeaderNode) -> bool:
        """Whether a node lies on the main chain."""
        return self.main_at(node.height) is node

    def add(self, header: Header, block_hash: str, parent: HeaderNode) -> HeaderNode:
        """Add a checked header."""
        node = HeaderNode(block_hash, header, parent, parent.work + header.difficulty)
        node.far = self.ancestor_at(parent, node.height & (node.height - 1))
        self._nodes[block_hash] = node
        self._leaves[block_hash] = node
        self._leaves.pop(parent.hash, None)
        parent.children += 1
        self._bodiless += 1
        if node.work > self.best_header.work:
            self.best_header = node
        return node

    def descends(self, node: HeaderNode, ancestor: HeaderNode) -> bool:
        """Whether `ancestor` lies on the chain of `node`, or is the node itself."""
        return node.height >= ancestor.height and self.ancestor_at(node, ancestor.height) is ancestor

    def heads_with_body(self) -> Iterator[HeaderNode]:
        """The last block with a body of every branch, also of the main chain."""
        for leaf in self._leaves.values():
            yield next(node for node in leaf.chain() if node.state == "body")

    def set_body(self, node: HeaderNode, order: int = 0) -> None:
        """The body is here and valid by itself; its parent's must be.

        Args:
            node: the block.
            order: the stored order when restoring; otherwise the next one.
        """
        self._bodiless -= node.state == "header"
        node.state, node.order = "body", order or self._next_order
        self._next_order = max(self._next_order, node.order + 1)

    def move_tip(self, node: HeaderNode) -> None:
        """Make a node the head of the main chain."""
        fork = self.fork_point(node)
        path = self.path(fork, node)
        del self._main[fork.height + 1 :]
        self._main += path
        if node.work >= self.best_header.work:
            self.best_header = node

    def fork_point(self, node: HeaderNode) -> HeaderNode:
        """The last ancestor on the main chain, or the node itself."""
        return next(ancestor for ancestor in node.chain() if self.is_main(ancestor))

    def path(self, ancestor: HeaderNode, node: HeaderNode) -> list[HeaderNode]:
        """The nodes above `ancestor` up to `node`, oldest first."""
        path: list[HeaderNode] = []
        for step in node.chain():
            if step is ancestor:
                break
            path.append(step)
        return path[::-1]

    def mark_invalid(self, node: HeaderNode) -> list[HeaderNode]:
        """Mark a node off the main chain and its descendants; returns those newly marked, oldest first."""
        marked = [each for each in self._with_descendants(node) if each.state != "invalid"]
        for each in marked:
            self._bodiless -= each.state == "header"
            each.state = "invalid"
        self._choose_best_header()
        return marked

    def drop_bodies(self, node: HeaderNode) -> list[HeaderNode]:
        """Keep only the headers of a node off the main chain and its descendants; returns those that had a body."""
        dropped = [each for each in self._with_descendants(node) if each.state == "body"]
        for each in dropped:
            each.state, each.order = "header", 0
        self._bodiless += len(dropped)
        return dropped

    def forget(self, node: HeaderNode) -> list[HeaderNode]:
        """Remove a node off the main chain and its descendants, as if they had never come; oldest first."""
        gone = self._with_descendants(node)
        for each in gone:
            self._bodiless -= each.state == "header"
            del self._nodes[each.hash]
            self._leaves.pop(each.hash, None)
        parent = _parent(node)
        parent.children -= 1
        if not parent.children:
            self._leaves[parent.hash] = parent
        self._choose_best_header()
        return gone

    def limit_bodiless(self) -> None:
        """Drop headers without body off the best header chain if there are more than `MAX_BODILESS`."""
        if self._bodiless > MAX_BODILESS:
            self._drop_bodiless_side_branches()

    def forget_bodiless(self) -> int:
        """Remove all headers without body, when nobody delivers what they promise; returns how many."""
        before = len(self._nodes)
        self.best_header = self.tip
        self._drop_bodiless_side_branches()
        self._choose_best_header()
        return before - len(self._nodes)

    def side_branches(self) -> list[SideBranch]:
        """All branches off the main chain, best head first."""
        heads = [leaf for leaf in self._leaves.values() if not self.is_main(leaf)]
        heads.sort(key=fork_key, reverse=True)
        return [SideBranch(head, self.fork_point(head)) for head in heads]

    def locator(self) -> list[str]:
        """Hashes of the best header chain from its head down, thinning out; genesis is implied."""
        hashes: list[str] = []
        node, gap = self.best_header, 1
        while node.height > 0 and len(hashes) < MAX_LOCATOR:
            hashes.append(node.hash)
            if len(hashes) >= DENSE_LOCATOR:
                gap *= 2
            node = self.ancestor_at(node, max(node.height - gap, 0))
        return hashes

    def ancestor_at(self, node: HeaderNode, height: int) -> HeaderNode:
        """The ancestor of `node` at a height; walks only off the main chain, and there in leaps."""
        while node.height > height:
            main = self.main_at(height) if self.is_main(node) else None
            far = node.far if node.far is not None and node.far.height >= height else None
            node = main or far or _parent(node)
        return node

    def after(self, locator: Sequence[str], limit: int) -> list[HeaderNode]:
        """Main chain blocks above the first hash of `locator` that lies on it (else genesis), oldest first."""
        known = (self._nodes.get(block_hash) for block_hash in locator)
        start = next((node for node in known if node is not None and self.is_main(node)), self.root)
        return self._main[start.height + 1 : start.height + 1 + limit]

    def bodiless_depth(self, node: HeaderNode) -> int:
        """How many blocks up to and with `node` have no body yet."""
        return sum(1 for _ in self._bodiless_down_from(node))

    def missing_bodies(self) -> list[HeaderNode]:
        """Blocks without body on the best header chain, oldest first; none if that has no more work than the tip."""
        if self.best_header.work <= self.tip.work:
            return []
        return list(self._bodiless_down_from(self.best_header))[::-1]

    def _bodiless_down_from(self, node: HeaderNode) -> Iterator[HeaderNode]:
        for each in node.chain():
            if each.state == "body":
                return
            yield each

    def _with_descendants(self, node: HeaderNode) -> list[HeaderNode]:
        """The node and everything above it, oldest first: found by walking down from the side branches' heads."""
        if self.is_main(node):
            raise ValueError("blocks of the main chain are valid")
        found: dict[str, HeaderNode] = {}
        for leaf in self._leaves.values():
            path: list[HeaderNode] = []
            for step in leaf.chain():
                if self.is_main(step):
                    break
                path.append(step)
                if step is node or step.hash in found:
                    found.update((each.hash, each) for each in path)
                    break
        return sorted(found.values(), key=lambda each: each.height)

    def _choose_best_header(self) -> None:
        """Find the best header again after nodes became invalid or went."""
        best = self.tip
        for leaf in self._leaves.values():
            valid = next(node for node in leaf.chain() if node.state != "invalid")
            if valid.work > best.work:
                best = valid
        self.best_header = best

    def _drop_bodiless_side_branches(self) -> None:
        keep = {node.hash for node in self._bodiless_down_from(self.best_header)}
        for leaf in list(self._leaves.values()):
            top: HeaderNode | None = None
            for node in leaf.chain():
                if node.state != "header" or node.hash in keep:
                    break
                top = node
            if top is not None and top.hash in self._nodes:
                self.forget(top)


def _parent(node: HeaderNode) -> HeaderNode:
    if node.parent is None:
        raise ValueError("the root has no parent")
    return node.parent


def _root_header(genesis: Genesis) -> Header:
    """Stand-in header of the genesis, so that every node has one."""
    return Header(
        version=VERSION,
        network=genesis.network,
        height=0,
        prev="0" * 64,
        tx_root=EMPTY_ROOT,
        votes_root=EMPTY_ROOT,
        time_ms=genesis.body.created_ms,
        difficulty=0,
        miner=RESERVED_MEMBER,
        nonce="0" * 16,
    )
