"""What travels between the services of one node, sealed under the node key (design section 2).

A new tip goes miner -> ledger (``found``) -> peer (``announce``) -> other peers (``block``) -> their ledgers
(``block``) -> their miners (``template``). Kinds and types are tied together in `NODE_REQUEST_TYPES` and
`NODE_EVENT_TYPES`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.blocks import Draft, Header
from minervas_core.encoding import Count, FieldName, Hash, PublicKey, Record, Salt, Signature, TimeMs, WorkSum
from minervas_core.errors import Value
from minervas_core.finality.votes import Checkpoint
from minervas_core.genesis import Parameters
from minervas_core.identifiers import MemberId
from minervas_core.messages import (
    MAX_BODIES_PER_REQUEST,
    MAX_HEADERS_PER_REPLY,
    MAX_LOCATOR,
    Bodies,
    ChainTip,
    GetBodies,
    GetHeaders,
    GetTransactionStatus,
    Headers,
    TransactionStatuses,
)
from minervas_core.transactions import ServiceKeys

PageSize = Annotated[int, msgspec.Meta(ge=1, le=200)]


# peer -> ledger


class Submit(Record, frozen=True, kw_only=True):
    """Transactions for the queue, from gossip, admission or our own member."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=400)]
    origin: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """Member that sent them, or ``consortium``, or ``local``."""


class SubmitResult(Record, frozen=True, kw_only=True):
    """What became of one transaction."""

    status: Literal["accepted", "known", "refused"]
    id: str = ""
    """Empty if the bytes were not a transaction."""
    code: str = ""
    """Refusal code."""
    message: str = ""
    values: dict[FieldName, Value] = msgspec.field(default_factory=dict)
    """The offending values of a refusal, by name."""


class SubmitResults(Record, frozen=True, kw_only=True):
    """Answer to `Submit`, in order."""

    results: list[SubmitResult]


class DeliverBlock(Record, frozen=True, kw_only=True):
    """A block that another member announced."""

    block: msgspec.Raw
    origin: MemberId


class BlockResult(Record, frozen=True, kw_only=True):
    """What became of a block."""

    status: Literal["connected", "side_branch", "known", "orphan", "postponed", "refused"]
    """Connected: it is (or made) the new tip. Orphan: its parent is unknown, sync was started. Postponed: from the
    future, kept aside."""
    hash: str = ""
    code: str = ""
    message: str = ""


class PeerTip(Record, frozen=True, kw_only=True):
    """Event: another member claims this tip (from its presence)."""

    member: MemberId
    tip: ChainTip


class GetRoster(Record, frozen=True, kw_only=True):
    """Ask for the roster on the ledger's tip."""


class WaitingRecovery(Record, frozen=True, kw_only=True):
    """A new wallet that takes the place of a member's, unless the old one objects."""

    wallet: PublicKey
    """The new wallet."""
    transaction: Hash
    """Id of the transaction that asked for it; a veto names it."""
    height: Count
    """Block that carries it."""
    effective_ms: TimeMs
    """The first block whose predecessor has this time or a later one exchanges the wallet."""


class RosterEntry(Record, frozen=True, kw_only=True):
    """One member as the chain knows it."""

    member: MemberId
    keys: ServiceKeys
    status: Literal["active", "revoked", "left"]
    admitted_height: Count
    ended_height: Count = 0
    """Block that revoked it or with which it left; 0 while active."""
    suspended_height: Count = 0
    """Block that took its vote away; 0 while it has it."""
    recovery: WaitingRecovery | msgspec.UnsetType = msgspec.UNSET
    """There while a recovery waits: everybody should know."""


class Roster(Record, frozen=True, kw_only=True):
    """Answer to `GetRoster`."""

    members: list[RosterEntry]
    height: Count
    roster_hash: Hash


class GetStatus(Record, frozen=True, kw_only=True):
    """Ask for the node's state."""


