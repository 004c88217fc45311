"""Collects what the API shows: from the peer itself, and from the ledger by request."""

from __future__ import annotations

from typing import Any

import msgspec

from minervas_core.blocks import decode_block
from minervas_core.errors import TransientFault
from minervas_core.finality.votes import Vote, decode_vote
from minervas_core.genesis import Genesis
from minervas_core.keys import node_id
from minervas_core.node_messages import (
    AbandonedSearches,
    BlockDetail,
    BlockSummaries,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetRoster,
    GetSideBranches,
    GetStatus,
    GetTransaction,
    LedgerStatus,
    Roster,
    RosterEntry,
    SideBranches,
    TransactionDetail,
)
from minervas_core.node_vote_messages import FinalityReport, GetFinality
from minervas_core.transactions import Transaction, decode_transaction
from minervas_peer import __version__
from minervas_peer.api import models
from minervas_peer.api.renewal_paths import renewal_state
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.renewal.collector import RenewalCollector
from minervas_peer.status import PeerStatus
from minervas_runtime.bus import Bus, BusRefused

STATUS_TIMEOUT_S = 2.0
"""The status page comes without the ledger's part rather than late."""


class NodeView:
    """The node as the API shows it. Every method raises what the ledger or the way to it raises."""

    def __init__(
        self,
        genesis: Genesis,
        bus: Bus,
        ledger: LedgerLink,
        status: PeerStatus,
        renewals: RenewalCollector | None = None,
    ) -> None:
        self._genesis = genesis
        self._bus = bus
        self._ledger = ledger
        self._status = status
        self._renewals = renewals

    async def status(self) -> models.Status:
        """The node at a glance; also while the ledger is away or the broker refuses us."""
        try:
            answer = await self._ledger.ask("status", GetStatus(), LedgerStatus, timeout_s=STATUS_TIMEOUT_S)
            ledger = _ledger_state(answer)
        except (TransientFault, BusRefused):
            ledger = None
        return models.Status(
            **self._status.own(),
            version=__version__,
            consortium=self._genesis.body.name,
            network=self._genesis.network,
            connected=self._bus.connected,
            bus_refusal=str(self._bus.refusal or ""),
            ledger=ledger,
            peers=[models.Peer(**peer) for peer in self._status.peers()],
            renewal=renewal_state(self._renewals) if self._renewals else None,
        )

    async def members(self) -> models.Members:
        """Everybody who is or was a member on our tip."""
        roster = await self._ledger.ask("roster", GetRoster(), Roster)
        members = [
            models.Member(
                member=entry.member,
                node_id=node_id(entry.keys.wallet),
                status=entry.status,
                admitted_height=entry.admitted_height,
                ended_height=entry.ended_height,
                suspended_height=entry.suspended_height,
                recovery=_recovery(entry),
                keys=msgspec.structs.asdict(entry.keys),
            )
            for entry in roster.members
        ]
        return models.Members(height=roster.height, roster_hash=roster.roster_hash, members=members)

    async def blocks(self, below_height: int, limit: int) -> models.Blocks:
        """Blocks of the best chain, newest first; `below_height` 0 means from the tip."""
        answer = await self._ledger.ask("blocks", GetBlocks(below_height=below_height, limit=limit), BlockSummaries)
        return models.Blocks(blocks=[models.BlockSummary(**plain(block)) for block in answer.blocks])

    async def block(self, block: str) -> models.Block:
        """One block by hash, or by height on the best chain."""
        detail = await self._ledger.ask("block_detail", GetBlock(block=block), BlockDetail)
        content = decode_block(bytes(detail.block))
        return models.Block(
            hash=detail.hash,
            best_chain=detail.best_chain,
            depth=detail.depth,
            final=detail.final,
            work=detail.work,
            size_bytes=len(content.raw),
            header=models.Header(**plain(content.header)),
            signature=content.signature,
            transactions=[_content(transaction) for transaction in content.transactions],
            votes=[_vote(vote) for vote in content.votes],
        )

    async def transaction(self, transaction_id: str) -> models.Transaction:
        """One transaction, queued or in a block."""
        detail = await self._ledger.ask("transaction", GetTransaction(id=transaction_id), TransactionDetail)
        return models.Transaction(
            state=detail.state,
            height=detail.height,
            depth=detail.depth,
            block=detail.block,
            transaction=_content(decode_transaction(bytes(detail.transaction))),
        )

    async def finality(self) -> models.Finality:
        """How far finality has come, and whom it waits for."""
        report = await self._ledger.ask("finality", GetFinality(), FinalityReport)
        equivocations = [
            models.Equivocation(
                voter=each.voter,
                kind=each.kind,
                first=_vote(decode_vote(bytes(each.first))),
                second=_vote(decode_vote(bytes(each.second))),
            )
            for each in report.equivocations
        ]
        values = plain(msgspec.structs.replace(report, equivocations=[]))
        return models.Finality(**{**values, "equivocations": equivocations})

    async def abandoned(self, limit: int) -> models.AbandonedSearches:
        """Searches that found nothing in time, newest first."""
        answer = await self._ledger.ask("abandoned_list", GetAbandoned(limit=limit), AbandonedSearches)
        return models.AbandonedSearches(searches=[models.Abandoned(**plain(search)) for search in answer.searches])

    async def side_branches(self, limit: int) -> models.SideBranches:
        """Branches beside the best chain, most work first."""
        answer = await self._ledger.ask("side_branches", GetSideBranches(limit=limit), SideBranches)
        return models.SideBranches(
            branches=[models.SideBranch(**plain(branch)) for branch in answer.branches], total=answer.total
        )

    def health(self) -> models.Health:
        """Whether the peer works: it does while the broker lets it in."""
        refusal = self._bus.refusal
        if refusal is not None:
            return models.Health(status="failing", connected=False, reason=str(refusal))
        connected = self._bus.connected
        return models.Health(
            status="ok" if connected else "failing",
            connected=connected,
            reason="" if connected else "Not connected to the broker",
        )


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """A record as plain values, by field."""
    values: dict[str, Any] = msgspec.to_builtins(value)
    return values


def _recovery(entry: RosterEntry) -> models.Recovery | None:
    recovery = entry.recovery
    return None if isinstance(recovery, msgspec.UnsetType) else models.Recovery(**plain(recovery))


def _ledger_state(status: LedgerStatus) -> models.LedgerState:
    values = plain(status)
    del values["member"]
    return models.LedgerState(**{"search": None, "authority": "", **values})


def _vote(vote: Vote) -> models.Vote:
    body = plain(vote.body)
    return models.Vote(voter=vote.body.voter, source=body["source"], target=body["target"], signature=vote.signature)


def _content(transaction: Transaction) -> models.TransactionContent:
    return models.TransactionContent(
        id=transaction.id,
        type=transaction.kind,
        body=plain(transaction.body),
        signature=transaction.signature,
    )
