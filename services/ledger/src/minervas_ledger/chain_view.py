"""What everybody may know of the chain without asking its thread: a snapshot, made after every change."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.chain import Chain
from minervas_core.finality.rules import missing_voters
from minervas_core.finality.votes import Checkpoint
from minervas_core.genesis import Parameters
from minervas_core.governance.parameters import first_unknown_height
from minervas_core.mempool import Mempool
from minervas_core.messages import ChainTip
from minervas_ledger import metrics
from minervas_ledger.gateways import Gateways
from minervas_ledger.roster_view import roster_digest

SYNCING_FROM = 2
"""So many blocks behind verified headers count as syncing; one missing block is the usual race between two miners."""


@dataclass(frozen=True, slots=True)
class ChainView:
    """The committed chain and the queue at one moment."""

    tip: ChainTip
    work: int
    tip_time_ms: int
    difficulty: int
    """Of the next block."""
    roster_hash: str
    active_members: int
    side_branches: int
    mempool_transactions: int
    mempool_bytes: int
    abandoned_searches: int
    reorganisations: int
    postponed: int
    """Blocks from the future, kept aside."""
    target_height: int
    """Of the best header chain; the tip's when nothing is missing."""
    syncing: bool
    """Whether blocks are missing whose headers are verified and have more work than the tip."""
    gateways: Gateways
    """Whose readings are welcome at this tip."""
    justified: Checkpoint
    """Highest checkpoint that any chain which we followed proved justified."""
    final: Checkpoint
    """Neither it nor anything before it is ever undone."""
    missing_voters: tuple[str, ...]
    """Who has not voted for the newest checkpoint that was due."""
    parameters: Parameters
    """By which the next block is judged."""
    authority: str
    """The authority's key; empty while it is that of genesis."""
    unknown_rules_height: int
    """First block that this software cannot judge; 0 if no such is announced."""
    votes: int
    """Votes kept for coming blocks, or to recognise contradictions."""


def too_old(view: ChainView) -> str:
    """Why this software cannot go on, if the next block is under rules that it does not have; else empty."""
    height = view.unknown_rules_height
    if not height or view.tip.height + 1 < height:
        return ""
    return f"This software is too old: from block {height} on other rules apply; install a newer version"


def count_side_branches(chain: Chain) -> int:
    """How many ends of branches there are beside the best chain; looks at each of them."""
    return sum(1 for branch in chain.tree.side_branches() if branch.head.state == "body")


def look(
    chain: Chain,
    mempool: Mempool,
    gateways: Gateways,
    *,
    side_branches: int,
    abandoned_searches: int,
    reorganisations: int,
    votes: int,
) -> ChainView:
    """Make a snapshot."""
    tip, finality, genesis = chain.tip, chain.state.finality, chain.genesis
    authority = chain.state.governance.authority_key(genesis)
    proved = finality.head(genesis.hash).justified.height
    return ChainView(
        tip=ChainTip(height=tip.height, hash=tip.hash, work=f"{tip.work:x}", justified_height=proved),
        work=tip.work,
        tip_time_ms=tip.time_ms,
        difficulty=chain.next_difficulty(),
        roster_hash=roster_digest(chain.state),
        active_members=chain.state.roster.active_count,
        side_branches=side_branches,
        mempool_transactions=len(mempool),
        mempool_bytes=mempool.bytes,
        abandoned_searches=abandoned_searches,
        reorganisations=reorganisations,
        postponed=chain.held_blocks[1],
        target_height=max(tip.height, chain.tree.best_header.height),
        syncing=len(chain.missing_bodies(SYNCING_FROM)) >= SYNCING_FROM,
        gateways=gateways,
        justified=Checkpoint(height=chain.justified.height, hash=chain.justified.hash),
        final=Checkpoint(height=chain.final.height, hash=chain.final.hash),
        missing_voters=tuple(missing_voters(finality, tip.height, genesis)),
        parameters=chain.parameters,
        authority="" if authority == genesis.body.authority else authority,
        unknown_rules_height=first_unknown_height(chain.state.governance),
        votes=votes,
    )


def show_metrics(view: ChainView) -> None:
    """Set the gauges."""
    metrics.HEIGHT.set(view.tip.height)
    metrics.WORK.set(view.work)
    metrics.DIFFICULTY.set(view.difficulty)
    metrics.ACTIVE_MEMBERS.set(view.active_members)
    metrics.SIDE_BRANCHES.set(view.side_branches)
    metrics.MEMPOOL_TRANSACTIONS.set(view.mempool_transactions)
    metrics.MEMPOOL_BYTES.set(view.mempool_bytes)
    metrics.JUSTIFIED_HEIGHT.set(view.justified.height)
    metrics.FINAL_HEIGHT.set(view.final.height)
    metrics.MISSING_VOTERS.set(len(view.missing_voters))
    metrics.SYNCING.set(int(view.syncing))
    metrics.SYNC_TARGET_HEIGHT.set(view.target_height)