class SearchProgress(Record, frozen=True, kw_only=True):
    """Event of the miner, every second: how the running search goes."""

    height: Count
    difficulty: Count
    tries: Count
    elapsed_ms: Count
    tries_per_second: Count
    lowest_hash: Hash
    nonce: str


class LedgerStatus(Record, frozen=True, kw_only=True):
    """Answer to `GetStatus`."""

    member: MemberId
    tip: ChainTip
    tip_time_ms: TimeMs
    difficulty: Count
    """Of the next block."""
    roster_hash: Hash
    active_members: Count
    mempool_transactions: Count
    mempool_bytes: Count
    abandoned_searches: Count
    reorganisations: Count
    side_branches: Count
    justified: Checkpoint
    final: Checkpoint
    missing_voters: list[MemberId]
    """Who has not voted for the newest checkpoint that was due: those whom finality waits for."""
    parameters: Parameters
    """By which the next block is judged."""
    unknown_rules_height: Count
    """First block that this software cannot judge, for it is too old; 0 if no such is announced."""
    authority: PublicKey | msgspec.UnsetType = msgspec.UNSET
    """The authority's key; absent while it is that of genesis."""
    syncing: bool
    refusals: dict[FieldName, Count]
    """Refused inputs by code since start."""
    search: SearchProgress | msgspec.UnsetType = msgspec.UNSET


class GetBlocks(Record, frozen=True, kw_only=True):
    """Ask for the best chain's newest blocks, or those below a height."""

    below_height: Count = 0
    """0 means from the tip."""
    limit: PageSize = 20


class BlockSummary(Record, frozen=True, kw_only=True):
    """One block in a list."""

    header: Header
    hash: Hash
    transactions: Count
    size_bytes: Count
    best_chain: bool
    final: bool
    """Whether it can never be undone."""


class BlockSummaries(Record, frozen=True, kw_only=True):
    """Answer to `GetBlocks`, newest first."""

    blocks: list[BlockSummary]


class GetBlock(Record, frozen=True, kw_only=True):
    """Ask for one block, by hash or by height on the best chain."""

    block: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64}|0|[1-9][0-9]{0,14})\Z")]


class BlockDetail(Record, frozen=True, kw_only=True):
    """Answer to `GetBlock`: the canonical bytes and where the block stands."""

    block: msgspec.Raw
    hash: Hash
    best_chain: bool
    depth: Count
    final: bool
    work: WorkSum


class GetTransaction(Record, frozen=True, kw_only=True):
    """Ask for one transaction by id."""

    id: Hash


class TransactionDetail(Record, frozen=True, kw_only=True):
    """Answer to `GetTransaction`."""

    transaction: msgspec.Raw
    id: Hash
    state: Literal["queued", "in_block", "final"]
    height: Count = 0
    depth: Count = 0
    block: str = ""


class GetAbandoned(Record, frozen=True, kw_only=True):
    """Ask for the newest abandoned searches of this node."""

    limit: PageSize = 20


class AbandonedSearch(Record, frozen=True, kw_only=True):
    """A search that found nothing in time (paper: the block is thrown away and that information stored)."""

    header: Header
    """The header of the lowest hash, with its nonce: anyone can check the hash and estimate the work."""
    tries: Count
    elapsed_ms: Count
    lowest_hash: Hash
    stored_at_ms: TimeMs = 0


class AbandonedSearches(Record, frozen=True, kw_only=True):
    """Answer to `GetAbandoned`, newest first."""

    searches: list[AbandonedSearch]


class GetSideBranches(Record, frozen=True, kw_only=True):
    """Ask for the branches beside the best chain."""

    limit: PageSize = 20


class SideBranchEntry(Record, frozen=True, kw_only=True):
    """A branch that this node knows and does not follow, as Bitcoin's ``getchaintips`` lists it."""

    hash: Hash
    """Of its head."""
    height: Count
    length: Count
    """Blocks from the fork to the head."""
    fork_height: Count
    """Of the last block that it shares with the best chain; 0 for genesis."""
    work: WorkSum
    """Of the chain up to its head."""
    status: Literal["valid-fork", "invalid", "headers-only"]
    """All its blocks are here and valid by themselves; one breaks a rule; or blocks are missing."""


