"""A client of a member's HTTP API, with the parts of its answers that the devnet looks at."""

from __future__ import annotations

from typing import TypeVar

import httpx
import msgspec

from minervas_core.errors import Code, TransientFault
from minervas_core.messages import ChainTip

TIMEOUT_S = 20.0
"""Of an answer; a machine that runs a whole consortium may take seconds for one."""

T = TypeVar("T", bound=msgspec.Struct)


class Search(msgspec.Struct, frozen=True):
    """The miner's running search."""

    height: int
    tries: int
    tries_per_second: int
    lowest_hash: str


class Checkpoint(msgspec.Struct, frozen=True):
    """A block that members vote on, or genesis."""

    height: int
    hash: str


class LedgerState(msgspec.Struct, frozen=True):
    """What the member's ledger says of itself."""

    tip: ChainTip
    difficulty: int
    roster_hash: str
    active_members: int
    mempool_transactions: int
    abandoned_searches: int
    reorganisations: int
    side_branches: int
    justified: Checkpoint
    final: Checkpoint
    missing_voters: list[str]
    syncing: bool
    refusals: dict[str, int]
    search: Search | None = None


class PeerView(msgspec.Struct, frozen=True):
    """Another member as this node sees it."""

    member: str
    standing: str
    presence: str
    their_key: str
    our_key_given: bool


class SenderKey(msgspec.Struct, frozen=True):
    """Under which the node's frames are sealed."""

    epoch: int


class Status(msgspec.Struct, frozen=True):
    """A node at a glance."""

    member: str
    node_id: str
    standing: str
    connected: bool
    bus_refusal: str
    refusals: dict[str, int]
    peers: list[PeerView]
    sender_key: SenderKey
    ledger: LedgerState | None = None
    """None while the ledger does not answer."""


class Recovery(msgspec.Struct, frozen=True):
    """A recovery of a member's wallet that waits."""

    effective_ms: int


class Member(msgspec.Struct, frozen=True):
    """A member on the node's own tip."""

    member: str
    status: str
    admitted_height: int
    ended_height: int
    recovery: Recovery | None = None
    keys: dict[str, str] = {}
    """Public keys: wallet, box, block, vote."""


class Members(msgspec.Struct, frozen=True):
    """The roster on the node's own tip."""

    height: int
    roster_hash: str
    members: list[Member]


class BlockHeader(msgspec.Struct, frozen=True):
    """A block's header, as far as it is shown."""

    height: int
    time_ms: int
    difficulty: int
    miner: str
    nonce: str


class BlockSummary(msgspec.Struct, frozen=True):
    """A block in a list."""

    hash: str
    header: BlockHeader
    transactions: int


class Blocks(msgspec.Struct, frozen=True):
    """Blocks of the best chain, newest first."""

    blocks: list[BlockSummary]


class AbandonedSearch(msgspec.Struct, frozen=True):
    """A search that found nothing in time."""

    header: BlockHeader
    tries: int
    elapsed_ms: int
    lowest_hash: str


class AbandonedSearches(msgspec.Struct, frozen=True):
    """Abandoned searches of one miner, newest first."""

    searches: list[AbandonedSearch]


class TransactionPlace(msgspec.Struct, frozen=True):
    """Where a transaction stands."""

    state: str
    height: int


class Equivocation(msgspec.Struct, frozen=True):
    """Two votes of a member that contradict each other."""

    voter: str
    kind: str


class CheckpointState(msgspec.Struct, frozen=True):
    """A checkpoint and whose votes for it the chain carries."""

    checkpoint: Checkpoint
    voted: list[str]


class Finality(msgspec.Struct, frozen=True):
    """How far finality has come, and whom it waits for."""

    final: Checkpoint
    missing: list[str]
    voting: str
    checkpoints: list[CheckpointState]
    equivocations: list[Equivocation]


class BlockPlace(msgspec.Struct, frozen=True):
    """One block, as far as it is looked at."""

    hash: str


class ApiAway(TransientFault):
    """The node does not answer now."""


class NodeApi:
    """One member's API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    def status(self) -> Status:
        """The node at a glance."""
        return self.get("/v1/status", Status)

    def members(self) -> Members:
        """The roster on its tip."""
        return self.get("/v1/members", Members)

    def blocks(self, *, below_height: int = 0, limit: int = 20) -> list[BlockSummary]:
        """Blocks of its best chain, newest first; `below_height` 0 means from the tip."""
        return self.get(f"/v1/blocks?below_height={below_height}&limit={limit}", Blocks).blocks

    def all_blocks(self) -> list[BlockSummary]:
        """The whole best chain, newest first."""
        found = self.blocks(limit=200)
        while found and found[-1].header.height > 1:
            found += self.blocks(below_height=found[-1].header.height, limit=200)
        return found

    def finality(self) -> Finality:
        """How far finality has come, and whom it waits for."""
        return self.get("/v1/finality", Finality)

    def block_hash(self, height: int) -> str:
        """Hash of the block at a height of its best chain."""
        return self.get(f"/v1/blocks/{height}", BlockPlace).hash

    def abandoned(self, limit: int = 20) -> list[AbandonedSearch]:
        """Searches of its miner that found nothing in time, newest first."""
        return self.get(f"/v1/abandoned?limit={limit}", AbandonedSearches).searches

    def transaction(self, transaction_id: str) -> TransactionPlace | None:
        """Where a transaction stands on its best chain; None if it does not know it (or does not answer)."""
        try:
            return self.get(f"/v1/transactions/{transaction_id}", TransactionPlace)
        except ApiAway:
            return None

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def get(self, path: str, kind: type[T]) -> T:
        """Ask, and decode the answer.

        Raises:
            ApiAway: if the node does not answer, or answers that it cannot now.
        """
        try:
            answer = self._client.get(path).raise_for_status()
        except httpx.HTTPError as error:
            raise ApiAway(Code.PEER_UNREACHABLE, f"{self.url}{path}: {error}") from error
        return msgspec.json.decode(answer.content, type=kind)
