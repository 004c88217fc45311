"""What a peer asks its ledger about bills and evidence, sealed under the node key; and one peer another's."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.billing.records import MAX_LINES_PER_ANSWER, Bill, BillLine, MemberStatement
from minervas_core.blocks import Header
from minervas_core.encoding import Count, Hash, Record, Signature
from minervas_core.evidence.finality import MAX_SHOWN_HEADERS
from minervas_core.finality.votes import MAX_BLOCK_VOTES
from minervas_core.identifiers import MemberId
from minervas_core.market.records import Trade
from minervas_core.market.settlement_records import AmountMicro, CreditReason, Month, Settlement
from minervas_core.metering import Reading

MAX_BILLS_PER_ANSWER = 50
"""Pairs in one answer."""
MAX_HISTORY_PER_ANSWER = 200
"""Membership transactions in one answer: an admission has about 3 kB."""
MAX_SHOWN_READINGS = 1_000
"""Readings in one answer; cut earlier where they have long frames."""
MAX_READINGS_ANSWER_BYTES = 1_000_000
"""The last reading of an answer may begin below this."""

OptionalMember = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?\Z")]


class GetBills(Record, frozen=True, kw_only=True):
    """Request: a page of a month's bills, of one member (as seller or as buyer) or of all, by seller and buyer."""

    month: Month
    member: OptionalMember = ""
    after_seller: OptionalMember = ""
    after_buyer: OptionalMember = ""
    """Only bills after this pair: the last of the page before."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_BILLS_PER_ANSWER)] = 20


class BillEntry(Record, frozen=True, kw_only=True):
    """A bill and what was settled of it."""

    bill: Bill
    settled: Settlement


class Bills(Record, frozen=True, kw_only=True):
    """Answer to `GetBills`."""

    bills: list[BillEntry]
    more: bool


class GetBillLines(Record, frozen=True, kw_only=True):
    """Request: a page of one bill's lines."""

    month: Month
    seller: MemberId
    buyer: MemberId
    after_line: Count = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES_PER_ANSWER)] = MAX_LINES_PER_ANSWER


class BillLines(Record, frozen=True, kw_only=True):
    """Answer to `GetBillLines`: the bill as of now, and some of its lines."""

    entry: BillEntry
    lines: list[BillLine]
    more: bool


class GetMemberStatement(Record, frozen=True, kw_only=True):
    """Request: a member's month at a glance. Answer: `MemberStatement`."""

    month: Month
    member: MemberId


class GetSettlements(Record, frozen=True, kw_only=True):
    """Request: the newest payments and credit notes, of one member or of all."""

    member: OptionalMember = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class SettlementEntry(Record, frozen=True, kw_only=True):
    """A payment, or a credit note (which has a reason)."""

    transaction: Hash
    height: Count
    seller: MemberId
    buyer: MemberId
    month: Month
    amount_micro: AmountMicro
    reason: CreditReason | msgspec.UnsetType = msgspec.UNSET


class Settlements(Record, frozen=True, kw_only=True):
    """Answer to `GetSettlements`, newest first."""

    settlements: list[SettlementEntry]


class GetTradeAt(Record, frozen=True, kw_only=True):
    """Request: one trade by its place in the chain. Answer: `TradeAt`."""

    height: Count
    position: Count


class TradeAt(Record, frozen=True, kw_only=True):
    """Answer to `GetTradeAt`."""

    trade: Trade


class GetFinalityProof(Record, frozen=True, kw_only=True):
    """Request: what shows that a block of the best chain is final."""

    height: Count


class FinalityProof(Record, frozen=True, kw_only=True):
    """Answer to `GetFinalityProof`: as `evidence.finality.ShownFinality`, without the members."""

    headers: Annotated[list[Header], msgspec.Meta(min_length=1, max_length=MAX_SHOWN_HEADERS)]
    signature: Signature
    votes: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BLOCK_VOTES)]


class GetMemberHistory(Record, frozen=True, kw_only=True):
    """Request: a page of the transactions that changed who the members are, in the order of the chain."""

    up_to_height: Count
    skip: Count = 0
    """How many came with the pages before."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_HISTORY_PER_ANSWER)] = MAX_HISTORY_PER_ANSWER


class MemberHistory(Record, frozen=True, kw_only=True):
    """Answer to `GetMemberHistory`."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_HISTORY_PER_ANSWER)]
    more: bool


class GetSoldReadings(Record, frozen=True, kw_only=True):
    """Request: readings under one statement, a page at a time.

    Between peers (sealed) it is asked by who has or had energy of that statement; a peer adds who asks.
    """

    statement: Hash
    skip: Count = 0
    asker: OptionalMember = ""
    """Set by the seller's peer, from the frame that brought the request; empty for our own member."""


class SoldReadings(Record, frozen=True, kw_only=True):
    """Answer to `GetSoldReadings`, in the order under the statement's root."""

    readings: Annotated[list[Reading], msgspec.Meta(max_length=MAX_SHOWN_READINGS)]
    total: Count
    """Readings under the statement, as far as they are there; 0 if there is nothing to show."""
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """Why there is nothing to show."""


NODE_BILL_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "bills": (GetBills, Bills),
    "bill_lines": (GetBillLines, BillLines),
    "member_statement": (GetMemberStatement, MemberStatement),
    "settlements": (GetSettlements, Settlements),
    "trade_at": (GetTradeAt, TradeAt),
    "finality_proof": (GetFinalityProof, FinalityProof),
    "member_history": (GetMemberHistory, MemberHistory),
    "sold_readings": (GetSoldReadings, SoldReadings),
}
"""Request and answer inside a node, by kind."""

BILL_PEER_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "sold_readings": (GetSoldReadings, SoldReadings),
}
"""Request and answer between peers (sealed), by kind."""