class SideBranches(Record, frozen=True, kw_only=True):
    """Answer to `GetSideBranches`: most work first; the best chain is not among them."""

    branches: list[SideBranchEntry]
    total: Count
    """How many there are, also beyond the limit."""


# ledger -> peer


class TipChanged(Record, frozen=True, kw_only=True):
    """Event: the ledger's best chain has a new head."""

    tip: ChainTip
    roster_hash: Hash
    syncing: bool
    authority: PublicKey | msgspec.UnsetType = msgspec.UNSET
    """The authority's key; absent while it is that of genesis."""


class Announce(Record, frozen=True, kw_only=True):
    """Event: our miner found this block; tell everybody."""

    block: msgspec.Raw


class FetchHeaders(Record, frozen=True, kw_only=True):
    """Ask our peer to get headers from one member."""

    member: MemberId
    locator: Annotated[list[Hash], msgspec.Meta(max_length=MAX_LOCATOR)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADERS_PER_REPLY)]


class FetchBodies(Record, frozen=True, kw_only=True):
    """Ask our peer to get blocks from one member."""

    member: MemberId
    hashes: Annotated[list[Hash], msgspec.Meta(min_length=1, max_length=MAX_BODIES_PER_REQUEST)]


# ledger <-> miner


class GetTemplate(Record, frozen=True, kw_only=True):
    """Event of the miner at start: send me the current template."""


class Template(Record, frozen=True, kw_only=True):
    """Event: search for this block. Replaces any earlier template."""

    template_id: Salt
    draft: Draft
    """The miner may raise ``time_ms`` to its clock as it goes on."""
    block_key: PublicKey
    """The block key that this block must be signed with: the member's, after the block's own transactions."""
    give_up_ms: Count
    retime_ms: Count
    """How often the miner renews ``time_ms``."""


class Pause(Record, frozen=True, kw_only=True):
    """Event: nothing to search for (not admitted, not our turn, or syncing)."""

    reason: str


class Found(Record, frozen=True, kw_only=True):
    """Request of the miner: a good hash for a template, signed with the block key."""

    template_id: Salt
    header: Header
    signature: Signature


class Abandoned(Record, frozen=True, kw_only=True):
    """Request of the miner: a search that reached its time limit, to be stored."""

    template_id: Salt
    search: AbandonedSearch


class Stored(Record, frozen=True, kw_only=True):
    """Answer that something is on disk."""


NODE_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "submit": (Submit, SubmitResults),
    "block": (DeliverBlock, BlockResult),
    "get_headers": (GetHeaders, Headers),
    "get_bodies": (GetBodies, Bodies),
    "tx_status": (GetTransactionStatus, TransactionStatuses),
    "roster": (GetRoster, Roster),
    "status": (GetStatus, LedgerStatus),
    "blocks": (GetBlocks, BlockSummaries),
    "block_detail": (GetBlock, BlockDetail),
    "transaction": (GetTransaction, TransactionDetail),
    "abandoned_list": (GetAbandoned, AbandonedSearches),
    "side_branches": (GetSideBranches, SideBranches),
    "fetch_headers": (FetchHeaders, Headers),
    "fetch_bodies": (FetchBodies, Bodies),
    "found": (Found, BlockResult),
    "abandoned": (Abandoned, Stored),
}
"""Request and answer inside a node, by kind."""

NODE_EVENT_TYPES: dict[str, type[Record]] = {
    "peer_tip": PeerTip,
    "tip": TipChanged,
    "announce": Announce,
    "get_template": GetTemplate,
    "template": Template,
    "pause": Pause,
    "progress": SearchProgress,
}
"""Messages without an answer inside a node, by kind."""
