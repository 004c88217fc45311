"""Answers to questions about bills, payments and evidence, out of committed blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import msgspec

from minervas_core.billing.bills import bill_lines, make_bill, places
from minervas_core.billing.records import Bill, BillLine, BillPeriod, MemberStatement
from minervas_core.billing.statements import make_statement
from minervas_core.encoding import encode
from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_core.evidence.finality import MAX_SHOWN_HEADERS, ShownFinality, check_final
from minervas_core.evidence.known_keys import KnownKeys
from minervas_core.genesis import Genesis
from minervas_core.metering import Reading
from minervas_core.node_bill_messages import (
    MAX_READINGS_ANSWER_BYTES,
    MAX_SHOWN_READINGS,
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
from minervas_ledger.store import bill_reads, evidence_reads
from minervas_ledger.store.audit_rows import snapshot
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.reader import DatabaseReader
from minervas_runtime.months import month_bounds


class BillQuestions:
    """One method for each kind of question. All raise `TransientFault` ``database_away`` when it is.

    Args:
        member: whose node it is.
        genesis: the consortium's genesis.
        reader: the database.
    """

    def __init__(self, member: str, genesis: Genesis, reader: DatabaseReader) -> None:
        self._member = member
        self._genesis = genesis
        self._reader = reader

    async def bills(self, question: GetBills) -> Bills:
        """A page of a month's bills."""

        def ask(database: Connection) -> Bills:
            with snapshot(database):
                period = self._period(database, question.month)
                after = (question.after_seller, question.after_buyer)
                pairs = bill_reads.pairs_of_month(database, period, question.member, after, question.limit + 1)
                entries = [self._entry(database, period, *pair)[0] for pair in pairs[: question.limit]]
                return Bills(bills=entries, more=len(pairs) > question.limit)

        return await self._reader.ask(ask)

    async def lines(self, question: GetBillLines) -> BillLines:
        """A page of one bill's lines.

        Raises:
            PeerFault: ``not_found`` if the pair traded nothing in the month.
        """

        def ask(database: Connection) -> BillLines:
            with snapshot(database):
                period = self._period(database, question.month)
                entry, lines = self._entry(database, period, question.seller, question.buyer)
            shown = lines[question.after_line : question.after_line + question.limit]
            return BillLines(entry=entry, lines=shown, more=question.after_line + len(shown) < len(lines))

        found = await self._reader.ask(ask)
        if not found.entry.bill.lines:
            raise PeerFault(
                Code.NOT_FOUND, "They traded nothing in this month", seller=question.seller, buyer=question.buyer
            )
        return found

    async def statement(self, question: GetMemberStatement) -> MemberStatement:
        """A member's month at a glance."""

        def ask(database: Connection) -> MemberStatement:
            with snapshot(database):
                period = self._period(database, question.month)
                pays = bool(self._genesis.parameters.reward_micro)
                return make_statement(
                    self._genesis,
                    question.member,
                    period,
                    bill_reads.month_of_member(database, question.member, period),
                    mined=bill_reads.mined_in(database, period) if pays else {},
                    members=bill_reads.members_at(database, period.last_height),
                )

        return await self._reader.ask(ask)

    async def settlements(self, question: GetSettlements) -> Settlements:
        """The newest payments and credit notes."""
        found = await self._reader.ask(lambda database: bill_reads.newest_settlements(database, question))
        return Settlements(settlements=found)

    async def trade(self, question: GetTradeAt) -> TradeAt:
        """One trade.

        Raises:
            PeerFault: ``not_found``.
        """
        found = await self._reader.ask(
            lambda database: bill_reads.trade_at(database, question.height, question.position)
        )
        if found is None:
            raise PeerFault(Code.NOT_FOUND, "No such trade", height=question.height, position=question.position)
        return TradeAt(trade=found)

    async def finality(self, question: GetFinalityProof) -> FinalityProof:
        """What shows that a block is final.

        Raises:
            PeerFault: ``not_found`` if the best chain has no such block.
            TransientFault: ``not_ready`` if too few votes for it stand in blocks.
        """
        found = await self._reader.ask(lambda database: self._shown(database, question.height))
        if found is None:
            raise TransientFault(Code.NOT_READY, "Its block is not shown final yet", height=question.height)
        return found

    async def member_history(self, question: GetMemberHistory) -> MemberHistory:
        """A page of what changed who the members are."""
        raws, more = await self._reader.ask(lambda database: evidence_reads.member_history(database, question))
        return MemberHistory(transactions=[msgspec.Raw(raw) for raw in raws], more=more)

    async def sold_readings(self, question: GetSoldReadings) -> SoldReadings:
        """Readings behind energy that was sold, for who has or had it.

        Raises:
            PeerFault: ``not_authorised`` for anybody else.
        """
        asker = question.asker or self._member
        if not await self._reader.ask(
            lambda database: evidence_reads.may_see_readings(database, asker, question.statement)
        ):
            raise PeerFault(Code.NOT_AUTHORISED, "This energy is not and was not the asker's", asker=asker)
        span, readings = await self._reader.ask(
            lambda database: evidence_reads.readings_under(database, question.statement)
        )
        if span is None or span.channel[0] != self._member or not readings:
            return SoldReadings(readings=[], total=0, reason="this node does not have them (any more)")
        return SoldReadings(readings=_that_fit(readings[question.skip :]), total=len(readings))

    def _period(self, database: Connection, month: str) -> BillPeriod:
        zone = self._genesis.body.time_zone
        return bill_reads.find_period(database, month, month_bounds(zone, month), zone)

    def _entry(
        self, database: Connection, period: BillPeriod, seller: str, buyer: str
    ) -> tuple[BillEntry, list[BillLine]]:
        lines = bill_lines(bill_reads.trades_of_pair(database, seller, buyer, period))
        place = places([*bill_reads.buyers_of(database, seller, period), buyer])[buyer]
        bill: Bill = make_bill(self._genesis, seller, buyer, period, lines, place=place)
        return BillEntry(bill=bill, settled=bill_reads.settled(database, seller, buyer, period.month)), lines

    def _shown(self, database: Connection, height: int) -> FinalityProof | None:
        """The first checkpoint above a block whose votes convince, and how to get there."""
        last = height + MAX_SHOWN_HEADERS + evidence_reads.VOTES_WITHIN
        first = next(evidence_reads.shown_blocks(database, height, height), None)
        if first is None:
            raise PeerFault(Code.NOT_FOUND, "The best chain has no such block", height=height)
        interval = self._genesis.parameters.vote_interval
        found = evidence_reads.headers_to_checkpoint(evidence_reads.shown_blocks(database, height, last), interval)
        for headers, votes in found:
            members = evidence_reads.all_members(database, headers[-1].height)
            proof = FinalityProof(headers=headers, signature=first[1], votes=[msgspec.Raw(vote.raw) for vote in votes])
            shown = ShownFinality(members=[], headers=proof.headers, signature=proof.signature, votes=proof.votes)
            try:
                check_final(self._genesis, shown, KnownKeys(self._genesis, members))
            except PeerFault:
                continue
            return proof
        return None


def _that_fit(readings: Sequence[Reading]) -> list[Reading]:
    """As many as one answer can have."""
    chosen: list[Reading] = []
    size = 0
    for reading in islice(readings, MAX_SHOWN_READINGS):
        if size >= MAX_READINGS_ANSWER_BYTES:
            break
        chosen.append(reading)
        size += len(encode(reading)) + 1
    return chosen
