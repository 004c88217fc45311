"""Shapes of the API's answers, as they stand in its OpenAPI description.

Times are milliseconds since 1970 (UTC), hashes and keys lower-case hex, ``work`` a hex number (it may pass 2^53).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Error(BaseModel):
    """Every answer with a status of 400 or more."""

    code: str = Field(description="Stable machine-readable reason.", examples=["not_found"])
    message: str = Field(description="One sentence for a person.")
    values: dict[str, str | int | bool] = Field(description="The values that it is about.")


class Tip(BaseModel):
    """Head of somebody's best chain."""

    height: int
    hash: str
    work: str


class SenderKey(BaseModel):
    """Our key for gossip, without its secret."""

    epoch: int
    key_id: str


class Peer(BaseModel):
    """Another member's peer as ours sees it."""

    member: str
    standing: Literal["active", "revoked", "left", "introduced", "unknown"] = Field(
        description="On our own tip; `introduced`: not on it, but it showed an admission by the authority."
    )
    presence: Literal["online", "offline", "unknown"]
    version: str
    tip: Tip | None = Field(description="What it claims; a hint.")
    certificate_expires_ms: int
    their_key: Literal["held", "missing", "unknown"] = Field(description="Whether we can open what it sends.")
    our_key_given: bool = Field(description="Whether it was sent the key that opens what we send.")


class Search(BaseModel):
    """The miner's running search."""

    height: int
    difficulty: int
    tries: int
    elapsed_ms: int
    tries_per_second: int
    lowest_hash: str
    nonce: str


class Checkpoint(BaseModel):
    """A block at a multiple of the vote interval, or genesis."""

    height: int
    hash: str


class LedgerState(BaseModel):
    """What our own ledger says."""

    tip: Tip
    tip_time_ms: int
    difficulty: int = Field(description="Of the next block: expected tries.")
    roster_hash: str
    active_members: int
    mempool_transactions: int
    mempool_bytes: int
    abandoned_searches: int
    reorganisations: int
    side_branches: int
    justified: Checkpoint = Field(description="Highest justified checkpoint.")
    final: Checkpoint = Field(description="Neither it nor anything before it is ever undone.")
    missing_voters: list[str] = Field(description="Members whose votes finality waits for.")
    parameters: dict[str, int | str] = Field(description="By which the next block is judged.")
    authority: str = Field(description="The authority's key; empty while it is that of genesis.")
    unknown_rules_height: int = Field(
        description="First block that this software cannot judge; 0 if none is announced."
    )
    syncing: bool
    refusals: dict[str, int]
    search: Search | None


class Certificate(BaseModel):
    """The certificate with which one of the node's services comes to the broker."""

    service: str
    expires_ms: int
    state: Literal["valid", "renewing", "expired"]


class Renewal(BaseModel):
    """How the renewal of the node's certificates stands."""

    certificates: list[Certificate] = Field(description="Of all services of the node.")
    asked_ms: int = Field(description="When admission was last asked; 0 if it never was.")
    code: str = Field(description="Why it came to nothing; empty if it went well.")
    message: str
    next_ms: int = Field(description="When admission will be asked again; 0 if there is nothing to ask.")


class NewRenewal(BaseModel):
    """Renew certificates now."""

    force: bool = Field(default=False, description="All of them, also those that are not due.")


class Status(BaseModel):
    """The node at a glance."""

    member: str
    node_id: str = Field(description="SHA-256 of the wallet's public key.")
    version: str
    consortium: str
    network: str
    standing: Literal["newcomer", "active", "revoked", "left", "introduced"]
    connected: bool = Field(description="To the broker.")
    bus_refusal: str = Field(description="Why the broker refuses us; empty while it does not.")
    sender_key: SenderKey
    pending_frames: int = Field(description="Frames that wait for their sender's key.")
    refusals: dict[str, int] = Field(description="Refused by this peer since start, by code.")
    ledger: LedgerState | None = Field(description="Null while our own ledger does not answer.")
    peers: list[Peer]
    renewal: Renewal | None = Field(default=None, description="The certificates of this node's services.")


class Recovery(BaseModel):
    """A new wallet that takes the place of a member's, unless the old one objects."""

    wallet: str
    transaction: str
    height: int = Field(description="Block that carries it.")
    effective_ms: int = Field(description="The first block whose predecessor is as late exchanges the wallet.")


