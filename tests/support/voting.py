"""Chains that vote: blocks with votes, and rounds of votes that justify and finalise checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from minervas_core.blocks import Block, Header, assemble_block, sign_block_hash, votes_root
from minervas_core.finality.state import CheckpointRecord, Finality, FinalityHead, Voter
from minervas_core.finality.votes import Checkpoint, Target, Vote, VoteBody, sign_vote, vote_order
from minervas_core.genesis import Genesis, Parameters
from minervas_core.keys import SigningKey
from minervas_core.transactions import Transaction, block_order
from minervas_core.tree import HeaderNode
from tests.support.builders import NETWORK, TINY, LocalChain, admit, block_key, find_nonce, make_draft, vote_key

VOTING = msgspec.structs.replace(
    TINY, vote_interval=3, diversity_per_mille=0, max_expiry_blocks=1_000, max_block_transactions=40
)
"""`TINY` for chains in which anybody mines when he likes, with a checkpoint every three blocks."""

INTERVAL = VOTING.vote_interval


def voter(member: str) -> Voter:
    """A member as a voter under its own key."""
    return Voter(member=member, vote_key=vote_key(member).public)


def make_vote(
    member: str,
    source: Checkpoint,
    target: Checkpoint,
    *,
    network: str = NETWORK,
    key: SigningKey | None = None,
) -> Vote:
    """A vote of a member, signed with its own key or another."""
    body = VoteBody(network=network, voter=member, source=source, target=Target(height=target.height, hash=target.hash))
    return sign_vote(body, key or vote_key(member))


def sign_voting_block(
    header: Header, transactions: Sequence[Transaction], votes: Sequence[Vote], *, signer: str = ""
) -> Block:
    """Sign a header as its miner, or as somebody else, over a content with votes."""
    signature = sign_block_hash(header.hash(), header.network, block_key(signer or header.miner))
    return assemble_block(header, signature, transactions, votes)


def mine_voting_block(
    parent: HeaderNode,
    miner: str,
    genesis: Genesis,
    *,
    votes: Iterable[Vote] = (),
    transactions: Iterable[Transaction] = (),
    keep_order: bool = False,
    time_ms: int = 0,
    start: int = 0,
) -> Block:
    """A block with votes, in block order unless told otherwise; whether it connects is up to the caller."""
    ordered = sorted(transactions, key=block_order)
    listed = list(votes) if keep_order else sorted(votes, key=vote_order)
    draft = make_draft(parent, ordered, miner, genesis, time_ms=time_ms)
    draft = msgspec.structs.replace(draft, votes_root=votes_root(listed))
    return sign_voting_block(find_nonce(draft, start=start), ordered, listed)


class VotingChain(LocalChain):
    """A `LocalChain` whose members are admitted by block 1 and vote when they are told to."""

    def __init__(self, members: Iterable[str] = (), *, parameters: Parameters = VOTING) -> None:
        super().__init__(parameters)
        self.members = sorted(members)
        if self.members:
            self.extend(self.members[0], [admit(each) for each in self.members])

    @property
    def finality(self) -> Finality:
        """In the state of the tip."""
        return self.chain.state.finality

    @property
    def head(self) -> FinalityHead:
        """How far the tip's chain has come."""
        return self.finality.head(self.genesis.hash)

    @property
    def reached(self) -> tuple[int, int]:
        """Heights of the highest justified and the highest final checkpoint of the tip's chain."""
        return self.head.justified.height, self.head.final.height

    def checkpoint(self, height: int) -> Checkpoint:
        """The main chain's block at a height, or genesis, as a source or target."""
        node = self.chain.tree.main_at(height)
        assert node is not None, height
        return Checkpoint(height=height, hash=node.hash)

    def record(self, height: int) -> CheckpointRecord:
        """What the state knows of a checkpoint."""
        found = self.finality.checkpoint(height)
        assert found is not None, height
        return found

    def votes(self, source: int, target: int, members: Iterable[str] | None = None) -> list[Vote]:
        """Votes of members, or of all, between checkpoints of the main chain."""
        ends = self.checkpoint(source), self.checkpoint(target)
        return [make_vote(member, *ends) for member in (self.members if members is None else members)]

    def mine_votes(
        self,
        votes: Iterable[Vote] = (),
        transactions: Iterable[Transaction] = (),
        *,
        on: HeaderNode | Block | None = None,
        miner: str = "",
        keep_order: bool = False,
        start: int = 0,
    ) -> Block:
        """Mine a block with votes, on the tip unless told otherwise, without handing it in."""
        parent = self.node(on) if isinstance(on, Block) else on or self.tip
        return mine_voting_block(
            parent,
            miner or self.members[0],
            self.genesis,
            votes=votes,
            transactions=transactions,
            keep_order=keep_order,
            start=start,
        )

    def add(
        self,
        votes: Iterable[Vote] = (),
        transactions: Iterable[Transaction] = (),
        *,
        on: HeaderNode | Block | None = None,
        start: int = 0,
    ) -> Block:
        """Mine a block with votes and hand it in; it must be taken."""
        block = self.mine_votes(votes, transactions, on=on, start=start)
        outcome = self.receive(block)
        assert outcome.status in {"connected", "side_branch"}, outcome
        return block

    def grow_to(self, height: int) -> None:
        """Blocks without votes up to a height."""
        while self.tip.height < height:
            self.add()

    def justify(self, source: int, target: int, members: Iterable[str] | None = None) -> Block:
        """Grow until the target stands, and carry the votes of members, or of all, in the next block."""
        self.grow_to(target)
        return self.add(self.votes(source, target, members))
