"""Which service of our node may send which kind of message, and who takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from minervas_core.encoding import Record
from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import Principal
from minervas_core.messages import GetBodies, GetHeaders, GetTransactionStatus, GetVotes
from minervas_core.node_bill_messages import (
    GetBillLines,
    GetBills,
    GetFinalityProof,
    GetMemberHistory,
    GetMemberStatement,
    GetSettlements,
    GetSoldReadings,
    GetTradeAt,
)
from minervas_core.node_market_messages import (
    GetChannelRegisters,
    GetClearings,
    GetLot,
    GetLots,
    GetMarket,
    GetMeters,
    GetObligations,
    GetOrders,
    GetReadings,
    GetRetirements,
    GetTrades,
    GetVolumes,
    Statement,
)
from minervas_core.node_messages import (
    Abandoned,
    DeliverBlock,
    Found,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetRoster,
    GetSideBranches,
    GetStatus,
    GetTemplate,
    GetTransaction,
    LedgerStatus,
    PeerTip,
    SearchProgress,
    Submit,
)
from minervas_core.node_vote_messages import GetFinality, SubmitVotes
from minervas_ledger.bill_questions import BillQuestions
from minervas_ledger.finds import Finds
from minervas_ledger.intake import Intake
from minervas_ledger.market_questions import MarketQuestions
from minervas_ledger.node_status import NodeStatus
from minervas_ledger.questions import Questions
from minervas_ledger.readings_questions import ReadingsQuestions
from minervas_ledger.statements import Statements
from minervas_ledger.sync import Sync
from minervas_ledger.templates import TemplateMaker
from minervas_ledger.voting import Voting
from minervas_runtime.node_link import NodeLink

PEER, MINER, GATEWAY = "peer", "miner", "meter-gateway"

Body = TypeVar("Body", bound=Record)
Handle = Callable[[Body], Awaitable[Record | None]]


def listen_to_peer(link: NodeLink, intake: Intake, sync: Sync, status: NodeStatus) -> None:
    """What our peer brings in from others."""

    async def on_peer_tip(claim: PeerTip) -> None:
        sync.heard_tip(claim.member, claim.tip)

    async def on_status(_: GetStatus) -> LedgerStatus:
        return status.status()

    link.on("submit", Submit, only_from(intake.submit, PEER))
    link.on("block", DeliverBlock, only_from(intake.block, PEER))
    link.on("vote", SubmitVotes, only_from(intake.votes, PEER))
    link.on("peer_tip", PeerTip, only_from(on_peer_tip, PEER))
    link.on("status", GetStatus, only_from(on_status, PEER))


def listen_to_miner(link: NodeLink, finds: Finds, templates: TemplateMaker, status: NodeStatus) -> None:
    """What our miner finds and wants."""

    async def on_get_template(_: GetTemplate) -> None:
        templates.send_again()

    async def on_progress(progress: SearchProgress) -> None:
        status.progress(progress)

    link.on("get_template", GetTemplate, only_from(on_get_template, MINER))
    link.on("progress", SearchProgress, only_from(on_progress, MINER))
    link.on("found", Found, only_from(finds.found, MINER))
    link.on("abandoned", Abandoned, only_from(finds.abandoned, MINER))


def answer_about_chain(link: NodeLink, questions: Questions, voting: Voting) -> None:
    """Questions about blocks, members and finality."""
    link.on("get_votes", GetVotes, only_from(questions.votes, PEER))
    link.on("finality", GetFinality, only_from(voting.report, PEER))
    link.on("get_headers", GetHeaders, only_from(questions.headers, PEER))
    link.on("get_bodies", GetBodies, only_from(questions.bodies, PEER))
    link.on("tx_status", GetTransactionStatus, only_from(questions.transaction_statuses, PEER, GATEWAY))
    link.on("roster", GetRoster, only_from(questions.roster, PEER))
    link.on("blocks", GetBlocks, only_from(questions.blocks, PEER))
    link.on("block_detail", GetBlock, only_from(questions.block, PEER))
    link.on("transaction", GetTransaction, only_from(questions.transaction, PEER))
    link.on("abandoned_list", GetAbandoned, only_from(questions.abandoned, PEER))
    link.on("side_branches", GetSideBranches, only_from(questions.side_branches, PEER))


def answer_about_market(
    link: NodeLink, questions: MarketQuestions, readings: ReadingsQuestions, statements: Statements
) -> None:
    """Statements, and questions about metering and trading."""
    link.on("statement", Statement, only_from(statements.take, GATEWAY))
    link.on("channel_registers", GetChannelRegisters, only_from(questions.channel_registers, GATEWAY))
    link.on("lots", GetLots, only_from(questions.lots, PEER))
    link.on("lot_detail", GetLot, only_from(questions.lot, PEER))
    link.on("retirements", GetRetirements, only_from(questions.retirements, PEER))
    link.on("orders", GetOrders, only_from(questions.orders, PEER))
    link.on("trades", GetTrades, only_from(questions.trades, PEER))
    link.on("market", GetMarket, only_from(questions.market, PEER))
    link.on("clearings", GetClearings, only_from(questions.clearings, PEER))
    link.on("volumes", GetVolumes, only_from(questions.volumes, PEER))
    link.on("obligations", GetObligations, only_from(questions.obligations, PEER))
    link.on("meters", GetMeters, only_from(questions.meters, PEER))
    link.on("readings", GetReadings, only_from(readings.newest, PEER))


def answer_about_bills(link: NodeLink, questions: BillQuestions) -> None:
    """Questions about bills, and what stands behind them."""
    link.on("bills", GetBills, only_from(questions.bills, PEER))
    link.on("bill_lines", GetBillLines, only_from(questions.lines, PEER))
    link.on("member_statement", GetMemberStatement, only_from(questions.statement, PEER))
    link.on("settlements", GetSettlements, only_from(questions.settlements, PEER))
    link.on("trade_at", GetTradeAt, only_from(questions.trade, PEER))
    link.on("finality_proof", GetFinalityProof, only_from(questions.finality, PEER))
    link.on("member_history", GetMemberHistory, only_from(questions.member_history, PEER))
    link.on("sold_readings", GetSoldReadings, only_from(questions.sold_readings, PEER))


def only_from(handle: Handle[Body], *roles: str) -> Callable[[Body, str], Awaitable[Record | None]]:
    """Services of a node share one key, but not their tasks: each kind comes from those that have it only."""

    async def checked(body: Body, service: str) -> Record | None:
        if Principal("", service).role not in roles:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "This service has no such message for us", service=service)
        return await handle(body)

    return checked