class Member(BaseModel):
    """A member on our own tip."""

    member: str
    node_id: str
    status: Literal["active", "revoked", "left"]
    admitted_height: int
    ended_height: int = Field(description="Block that ended the membership; 0 while active.")
    suspended_height: int = Field(description="Block that took its vote away; 0 while it has it.")
    recovery: Recovery | None = Field(description="A recovery of its wallet that waits; null if there is none.")
    keys: dict[str, str] = Field(description="Public keys: wallet, box, block, vote.")


class Members(BaseModel):
    """All members that the chain knows."""

    height: int
    roster_hash: str
    members: list[Member]


class Header(BaseModel):
    """A block's header (design section 5)."""

    version: int
    network: str
    height: int
    prev: str
    tx_root: str
    votes_root: str
    time_ms: int
    difficulty: int
    miner: str
    nonce: str


class BlockSummary(BaseModel):
    """A block in a list."""

    hash: str
    header: Header
    transactions: int
    size_bytes: int
    best_chain: bool
    final: bool = Field(description="Whether it can never be undone.")


class Blocks(BaseModel):
    """Blocks of the best chain, newest first."""

    blocks: list[BlockSummary]


class TransactionContent(BaseModel):
    """A transaction as it was signed."""

    id: str
    type: str
    body: dict[str, Any]
    signature: str


class Vote(BaseModel):
    """A member's vote that one checkpoint follows from another."""

    voter: str
    source: Checkpoint
    target: Checkpoint
    signature: str


class Block(BaseModel):
    """A block with its transactions."""

    hash: str
    best_chain: bool
    depth: int = Field(description="Blocks from here to the tip, both counted; 0 on a side branch.")
    final: bool = Field(description="Whether it can never be undone.")
    work: str = Field(description="Of the chain up to this block.")
    size_bytes: int
    header: Header
    signature: str
    transactions: list[TransactionContent]
    votes: list[Vote]


class Transaction(BaseModel):
    """A transaction and where it stands."""

    state: Literal["queued", "in_block", "final"]
    height: int
    depth: int
    block: str
    transaction: TransactionContent


class CheckpointState(BaseModel):
    """A checkpoint of the best chain and the votes for it."""

    checkpoint: Checkpoint
    state: Literal["open", "justified", "final"]
    voters: list[str] = Field(description="Members that may vote for it.")
    voted: list[str] = Field(description="Members whose votes the chain carries; unknown once it is final.")


class Equivocation(BaseModel):
    """Two votes that no honest voter makes; both signatures together prove it."""

    voter: str
    kind: Literal["double", "surround"]
    first: Vote
    second: Vote


class Finality(BaseModel):
    """How far finality has come, and whom it waits for."""

    justified: Checkpoint
    final: Checkpoint
    tip_height: int
    missing: list[str] = Field(description="Members that have not voted for the newest checkpoint that was due.")
    voting: str = Field(description="Why this node does not vote at present; empty if it does.")
    checkpoints: list[CheckpointState] = Field(description="Newest first.")
    equivocations: list[Equivocation] = Field(description="Newest first.")


class Abandoned(BaseModel):
    """A search without success: anyone can check its lowest hash and estimate the work."""

    header: Header
    lowest_hash: str
    tries: int
    elapsed_ms: int
    stored_at_ms: int


class AbandonedSearches(BaseModel):
    """Abandoned searches of this node's miner, newest first."""

    searches: list[Abandoned]


class SideBranch(BaseModel):
    """A branch that this node knows and does not follow."""

    hash: str = Field(description="Of its head.")
    height: int
    length: int = Field(description="Blocks from the fork to the head.")
    fork_height: int = Field(description="Of the last block that it shares with the best chain.")
    work: str = Field(description="Of the chain up to its head.")
    status: Literal["valid-fork", "invalid", "headers-only"]


class SideBranches(BaseModel):
    """Branches beside the best chain, most work first."""

    branches: list[SideBranch]
    total: int = Field(description="How many there are, also beyond the limit.")


class Health(BaseModel):
    """Whether the peer works."""

    status: Literal["ok", "waiting", "failing"]
    connected: bool
    reason: str = ""
