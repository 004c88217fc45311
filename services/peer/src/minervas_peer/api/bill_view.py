"""Collects what the API shows of bills and evidence, and has payments signed."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from minervas_core.billing.records import MemberStatement
from minervas_core.blocks import BlockForm
from minervas_core.encoding import MAX_INTEGER, Record, decode_untyped, encode
from minervas_core.errors import Code, PeerFault
from minervas_core.evidence.certificate import FORMAT, MAX_CERTIFICATE_BYTES, Certificate
from minervas_core.evidence.finality import ShownFinality
from minervas_core.evidence.records import ShownLot, ShownTrade
from minervas_core.genesis import Genesis
from minervas_core.market.lots import joined_origins, origins_root
from minervas_core.market.records import Retire
from minervas_core.node_bill_messages import (
    BillEntry,
    BillLines,
    Bills,
    FinalityProof,
    GetBillLines,
    GetBills,
    GetFinalityProof,
    GetMemberHistory,
    GetMemberStatement,
    GetSettlements,
    GetSoldReadings,
    GetTradeAt,
    MemberHistory,
    Settlements,
    SoldReadings,
    TradeAt,
)
from minervas_core.node_market_messages import GetLot, LotDetail
from minervas_core.node_messages import BlockDetail, GetBlock, GetTransaction, TransactionDetail
from minervas_core.proof import carried_at
from minervas_core.transactions import Transaction, decode_transaction
from minervas_peer.api import bill_models as models
from minervas_peer.api import trade_models
from minervas_peer.api.view import plain
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.remote_sync import RemoteSync
from minervas_peer.trader import Trader


class BillView:
    """Bills and evidence as the API shows them. Every method raises what the ledger or the way to it raises.

    Args:
        genesis: the consortium's genesis.
        member: whose node it is.
        ledger: our own.
        trader: signs.
        remote: other members' peers.
    """

    def __init__(
        self, genesis: Genesis, member: str, *, ledger: LedgerLink, trader: Trader, remote: RemoteSync
    ) -> None:
        self._genesis = genesis
        self._member = member
        self._ledger = ledger
        self._trader = trader
        self._remote = remote

    async def bills(self, question: GetBills) -> models.Bills:
        """A page of a month's bills."""
        answer = await self._ledger.ask("bills", question, Bills)
        return models.Bills(bills=[_entry(entry) for entry in answer.bills], more=answer.more)

    async def bill(self, question: GetBillLines) -> models.BillLines:
        """One bill and some of its lines."""
        answer = await self._ledger.ask("bill_lines", question, BillLines)
        return models.BillLines(
            bill=plain(answer.entry.bill),
            settled=plain(answer.entry.settled),
            lines=[plain(line) for line in answer.lines],
            more=answer.more,
        )

    async def statement(self, month: str, member: str) -> models.Statement:
        """A member's month; our own if no member is named."""
        question = GetMemberStatement(month=month, member=member or self._member)
        return models.Statement(statement=plain(await self._ledger.ask("member_statement", question, MemberStatement)))

    async def settlements(self, question: GetSettlements) -> models.Settlements:
        """Payments and credit notes."""
        answer = await self._ledger.ask("settlements", question, Settlements)
        return models.Settlements(settlements=[plain(each) for each in answer.settlements])

    async def pay(self, payment: models.NewPayment) -> trade_models.Placed:
        """Confirm a payment."""
        return _placed(await self._trader.pay(payment.buyer, payment.month, payment.amount_micro))

    async def credit(self, note: models.NewCreditNote) -> trade_models.Placed:
        """Sign a credit note."""
        return _placed(await self._trader.credit(note.buyer, note.month, note.amount_micro, note.reason))

    def genesis(self) -> models.GenesisOfNode:
        """The genesis file."""
        return models.GenesisOfNode(genesis=decode_untyped(self._genesis.raw, max_bytes=len(self._genesis.raw)))

    async def trade(self, line: int, height: int, position: int) -> models.Evidence:
        """What stands behind a bill's line.

        Raises:
            PeerFault: ``not_found``.
            TransientFault: ``not_ready`` while the block is not final.
        """
        trade = (await self._ledger.ask("trade_at", GetTradeAt(height=height, position=position), TradeAt)).trade
        block = await self._ledger.ask("block_detail", GetBlock(block=str(height)), BlockDetail)
        lots = [await self._ledger.ask("lot_detail", GetLot(id=lot), LotDetail) for lot in trade.lots]
        part = ShownTrade(
            line=line,
            trade=trade,
            block=block.block,
            offer=await self._raw(trade.offer),
            bid=await self._raw(trade.bid),
            lots=[ShownLot(id=each.id, energy_wh=each.lot.energy_wh, origins=each.lot.origins) for each in lots],
            finality=await self._finality(height),
        )
        return _evidence(part)

    async def certificate(self, tx_id: str) -> models.Evidence:
        """The certificate of origin of a retirement.

        Raises:
            PeerFault: ``not_found`` if there is no such retirement, or it claims nothing (``retire_claim``).
            TransientFault: ``not_ready`` while its block is not final.
        """
        detail = await self._ledger.ask("transaction", GetTransaction(id=tx_id), TransactionDetail)
        transaction = decode_transaction(bytes(detail.transaction))
        body = transaction.body
        if not isinstance(body, Retire) or isinstance(detail.height, msgspec.UnsetType) or not detail.height:
            raise PeerFault(Code.NOT_FOUND, "No retirement of the best chain", id=tx_id)
        lots = [await self._ledger.ask("lot_detail", GetLot(id=lot), LotDetail) for lot in body.lots]
        origins = joined_origins([each.lot for each in lots])
        if isinstance(body.origins_root, msgspec.UnsetType) or origins_root(origins) != body.origins_root:
            raise PeerFault(
                Code.RETIRE_CLAIM, "It does not say what was retired: there is nothing to certify", id=tx_id
            )
        block = await self._ledger.ask("block_detail", GetBlock(block=str(detail.height)), BlockDetail)
        raws = [bytes(raw) for raw in msgspec.json.decode(bytes(block.block), type=BlockForm).transactions]
        return _evidence(
            Certificate(
                format=FORMAT,
                network=self._genesis.network,
                genesis=self._genesis.hash,
                owner=lots[0].lot.owner,
                retirement=carried_at(raws, raws.index(transaction.raw)),
                origins=origins,
                statements=[await self._raw(origin.statement) for origin in origins],
                finality=await self._finality(detail.height),
            )
        )

    async def readings(self, statement: str, skip: int) -> models.Readings:
        """Readings under a statement: from our ledger if it is ours, else from who metered.

        Raises:
            TransientFault: ``peer_unreachable`` or ``rate_limited`` if the seller's node does not give them now.
        """
        detail = await self._ledger.ask("transaction", GetTransaction(id=statement), TransactionDetail)
        owner = getattr(decode_transaction(bytes(detail.transaction)).body, "member", "")
        question = GetSoldReadings(statement=statement, skip=skip)
        if owner == self._member:
            answer = await self._ledger.ask("sold_readings", question, SoldReadings)
        else:
            answer = await self._remote.sold_readings(owner, question)
        return models.Readings(
            readings=[plain(each) for each in answer.readings], total=answer.total, reason=answer.reason
        )

    async def raw_statement(self, statement: str) -> models.Evidence:
        """A metering statement's transaction."""
        return models.Evidence(part=decode_untyped(bytes(await self._raw(statement)), max_bytes=MAX_CERTIFICATE_BYTES))

    async def _raw(self, tx_id: str) -> Raw:
        return (await self._ledger.ask("transaction", GetTransaction(id=tx_id), TransactionDetail)).transaction

    async def _finality(self, height: int) -> ShownFinality:
        proof = await self._ledger.ask("finality_proof", GetFinalityProof(height=height), FinalityProof)
        members: list[Raw] = []
        more = True
        while more:
            question = GetMemberHistory(up_to_height=proof.headers[-1].height, skip=len(members))
            page = await self._ledger.ask("member_history", question, MemberHistory)
            members += page.transactions
            more = page.more and bool(page.transactions)
        return ShownFinality(members=members, headers=proof.headers, signature=proof.signature, votes=proof.votes)


def _entry(entry: BillEntry) -> dict[str, Any]:
    return {"bill": plain(entry.bill), "settled": plain(entry.settled)}


def _evidence(part: Record) -> models.Evidence:
    return models.Evidence(part=decode_untyped(encode(part), max_bytes=MAX_INTEGER))


def _placed(transaction: Transaction) -> trade_models.Placed:
    return trade_models.Placed(id=transaction.id, type=transaction.kind)
