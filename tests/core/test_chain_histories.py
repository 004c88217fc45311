"""Random histories: whatever arrives in whatever order, the chain equals a replay of its best branch from genesis.

`make soak` tries twenty times as many histories.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minervas_core.audit import ReplayedBlock, replay
from minervas_core.blocks import Block, assemble_block, decode_block
from minervas_core.chain import BlockOutcome, Chain, RestoredNode
from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidBlock, LocalFault
from minervas_core.finality.state import Finality
from minervas_core.finality.votes import Checkpoint, Vote
from minervas_core.governance.state import PendingRecovery, used_key_of
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import ChainState
from minervas_core.transactions import Transaction
from minervas_core.tree import HeaderNode
from tests.support.builders import (
    FAR_FUTURE_MS,
    TINY,
    LocalChain,
    admit,
    revoke,
    service_keys,
    vote_key,
)
from tests.support.examples import examples
from tests.support.membership import leave, recover, resume, rotate, suspend, veto, wallet
from tests.support.voting import make_vote, mine_voting_block, sign_voting_block

MEMBERS = ("m0", "m1", "m2", "m3", "m4", "m5")
FOUNDERS = MEMBERS[:4]

members = st.sampled_from(MEMBERS)
CHANGES = ("admit", "revoke", "leave", "suspend", "resume", "rotate", "recover", "veto")
RECOVERY_WAIT_MS = 6_000
PLAIN_CHANGES = {"revoke": revoke, "leave": leave, "suspend": suspend, "resume": resume}
WALLETS = {wallet(member + later).public: member + later for member in MEMBERS for later in ("", "-a", "-b", "-r")}
"""Names by the wallets that members can come to have."""

wild_changes = st.tuples(
    st.sampled_from([*CHANGES, "steal keys"]),
    members,
    st.integers(-1, 7),  # expiry above the including height; -1 and 7 are invalid
    st.sampled_from("ab"),  # two of each kind, so that a block can carry a transaction that another has
)
electorates = st.sampled_from([(), (), FOUNDERS, FOUNDERS[:3], MEMBERS, ("m1", "m4")])
"""Who votes in a block: mostly nobody, or enough for a majority."""
wild_votes = st.tuples(members, st.integers(-6, 0), st.integers(-4, 1))
"""Voter, and source and target above the parent; few are right."""
pauses_ms = st.sampled_from([700, 1_000, 1_500, 10_000])  # the last frees every miner

steps_of_a_branch = st.tuples(pauses_ms, members, st.sampled_from(CHANGES), st.integers(0, 3), electorates)


def as_transaction(kind: str, member: str, expires: int, salt: str) -> Transaction:
    if kind in PLAIN_CHANGES:
        return PLAIN_CHANGES[kind](member, expires=expires, salt=salt)
    if kind == "rotate":
        return rotate(member, f"{member}-{salt}", "wallet", "box", expires=expires)
    asked = recover(member, f"{member}-r", expires=expires, salt=salt)
    if kind in {"recover", "veto"}:
        return asked if kind == "recover" else veto(member, asked, expires=expires)
    keys = service_keys("m0") if kind == "steal keys" else None
    return admit(member, expires=expires, salt=salt, keys=keys)


class Histories(RuleBasedStateMachine):
    """One node, fed with valid and invalid blocks of many branches, in any order."""

    PARAMETERS = msgspec.structs.replace(TINY, vote_interval=2, recovery_wait_ms=RECOVERY_WAIT_MS)

    def __init__(self) -> None:
        super().__init__()
        self.local = LocalChain(self.PARAMETERS)
        self.genesis = self.local.genesis
        self.nodes: dict[str, HeaderNode] = {self.genesis.hash: self.local.chain.tree.root}
        """Every block ever made, as a tree of its own."""
        self.blocks: dict[str, Block] = {}
        self.delivered: set[str] = set()
        self.landmarks = (0, 0)
        """Heights of the highest justified and final checkpoint after the last step."""
        self.replays: dict[str, list[ReplayedBlock] | None] = {}
        self.signatures = SignatureCache(self.genesis)
        self.snapshots = {self.genesis.hash: ChainState.fresh(self.genesis).snapshot()}

    # what the machine does

    @initialize()
    def found(self) -> None:
        self.deliver(
            self.make(self.nodes[self.genesis.hash], FOUNDERS[0], [admit(each) for each in FOUNDERS], [], 1_000)
        )

    @rule(
        data=st.data(),
        steps=st.lists(steps_of_a_branch, min_size=1, max_size=5),
    )
    def grow_a_branch(self, data: st.DataObject, steps: list[tuple[int, str, str, int, tuple[str, ...]]]) -> None:
        """Mostly valid blocks upon one of the newest valid ones, so that branches grow and overtake each other."""
        parent = data.draw(st.sampled_from(self.newest(8, valid=True)))
        for pause_ms, member, kind, changed, voting in steps:
            transactions = [self.fitting_change(parent, member, kind)] if changed < 2 else []
            votes = self.fitting_votes(parent, voting)
            parent = self.mine(parent, self.fitting_miner(parent), transactions, votes, pause_ms, held=changed == 2)

    @rule(
        data=st.data(),
        miner=members,
        wanted=st.lists(wild_changes, max_size=2),
        voted=st.lists(wild_votes, max_size=2),
        pause_ms=pauses_ms,
    )
    def mine_anything(
        self,
        data: st.DataObject,
        miner: str,
        wanted: list[tuple[str, str, int, str]],
        voted: list[tuple[str, int, int]],
        pause_ms: int,
    ) -> None:
        """A block that breaks some rule more often than not."""
        parent = data.draw(st.sampled_from(self.newest(8)))
        height = parent.height + 1
        made = [as_transaction(kind, member, max(height + ahead, 0), salt) for kind, member, ahead, salt in wanted]
        votes = [vote for each in voted if (vote := self.wild_vote(parent, *each)) is not None]
        self.mine(parent, miner, {each.id: each for each in made}.values(), votes, pause_ms)

    @precondition(lambda self: len(self.delivered) < len(self.blocks))
    @rule(data=st.data())
    def deliver_a_held_block(self, data: st.DataObject) -> None:
        held = sorted(set(self.blocks) - self.delivered)
        self.deliver(self.blocks[data.draw(st.sampled_from(held))])

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        self.deliver(self.blocks[data.draw(st.sampled_from(sorted(self.blocks)))])

    @rule(data=st.data())
    def deliver_with_a_wrong_signature(self, data: st.DataObject) -> None:
        block = self.blocks[data.draw(st.sampled_from(sorted(self.blocks)))]
        self.receive(sign_voting_block(block.header, block.transactions, block.votes, signer="nobody"))

    @rule(data=st.data())
    def deliver_with_other_content(self, data: st.DataObject) -> None:
        block = self.blocks[data.draw(st.sampled_from(sorted(self.blocks)))]
        exchanged = [*block.transactions[1:], admit("m5", salt="exchanged")]
        self.receive(assemble_block(block.header, block.signature, exchanged, block.votes))
        if block.votes:
            self.receive(assemble_block(block.header, block.signature, block.transactions, block.votes[1:]))

    @rule(data=st.data())
    def deliver_headers_first(self, data: st.DataObject) -> None:
        node = self.nodes[data.draw(st.sampled_from(sorted(self.blocks)))]
        headers = [each.header for each in node.blocks()][::-1]
        try:
            self.local.chain.receive_headers(headers, FAR_FUTURE_MS)
        except InvalidBlock as error:
            if error.code != Code.BLOCK_BEFORE_FINAL:
                assert any(self.replay_of(each) is None for each in node.blocks())

    @rule()
    def restart(self) -> None:
        tree = self.local.chain.tree
        stored = [tree.get(each) for each in self.local.store.blocks]
        restored = [
            RestoredNode(node.header, node.hash, node.work, node.state == "body", node.state == "invalid", node.order)
            for node in sorted(filter(None, stored), key=lambda each: each.height)
        ]
        old = self.local.chain.state
        state = ChainState.restore(
            old.height,
            old.tip_hash,
            old.time_ms,
            members=old.roster.members(),
            recent_ids=old.recent_ids,
            market=old.market.rows(),
            finality=old.finality.rows(),
            governance=old.governance.rows(),
        )
        store = self.local.store
        landmarks = self.local.chain.landmarks
        self.local.chain = Chain.restore(
            self.genesis, restored, state, store.load_block, store.load_undo, landmarks=landmarks
        )

    # what must always hold

    @invariant()
    def state_equals_a_replay_of_the_main_chain(self) -> None:
        tip = self.local.tip
        replayed = self.replay_of(self.nodes[tip.hash])
        assert replayed is not None, "the main chain is valid"
        assert self.local.chain.state.snapshot() == self.snapshots[tip.hash]
        assert self.local.store.undo == {each.block.hash: each.undo for each in replayed}
        assert tip.work == (replayed[-1].work if replayed else 0)

    @invariant()
    def chain_has_the_highest_checkpoints_that_are_known(self) -> None:
        chain = self.local.chain
        proved = chain.state.finality.head(self.genesis.hash)
        assert chain.tree.descends(chain.tip, chain.justified)
        assert chain.tree.descends(chain.justified, chain.final)
        assert chain.justified.height >= proved.justified.height > proved.final.height or not proved.justified.height
        assert chain.final.height >= proved.final.height
        assert (chain.justified.height, chain.final.height) >= self.landmarks
        self.landmarks = (chain.justified.height, chain.final.height)

    @invariant()
    def no_valid_block_at_hand_is_better_than_the_tip(self) -> None:
        tree, tip = self.local.chain.tree, self.local.tip
        for block_hash in self.local.store.blocks:
            node = tree.get(block_hash)
            if node is None or self.replay_of(self.nodes[block_hash]) is None:
                continue
            assert node.state == "body"
            if tree.descends(node, self.local.chain.justified):
                assert node.work < tip.work or (node.work == tip.work and node.order >= tip.order)

    @invariant()
    def every_delivered_valid_chain_has_its_bodies(self) -> None:
        """A liar with wrong signatures makes us drop blocks, but never refuse the right ones for ever."""
        for block_hash in self.delivered:
            node = self.local.chain.tree.get(block_hash)
            if node is not None and node.state == "invalid":
                assert self.replay_of(self.nodes[block_hash]) is None

    @invariant()
    def the_books_of_the_tree_are_right(self) -> None:
        tree = self.local.chain.tree
        nodes = list(tree._nodes.values())
        parents = [node.parent for node in nodes]
        assert tree.bodiless_count == sum(node.state == "header" for node in nodes)
        assert [node.children for node in nodes] == [parents.count(node) for node in nodes]
        assert set(tree._leaves) == {node.hash for node in nodes if not node.children}
        assert all(node.parent is None or node.parent.state == "body" for node in nodes if node.state == "body")
        assert all(node.state == "invalid" for node in nodes if node.parent and node.parent.state == "invalid")

    def teardown(self) -> None:
        """In the end all blocks are delivered once more, lowest first, as sync does: the best valid one wins."""
        ordered = sorted(self.blocks.values(), key=lambda each: each.header.height)
        for _ in ordered:
            # A wrongly signed copy may have been stored in place of the right one, which is then fetched again. A block
            # of a miner that was admitted under other keys than its own never gets right: hence so many rounds at most.
            if not [block for block in ordered if self.deliver(block).discarded]:
                break
        valid = [self.nodes[each] for each in self.blocks if self.replay_of(self.nodes[each]) is not None]
        justified = self.local.chain.justified
        leading = [node for node in valid if any(each.hash == justified.hash for each in node.chain())]
        if leading:
            assert self.local.tip.work == max(node.work for node in leading)
            self.state_equals_a_replay_of_the_main_chain()

    # helpers

    def newest(self, count: int, *, valid: bool = False) -> list[HeaderNode]:
        nodes = [each for each in self.nodes.values() if not valid or self.replay_of(each) is not None]
        return sorted(nodes, key=lambda each: (-each.height, each.hash))[:count]

    def fitting_change(self, parent: HeaderNode, member: str, kind: str) -> Transaction:
        """A change that mostly applies: the same for one member and height range, so that branches share some."""
        expires = (parent.height // 4 + 1) * 4 + 2
        snapshot = self.snapshots[parent.hash] if self.replay_of(parent) else None
        record = next((each for each in snapshot.members if each.member == member), None) if snapshot else None
        if snapshot is None or record is None:
            return as_transaction("admit", member, expires, "fit")
        wallets = {each.member: WALLETS[each.keys.wallet] for each in snapshot.members}
        pending = {
            row.key: decode(bytes(row.row), PendingRecovery, max_bytes=1_000).transaction
            for row in snapshot.governance
            if row.table == "recoveries" and not isinstance(row.row, msgspec.UnsetType)
        }
        if kind in {"admit", "resume", "veto"} and pending:
            asked = min(pending)
            return veto(wallets[asked], pending[asked], expires=expires)
        keys_used = {row.key for row in snapshot.governance if row.table == "used_keys"}
        if kind == "rotate" or (kind == "recover" and used_key_of(wallet(f"{member}-r").public) in keys_used):
            free = "b" if wallets[member] == f"{member}-a" else "a"
            return rotate(member, f"{member}-{free}", "wallet", "box", signer=wallets[member], expires=expires)
        if kind in {"admit", "resume", "suspend", "veto"}:
            kind = "resume" if record.suspended_height else "suspend"
        return as_transaction(kind, member, expires, "fit")

    def fitting_votes(self, parent: HeaderNode, members: Iterable[str]) -> list[Vote]:
        """Votes that the block after `parent` can carry, for the newest checkpoint up to there."""
        if self.replay_of(parent) is None:
            return []
        finality = Finality()
        finality.put_back(self.snapshots[parent.hash].finality)
        head = finality.head(self.genesis.hash)
        height = parent.height // 2 * 2
        record = finality.checkpoint(height)
        if record is None or height <= head.justified.height:
            return []
        keys = {each.member: each.vote_key for each in record.voters}
        target = Checkpoint(height=height, hash=record.hash)
        return [
            make_vote(each, head.justified, target)
            for each in members
            if keys.get(each) == vote_key(each).public and finality.vote(height, each) is None
        ]

    def wild_vote(self, parent: HeaderNode, member: str, source: int, target: int) -> Vote | None:
        """A vote between any two heights; of the parent's chain, or of none where that does not reach."""
        heights = {node.height: node.hash for node in parent.chain()}
        ends = [max(parent.height + each, 0) for each in (source, target)]
        if ends[0] >= ends[1]:
            return None
        return make_vote(member, *(Checkpoint(height=each, hash=heights.get(each, "ab" * 32)) for each in ends))

    def fitting_miner(self, parent: HeaderNode) -> str:
        """An active member that was not the miner of the last block."""
        if self.replay_of(parent) is None:
            return MEMBERS[0]
        active = [each.member for each in self.snapshots[parent.hash].members if each.status == "active"]
        return next((each for each in active if each != parent.header.miner), MEMBERS[0])

    def mine(
        self,
        parent: HeaderNode,
        miner: str,
        transactions: Iterable[Transaction],
        votes: Iterable[Vote],
        pause_ms: int,
        *,
        held: bool = False,
    ) -> HeaderNode:
        block = self.make(parent, miner, transactions, votes, pause_ms)
        if not held:
            self.deliver(block)
        return self.nodes[block.hash]

    def make(
        self,
        parent: HeaderNode,
        miner: str,
        transactions: Iterable[Transaction],
        votes: Iterable[Vote],
        pause_ms: int,
    ) -> Block:
        block = mine_voting_block(
            parent, miner, self.genesis, votes=votes, transactions=transactions, time_ms=parent.time_ms + pause_ms
        )
        self.blocks[block.hash] = block
        self.nodes.setdefault(
            block.hash, HeaderNode(block.hash, block.header, parent, parent.work + block.header.difficulty)
        )
        return block

    def deliver(self, block: Block) -> BlockOutcome:
        self.delivered.add(block.hash)
        return self.receive(decode_block(block.raw))

    def receive(self, block: Block) -> BlockOutcome:
        before = self.main_transactions()
        outcome = self.local.receive(block)
        after = self.main_transactions()
        assert {each.id for each in outcome.returned} == before - after
        self.check_told_consistently(outcome)
        return outcome

    def check_told_consistently(self, outcome: BlockOutcome) -> None:
        tree = self.local.chain.tree
        if outcome.status == "connected":
            node = tree.get(outcome.hash)
            assert node is not None
            assert tree.is_main(node)
            assert outcome.change is not None
        assert (outcome.error is None) == (outcome.status in {"connected", "side_branch", "known"})

    def main_transactions(self) -> set[str]:
        blocks = (self.blocks[node.hash] for node in self.local.tip.blocks())
        return {transaction.id for block in blocks for transaction in block.transactions}

    def replay_of(self, node: HeaderNode) -> list[ReplayedBlock] | None:
        """The node's chain replayed from genesis; None if a rule refuses it, or if we do not have its rules."""
        if node.height == 0:
            return []
        if node.hash not in self.replays:
            raws = [self.blocks[each.hash].raw for each in node.blocks()][::-1]
            try:
                replayed = list(replay(self.genesis, raws, self.signatures))
            except (InvalidBlock, LocalFault):
                self.replays[node.hash] = None
            else:
                self.replays[node.hash] = replayed
                self.snapshots[node.hash] = replayed[-1].state.snapshot()
        return self.replays[node.hash]


Histories.TestCase.settings = settings(max_examples=examples(80), stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase
