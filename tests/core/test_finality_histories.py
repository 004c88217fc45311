"""Random histories of votes on branches: state and undo data are those of a replay, and nothing final is ever undone.

Members vote as they like here, also against the rules of honest voters, so that branches become final that contradict
each other; a node keeps to the one that it knew first.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minervas_core.audit import replay
from minervas_core.blocks import Block, assemble_block, decode_block, sign_block_hash, votes_root
from minervas_core.chain import BlockOutcome, Chain, RestoredNode
from minervas_core.errors import InvalidTransaction, InvalidVote
from minervas_core.finality.rules import choose_votes
from minervas_core.finality.votes import Checkpoint, Target, Vote, VoteBody, sign_vote, vote_order
from minervas_core.state import ChainState, apply_block
from minervas_core.transactions import Membership, Transaction
from minervas_core.tree import HeaderNode, fork_key
from tests.support.builders import (
    MARKET,
    NETWORK,
    LocalChain,
    admit,
    block_key,
    find_nonce,
    make_draft,
    revoke,
    signing_key,
)
from tests.support.examples import examples

FOUNDERS = ("a", "b", "c", "d")
MEMBERS = (*FOUNDERS, "e", "f")
CLOSE = msgspec.structs.replace(MARKET, vote_interval=2)
"""Every other block is a checkpoint."""

voter_sets = st.sampled_from([FOUNDERS, FOUNDERS[:3], FOUNDERS[1:], ("a", "b"), ("c",), (), MEMBERS, MEMBERS])
growth = st.tuples(voter_sets, st.integers(0, 3), st.integers(0, 9), st.sampled_from(MEMBERS))
"""Who votes from which justified checkpoint, what else happens, and to whom."""


class Voting(RuleBasedStateMachine):
    """One node, fed with blocks of many branches, in any order, with votes that justify and finalise on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.local = LocalChain(CLOSE)
        self.genesis = self.local.genesis
        root = self.local.chain.tree.root
        self.nodes: dict[str, HeaderNode] = {root.hash: root}
        """Every block ever made, as a tree of its own."""
        self.states = {root.hash: ChainState.fresh(self.genesis)}
        """The state after each valid block, reached without undoing anything."""
        self.blocks: dict[str, Block] = {}
        self.delivered: set[str] = set()
        self.final = root.hash
        self.changing = False

    # what the machine does

    @initialize(changing=st.booleans())
    def found(self, changing: bool) -> None:
        self.changing = changing
        block = self.make(self.nodes[self.genesis.hash], [admit(each, expires=900) for each in FOUNDERS], ())
        self.deliver(block)

    @rule(data=st.data(), blocks=st.lists(growth, min_size=2, max_size=6), held=st.integers(0, 9))
    def grow_a_branch(
        self, data: st.DataObject, blocks: list[tuple[tuple[str, ...], int, int, str]], held: int
    ) -> None:
        """Valid blocks upon one of the newest; perhaps one of them is only delivered later."""
        valid = [node for node in map(self.nodes.__getitem__, self.states) if node.height > 0]
        newest = sorted(valid, key=lambda each: (-each.height, each.hash))[:6]
        parent = data.draw(st.sampled_from(newest))
        for number, (voters, source, happens, member) in enumerate(blocks):
            changes = [self.change(parent, member)] if happens == 0 and self.changing else []
            block = self.make(parent, changes, self.votes(parent, voters, source))
            if block.hash not in self.states:
                return
            parent = self.nodes[block.hash]
            if number != held:
                self.deliver(block)

    @rule(data=st.data(), member=st.sampled_from(MEMBERS), heights=st.tuples(st.integers(0, 8), st.integers(1, 4)))
    def carry_any_vote(self, data: st.DataObject, member: str, heights: tuple[int, int]) -> None:
        """A block with a vote that breaks some rule more often than not."""
        parent = self.nodes[data.draw(st.sampled_from(sorted(self.states.keys() - {self.genesis.hash})))]
        source, target = (self.at(parent, 2 * height) for height in (heights[0], sum(heights)))
        if source is not None and target is not None:
            self.deliver(self.make(parent, [], [link(member, source, target)]))

    @precondition(lambda self: len(self.delivered) < len(self.blocks))
    @rule(data=st.data())
    def deliver_a_held_block(self, data: st.DataObject) -> None:
        self.deliver(self.blocks[data.draw(st.sampled_from(sorted(set(self.blocks) - self.delivered)))])

    @rule()
    def restart(self) -> None:
        chain, store = self.local.chain, self.local.store
        nodes = [node for node in map(chain.tree.get, store.blocks) if node is not None]
        restored = [
            RestoredNode(node.header, node.hash, node.work, node.state == "body", node.state == "invalid", node.order)
            for node in sorted(nodes, key=lambda each: each.height)
        ]
        self.local.chain = Chain.restore(
            self.genesis, restored, copy(chain.state), store.load_block, store.load_undo, landmarks=chain.landmarks
        )

    # what must always hold

    @invariant()
    def the_state_is_the_one_without_any_undoing(self) -> None:
        assert self.chain.state.snapshot() == self.states[self.chain.tip.hash].snapshot()

    @invariant()
    def nothing_final_is_undone(self) -> None:
        chain = self.chain
        before = chain.tree.get(self.final)
        assert before is not None
        assert chain.tree.descends(chain.final, before)
        assert chain.tree.descends(chain.tip, chain.final)
        self.final = chain.final.hash

    @invariant()
    def what_the_chain_proves_is_known(self) -> None:
        head = self.chain.state.finality.head(self.genesis.hash)
        assert self.chain.final.hash == head.final.hash
        assert self.chain.justified.height >= head.justified.height >= head.final.height
        assert self.chain.tree.descends(self.chain.tip, self.chain.justified)

    @invariant()
    def no_valid_chain_with_the_justified_checkpoint_is_better_than_ours(self) -> None:
        tree = self.chain.tree
        for node in filter(None, map(tree.get, self.states)):
            if node.state == "body" and tree.descends(node, self.chain.justified):
                assert fork_key(node) <= fork_key(self.chain.tip)

    @invariant()
    def a_chain_that_proves_a_higher_justified_checkpoint_is_followed(self) -> None:
        """While members come and go a branch may have to wait for its trial (`finality.trial`)."""
        if self.changing:
            return
        tree = self.chain.tree
        for node in filter(None, map(tree.get, self.states)):
            if node.state == "body" and tree.descends(node, self.chain.final):
                proved = self.states[node.hash].finality.head(self.genesis.hash).justified
                assert proved.height <= self.chain.justified.height

    def teardown(self) -> None:
        """In the end the chain is audited, and all undo data with it."""
        raws = [self.local.store.blocks[node.hash] for node in self.chain.tip.blocks()][::-1]
        undo = self.local.store.undo
        assert undo == {each.block.hash: each.undo for each in replay(self.genesis, raws)}

    # helpers

    @property
    def chain(self) -> Chain:
        return self.local.chain

    def at(self, node: HeaderNode, height: int) -> HeaderNode | None:
        return next((each for each in node.chain() if each.height == height), None)

    def change(self, parent: HeaderNode, member: str) -> Transaction:
        known = self.states[parent.hash].roster.get(member) is not None
        return revoke(member, expires=900) if known else admit(member, expires=900)

    def votes(self, parent: HeaderNode, voters: Iterable[str], source: int) -> tuple[Vote, ...]:
        """Those of the votes for the newest checkpoint, from a justified one, that the next block can carry."""
        state = self.states[parent.hash]
        target = self.at(parent, parent.height // 2 * 2)
        sources = [self.nodes[self.genesis.hash]] + [
            node for node in parent.blocks() if (record := state.finality.checkpoint(node.height)) and record.justified
        ]
        start = min(sources, key=lambda each: abs(parent.height - 2 * source - each.height))
        if target is None or target.height <= start.height:
            return ()
        made = [link(member, start, target) for member in voters]
        return choose_votes(state.scratch().finality, made, parent.height + 1, self.genesis, 50)

    def make(self, parent: HeaderNode, transactions: list[Transaction], votes: Iterable[Vote]) -> Block:
        """A block by a member that may mine, known to the machine, with its state if it is valid."""
        carried = sorted(votes, key=vote_order)
        state = self.states[parent.hash]
        gone = {each.body.change.member for each in transactions if isinstance(each.body, Membership)}
        miners = [each.member for each in state.roster.active_members() if each.member not in gone] or ["a"]
        draft = make_draft(parent, transactions, miners[len(self.blocks) % len(miners)], self.genesis)
        header = find_nonce(msgspec.structs.replace(draft, votes_root=votes_root(carried)))
        signature = sign_block_hash(header.hash(), header.network, block_key(header.miner))
        block = assemble_block(header, signature, transactions, carried)
        self.blocks[block.hash] = block
        node = HeaderNode(block.hash, header, parent, parent.work + header.difficulty)
        self.nodes.setdefault(block.hash, node)
        after = copy(state)
        layer = after.scratch()
        try:
            apply_block(layer, block, self.genesis)
        except (InvalidVote, InvalidTransaction):
            return block
        layer.commit()
        if after.roster.active(header.miner) is not None:
            self.states[block.hash] = after
        return block

    def deliver(self, block: Block) -> BlockOutcome:
        self.delivered.add(block.hash)
        final_height = self.chain.final.height
        outcome = self.local.receive(decode_block(block.raw))
        for gone in outcome.change.disconnected if outcome.change else ():
            assert gone.header.height > final_height
        return outcome


def link(member: str, source: HeaderNode, target: HeaderNode) -> Vote:
    body = VoteBody(
        network=NETWORK,
        voter=member,
        source=Checkpoint(height=source.height, hash=source.hash),
        target=Target(height=target.height, hash=target.hash),
    )
    return sign_vote(body, signing_key(f"{member}.ledger"))


def copy(state: ChainState) -> ChainState:
    """A state with the same content and nothing shared, as it comes out of a database."""
    rows = state.snapshot()
    return ChainState.restore(
        rows.height,
        rows.tip_hash,
        rows.time_ms,
        members=rows.members,
        recent_ids=rows.recent_ids,
        market=rows.market,
        finality=rows.finality,
        governance=rows.governance,
    )


Voting.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestVoting = Voting.TestCase
