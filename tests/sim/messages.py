"""What the simulated nodes say to each other: the kinds of gossip and of sync, with decoded objects for content.

Encoding is not simulated: what a node sends is immutable and has its canonical bytes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.blocks import Block, Header
from minervas_core.finality.votes import Vote
from minervas_core.transactions import Transaction


@dataclass(frozen=True, slots=True)
class TransactionMessage:
    """Gossip: a new transaction."""

    transaction: Transaction

    def __str__(self) -> str:
        return f"transaction {self.transaction.kind} {self.transaction.id[:12]}"


@dataclass(frozen=True, slots=True)
class BlockMessage:
    """Gossip: a new block."""

    block: Block

    def __str__(self) -> str:
        header = self.block.header
        return f"block {header.height} {self.block.hash[:12]} on {header.prev[:12]} by {header.miner}"


@dataclass(frozen=True, slots=True)
class TipMessage:
    """A node's tip, told from time to time as presence does."""

    claim: tuple[int, ...]
    """How good its chain is, by the fork choice; larger is better."""

    def __str__(self) -> str:
        return f"tip {self.claim}"


@dataclass(frozen=True, slots=True)
class HeadersRequest:
    """Sync: headers that follow a locator."""

    locator: tuple[str, ...]

    def __str__(self) -> str:
        return f"headers after {[each[:12] for each in self.locator[:2]]}"


@dataclass(frozen=True, slots=True)
class HeadersReply:
    """Sync: consecutive headers of the sender's best chain."""

    headers: tuple[Header, ...]

    def __str__(self) -> str:
        return f"{len(self.headers)} headers"


@dataclass(frozen=True, slots=True)
class BodiesRequest:
    """Sync: blocks by hash."""

    hashes: tuple[str, ...]

    def __str__(self) -> str:
        return f"bodies of {[each[:12] for each in self.hashes]}"


@dataclass(frozen=True, slots=True)
class BodiesReply:
    """Sync: those of the blocks that the sender has."""

    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"{len(self.blocks)} bodies"


@dataclass(frozen=True, slots=True)
class VoteMessage:
    """Gossip: a vote."""

    vote: Vote

    def __str__(self) -> str:
        body = self.vote.body
        source, target = body.source, body.target
        return f"vote {body.voter} {source.height} {source.hash[:12]} -> {target.height} {target.hash[:12]}"


@dataclass(frozen=True, slots=True)
class VotesRequest:
    """Which votes of mine do you know?"""

    member: str

    def __str__(self) -> str:
        return f"votes of {self.member}?"


@dataclass(frozen=True, slots=True)
class VotesReply:
    """Those that the sender knows."""

    votes: tuple[Vote, ...]

    def __str__(self) -> str:
        return f"{len(self.votes)} votes"


VotingMessage = VoteMessage | VotesRequest | VotesReply
SyncMessage = TipMessage | HeadersRequest | HeadersReply | BodiesRequest | BodiesReply
Message = TransactionMessage | BlockMessage | VotingMessage | SyncMessage
