"""A node's view of the chain: takes blocks and headers in any order, keeps the best valid chain as its state.

`Chain` changes its own memory first and says in a `BlockOutcome` what to store. The ledger stores an outcome in one
transaction; if that fails it throws the `Chain` away and restores one from what is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from minervas_core.block_outcome import Arrival, BlockOutcome, BlockStatus, Landmarks, RestoredNode, StoredBlock
from minervas_core.blocks import Block, Header, decode_block
from minervas_core.chain_restore import restore_tree, stored_checkpoint
from minervas_core.errors import (
    BlockFromTheFuture,
    Code,
    InvalidBlock,
    LocalFault,
    TransientFault,
)
from minervas_core.finality.trial import may_justify
from minervas_core.finality.votes import VoteBody
from minervas_core.genesis import Genesis, Parameters
from minervas_core.governance.parameters import active_parameters, check_rules_known
from minervas_core.holding import orphan_buffer, postponed_buffer
from minervas_core.reorganisation import (
    BranchRefused,
    ConnectedBlock,
    RulesUnknown,
    TipChange,
    move_state,
    walk_state,
)
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import BlockUndo, ChainState
from minervas_core.timing import check_not_from_future, earliest_time_ms, is_from_future
from minervas_core.tree import Ballot, BlockTree, HeaderNode, fork_key, is_better
from minervas_core.validation import (
    check_block_body,
    check_header,
    check_miner,
    check_orphan,
    expected_difficulty,
    follows_from_hash,
)

__all__ = [
    "BlockOutcome",
    "BlockStatus",
    "Chain",
    "ConnectedBlock",
    "Landmarks",
    "LoadBlock",
    "LoadUndo",
    "RestoredNode",
    "StoredBlock",
    "TipChange",
]

MAX_HEADERS_AHEAD = 2_000
"""Headers beyond verified bodies (design section 5, sync): a liar costs us no more than this before bodies tell."""

LoadBlock = Callable[[str], bytes]
"""Canonical bytes of a stored block by hash."""
LoadUndo = Callable[[str], BlockUndo]
"""Undo data of a stored main chain block by hash."""


class Chain:
    """The block tree, the state at its tip, and the blocks that can not be judged yet."""

    def __init__(
        self, genesis: Genesis, tree: BlockTree, state: ChainState, load_block: LoadBlock, load_undo: LoadUndo
    ) -> None:
        self.genesis = genesis
        self.tree = tree
        self.state = state
        self.signatures = SignatureCache(genesis)
        """Shared with the mempool, so that a transaction's signature is verified once."""
        self.justified: HeaderNode = tree.root
        """Highest checkpoint that any chain which we followed proved justified: the fork choice starts here."""
        self.final: HeaderNode = tree.root
        """Highest final checkpoint: neither it nor anything before it is ever undone."""
        self._load_block = load_block
        self._load_undo = load_undo
        self._orphans = orphan_buffer()
        self._postponed = postponed_buffer()

    @classmethod
    def fresh(cls, genesis: Genesis, load_block: LoadBlock, load_undo: LoadUndo) -> Chain:
        """A chain that knows only genesis."""
        return cls(genesis, BlockTree(genesis), ChainState.fresh(genesis), load_block, load_undo)

    @classmethod
    def restore(
        cls,
        genesis: Genesis,
        nodes: Iterable[RestoredNode],
        state: ChainState,
        load_block: LoadBlock,
        load_undo: LoadUndo,
        *,
        landmarks: Landmarks,
    ) -> Chain:
        """The chain as it was stored, without checking the rules again.

        Args:
            genesis: the consortium's genesis.
            nodes: all stored blocks, in any order of equal heights, lower ones first.
            state: the stored state.
            load_block: reads a stored block.
            load_undo: reads a main chain block's undo data.
            landmarks: `Chain.landmarks` as they were.

        Raises:
            LocalFault: ``audit_mismatch`` if blocks, work and state do not belong together.
        """
        tree = restore_tree(genesis, nodes, state)
        chain = cls(genesis, tree, state, load_block, load_undo)
        chain.justified = stored_checkpoint(tree, landmarks.justified)
        chain.final = stored_checkpoint(tree, landmarks.final)
        return chain

    @property
    def landmarks(self) -> Landmarks:
        """The checkpoints that the fork choice starts from, to be stored with the state."""
        return Landmarks(self.justified.hash, self.final.hash)

    @property
    def tip(self) -> HeaderNode:
        """Head of the best valid chain: the block after which `state` is."""
        return self.tree.tip

    @property
    def parameters(self) -> Parameters:
        """The parameters by which the block after the tip is judged."""
        return active_parameters(self.state.governance, self.genesis)

    def next_difficulty(self) -> int:
        """Difficulty of the block that follows the tip."""
        return expected_difficulty(self.tip, self.genesis.parameters)

    def may_mine(self, member: str, now_ms: int) -> bool:
        """Whether a block that `member` made now on the tip would be accepted, by the roster at the tip."""
        time_ms = earliest_time_ms(now_ms, self.tip.time_ms)
        try:
            check_rules_known(self.state.governance)
            check_miner(self.state.roster, member, time_ms, self.tip, self.parameters)
        except (InvalidBlock, LocalFault):
            return False
        return True

    def receive_block(self, block: Block, now_ms: int) -> BlockOutcome:
        """Take in a block from anybody, with the orphans that it releases. Never raises for a bad block."""
        node = self.tree.get(block.hash)
        if node is not None and node.state == "body":
            return self._receive_known(node)
        arrival = Arrival()
        status = self._take(block, now_ms, arrival)
        if status is not None:
            return BlockOutcome(status, block.hash, arrival.faults.get(block.hash), invalid=tuple(arrival.invalid))
        self._release_orphans(block, now_ms, arrival)
        change = self._choose(arrival)
        return self._outcome(block, arrival, change)

    def _receive_known(self, node: HeaderNode) -> BlockOutcome:
        """A block that is here may lead all the same, if the rules for it have come with a newer software."""
        if not self._is_candidate(node):
            return BlockOutcome("known", node.hash)
        arrival = Arrival(nodes=[node])
        change = self._choose(arrival)
        return BlockOutcome(
            "known",
            node.hash,
            change=change,
            invalid=tuple(arrival.invalid),
            discarded=tuple(arrival.discarded),
            refused=tuple(arrival.faults.items()),
        )

    def receive_headers(self, headers: Sequence[Header], now_ms: int) -> int:
        """Take in consecutive headers, oldest first, while syncing; returns how many were new.

        Stops without error at a header from the future and at `MAX_HEADERS_AHEAD` beyond verified bodies.

        Raises:
            InvalidBlock: ``block_unknown_parent`` (also if one does not follow the other), ``block_invalid_parent``,
                ``block_known_invalid``, ``block_before_final``, or a code of `check_header`; headers before the bad
                one stay.
        """
        before, ahead = len(self.tree), -1
        previous = headers[0].prev if headers else ""
        for header in headers:
            block_hash = header.hash()
            if header.prev != previous:
                raise InvalidBlock(Code.BLOCK_UNKNOWN_PARENT, "Headers that do not follow each other", hash=block_hash)
            previous = block_hash
            node = self.tree.get(block_hash)
            if node is None:
                parent = self._valid_parent(header)
                ahead = self.tree.bodiless_depth(parent) if ahead < 0 else ahead
                if ahead >= MAX_HEADERS_AHEAD or is_from_future(header, now_ms, self.genesis.parameters):
                    break
                check_header(header, block_hash, parent, self.genesis)
                self.tree.add(header, block_hash, parent)
                ahead += 1
            elif node.state == "invalid":
                raise _known_invalid(block_hash)
        added = len(self.tree) - before
        self.tree.limit_bodiless()
        return added

    def missing_bodies(self, limit: int) -> list[str]:
        """Hashes of blocks to fetch along the best header chain, oldest first."""
        missing = (node.hash for node in self.tree.missing_bodies() if node.hash not in self._orphans)
        return [block_hash for block_hash, _ in zip(missing, range(limit), strict=False)]

    def forget_bodiless(self) -> int:
        """Give up headers whose bodies nobody delivers; returns how many were dropped."""
        return self.tree.forget_bodiless()

    def release_postponed(self, now_ms: int) -> list[Block]:
        """Remove and return the blocks that are no longer from the future; hand them to `receive_block` again."""
        return self._postponed.take(lambda block: not is_from_future(block.header, now_ms, self.genesis.parameters))

    @property
    def held_blocks(self) -> tuple[int, int]:
        """How many orphans and how many postponed blocks wait."""
        return len(self._orphans), len(self._postponed)

    def _take(self, block: Block, now_ms: int, arrival: Arrival) -> BlockStatus | None:
        """Check a block by itself and add it to the tree; None if it is in, otherwise what became of it."""
        try:
            self._accept(block, now_ms, arrival)
        except InvalidBlock as error:
            arrival.faults[block.hash] = error
            return "refused"
        except BlockFromTheFuture as error:
            arrival.faults[block.hash] = error
            self._postponed.hold(block)
            return "postponed"
        except TransientFault as error:
            arrival.faults[block.hash] = error
            self._orphans.hold(block)
            return "orphan"
        return None

    def _accept(self, block: Block, now_ms: int, arrival: Arrival) -> None:
        header = block.header
        node = self.tree.get(block.hash)
        if node is not None and node.state == "invalid":
            raise _known_invalid(block.hash)
        parent = self.tree.get(header.prev)
        if parent is None or parent.state == "header":
            check_orphan(block, self.genesis)
            raise TransientFault(Code.BLOCK_UNKNOWN_PARENT, "Its predecessor is not here yet", prev=header.prev)
        self._check_above_final(parent)
        if node is None:
            check_header(header, block.hash, self._valid_parent(header), self.genesis)
        try:
            check_block_body(block, self.signatures)
        except InvalidBlock as error:
            if follows_from_hash(error):
                node = node or self.tree.add(header, block.hash, parent)
                arrival.invalid += [each.hash for each in self.tree.mark_invalid(node)]
            raise
        check_not_from_future(header, now_ms, self.genesis.parameters)
        if node is None:
            node = self.tree.add(header, block.hash, parent)
        else:
            arrival.announced.add(block.hash)
        self.tree.set_body(node)
        node.ballots, node.tried = tuple(_ballot(vote.body) for vote in block.votes), ()
        arrival.fresh[block.hash] = block
        arrival.nodes.append(node)

    def _valid_parent(self, header: Header) -> HeaderNode:
        parent = self.tree.get(header.prev)
        if parent is None:
            raise InvalidBlock(Code.BLOCK_UNKNOWN_PARENT, "Its predecessor is unknown", prev=header.prev)
        if parent.state == "invalid":
            raise InvalidBlock(Code.BLOCK_INVALID_PARENT, "Built on an invalid block", prev=header.prev)
        self._check_above_final(parent)
        return parent

    def _check_above_final(self, parent: HeaderNode) -> None:
        """Refuse a block that could only join the chain if a final one left it; that says nothing about the block."""
        if not self.tree.descends(parent, self.final):
            raise InvalidBlock(
                Code.BLOCK_BEFORE_FINAL,
                "Its chain does not have the final block",
                prev=parent.hash,
                final=self.final.hash,
                final_height=self.final.height,
            )

    def _release_orphans(self, block: Block, now_ms: int, arrival: Arrival) -> None:
        """Take in the orphans above a block that is in now."""
        queue = deque([block.hash])
        while queue:
            for child in self._orphans.take_children(queue.popleft()):
                if self._take(child, now_ms, arrival) is None:
                    queue.append(child.hash)

    def _choose(self, arrival: Arrival) -> TipChange | None:
        """Move to the best chain that has the highest justified checkpoint, if that is not the one we have.

        Only new blocks can make another chain the best: either one of them heads it, or their votes prove a checkpoint
        justified, and then the best of all that have this checkpoint leads. If one does not connect, the next best is
        tried, which may be a valid predecessor of the bad block. A branch under rules that we do not have is followed
        as far as we can judge it.
        """
        before = self.justified
        self._look_for_justified(arrival)
        anywhere = self.justified is not before
        judged: dict[str, HeaderNode] = {}
        while (node := self._best_candidate(arrival, judged, anywhere=anywhere)) is not None:
            try:
                change = move_state(
                    self.state,
                    self.tree,
                    node,
                    self.genesis,
                    block_of=lambda wanted: arrival.fresh.get(wanted.hash) or self._stored(wanted),
                    undo_of=self._load_undo,
                )
            except BranchRefused as refusal:
                self._refuse(refusal, arrival)
            except RulesUnknown as stop:
                judged[node.hash] = stop.last_known
            else:
                self.tree.move_tip(node)
                self._note_finality()
                return change
        return None

    def _best_candidate(
        self, arrival: Arrival, judged: Mapping[str, HeaderNode], *, anywhere: bool
    ) -> HeaderNode | None:
        """The best block to move to, of the new ones or of all heads; also heads change when a block is refused.

        `judged` has the last block that we can judge, by the hash of a head that is beyond it.
        """
        heads = [*arrival.nodes, *self.tree.heads_with_body()] if anywhere else arrival.nodes
        reachable = (judged.get(head.hash, head) for head in heads)
        return max(filter(self._is_candidate, reachable), key=fork_key, default=None)

    def _is_candidate(self, node: HeaderNode) -> bool:
        """Whether a block should be the tip, as far as can be said before it connects."""
        if self.tree.get(node.hash) is not node or node.state != "body" or not self.tree.descends(node, self.justified):
            return False
        return is_better(node, self.tip) or not self.tree.descends(self.tip, self.justified)

    def _look_for_justified(self, arrival: Arrival) -> None:
        """Find out whether the votes on a new side branch justify a higher checkpoint than any that we know.

        Only the state along the branch can tell who may vote there, so the branch is connected for a trial.
        """
        tried: list[HeaderNode] = []
        for node in sorted(arrival.nodes, key=lambda each: each.height, reverse=True):
            if any(self.tree.descends(each, node) for each in tried) or not self._deserves_trial(node):
                continue
            layer = self.state.scratch()
            try:
                walk_state(
                    layer,
                    self.tree,
                    node,
                    self.genesis,
                    block_of=lambda wanted: arrival.fresh.get(wanted.hash) or self._stored(wanted),
                    undo_of=self._load_undo,
                )
            except BranchRefused as refusal:
                self._refuse(refusal, arrival)
                continue
            except RulesUnknown:
                pass  # what the branch proves up to there counts
            tried.append(node)
            before = self.justified
            self._note_justified(layer)
            if self.justified is not before:
                node.tried = ()

    def _deserves_trial(self, node: HeaderNode) -> bool:
        if node.state != "body" or self.tree.is_main(node) or not node.ballots:
            return False
        if self._is_candidate(node) or not self.tree.descends(node, self.final):
            return False
        return may_justify(node, self.tree, self.state, above=self.justified.height)

    def _note_finality(self) -> None:
        """Remember what the chain that we follow proves."""
        self._note_justified(self.state)
        final = self.tree.get(self.state.finality.head(self.genesis.hash).final.hash)
        if final is not None and final.height > self.final.height:
            self.final = final

    def _note_justified(self, state: ChainState) -> None:
        highest = self.tree.get(state.finality.head(self.genesis.hash).justified.hash)
        if highest is not None and highest.height > self.justified.height:
            self.justified = highest

    def _refuse(self, refusal: BranchRefused, arrival: Arrival) -> None:
        """Take a block that does not connect out of the running, with everything above it.

        A wrong signature tells nothing about the block: it goes without a trace, or, if its header was announced
        before, its body is waited for again.
        """
        node = refusal.node
        arrival.faults[node.hash] = refusal.error
        if follows_from_hash(refusal.error):
            gone = self.tree.mark_invalid(node)
            arrival.invalid += [each.hash for each in gone]
        else:
            gone = self.tree.drop_bodies(node)
            arrival.discarded += [each.hash for each in gone if each.hash not in arrival.fresh]
            if node.hash not in arrival.announced:
                self.tree.forget(node)
        for each in gone:
            parent_lost = InvalidBlock(Code.BLOCK_INVALID_PARENT, "Built on a refused block", prev=each.header.prev)
            arrival.faults.setdefault(each.hash, parent_lost)

    def _outcome(self, block: Block, arrival: Arrival, change: TipChange | None) -> BlockOutcome:
        kept = [node for node in arrival.nodes if self.tree.get(node.hash) is node and node.state == "body"]
        own = self.tree.get(block.hash)
        error = arrival.faults.get(block.hash)
        status: BlockStatus = "refused"
        if own is not None and error is None:
            status = "connected" if self.tree.is_main(own) else "side_branch"
        return BlockOutcome(
            status,
            block.hash,
            error,
            stored=tuple(StoredBlock(arrival.fresh[node.hash], node.work, node.order) for node in kept),
            change=change,
            invalid=tuple(arrival.invalid),
            discarded=tuple(arrival.discarded),
            refused=tuple((each, fault) for each, fault in arrival.faults.items() if each != block.hash),
        )

    def _stored(self, node: HeaderNode) -> Block:
        return decode_block(self._load_block(node.hash))


def _ballot(body: VoteBody) -> Ballot:
    return Ballot(body.source.height, body.target.height, body.voter)


def _known_invalid(block_hash: str) -> InvalidBlock:
    return InvalidBlock(Code.BLOCK_KNOWN_INVALID, "Found invalid before", hash=block_hash)
