"""How far finality has come, and whom it waits for, as people see it."""

from __future__ import annotations

from minervas_core.chain import Chain
from minervas_core.finality.rules import missing_voters
from minervas_core.finality.state import CheckpointRecord
from minervas_core.finality.votes import Checkpoint
from minervas_core.node_vote_messages import CheckpointEntry, EquivocationEntry, FinalityReport
from minervas_core.tree import HeaderNode

MAX_CHECKPOINTS = 20
"""Newest checkpoints that are shown; while finality pauses there are more and more."""


def report_finality(chain: Chain, voting: str, equivocations: list[EquivocationEntry]) -> FinalityReport:
    """Describe the checkpoints of the best chain.

    Args:
        chain: as it is.
        voting: why this node does not vote; empty if it does.
        equivocations: contradictions to show.
    """
    finality, genesis, tip = chain.state.finality, chain.genesis, chain.tip
    interval = genesis.parameters.vote_interval
    oldest = max(finality.head(genesis.hash).previous_final_height, interval)
    newest = tip.height // interval * interval
    heights = range(newest, max(oldest - 1, newest - MAX_CHECKPOINTS * interval), -interval)
    found = [(height, record) for height in heights if (record := finality.checkpoint(height)) is not None]
    return FinalityReport(
        justified=_checkpoint(chain.justified),
        final=_checkpoint(chain.final),
        tip_height=tip.height,
        missing=missing_voters(finality, tip.height, genesis),
        voting=voting,
        checkpoints=[_entry(chain, height, record) for height, record in found],
        equivocations=equivocations,
    )


def _entry(chain: Chain, height: int, record: CheckpointRecord) -> CheckpointEntry:
    finality = chain.state.finality
    is_final = height <= finality.head(chain.genesis.hash).final.height
    voters = [voter.member for voter in record.voters]
    return CheckpointEntry(
        checkpoint=Checkpoint(height=height, hash=record.hash),
        state="final" if is_final else "justified" if record.justified else "open",
        voters=voters,
        voted=[member for member in voters if finality.vote(height, member) is not None],
    )


def _checkpoint(node: HeaderNode) -> Checkpoint:
    return Checkpoint(height=node.height, hash=node.hash)
