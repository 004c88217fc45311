"""Answers to questions about metering and trading on the best chain."""

from __future__ import annotations

from minervas_core.errors import Code, PeerFault
from minervas_core.node_market_messages import (
    ChannelRegisters,
    Clearings,
    GetChannelRegisters,
    GetClearings,
    GetLot,
    GetLots,
    GetMarket,
    GetMeters,
    GetObligations,
    GetOrders,
    GetRetirements,
    GetTrades,
    GetVolumes,
    LotDetail,
    Lots,
    MarketView,
    Meters,
    Obligations,
    Orders,
    Retirements,
    Trades,
    Volumes,
)
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.store import lot_reads, market_reads, price_reads
from minervas_ledger.store.reader import DatabaseReader


class MarketQuestions:
    """One method for each kind of question. All raise `TransientFault` ``database_away`` when it is.

    Args:
        member: whose node it is.
        worker: the chain.
        reader: the database.
    """

    def __init__(self, member: str, worker: ChainWorker, reader: DatabaseReader) -> None:
        self._member = member
        self._worker = worker
        self._reader = reader

    async def lots(self, question: GetLots) -> Lots:
        """A page of the unspent lots."""
        return await self._reader.ask(lambda database: lot_reads.unspent_lots(database, question))

    async def lot(self, question: GetLot) -> LotDetail:
        """One lot, traced.

        Raises:
            PeerFault: ``not_found``.
        """
        found = await self._reader.ask(lambda database: lot_reads.lot_detail(database, question.id))
        if found is None:
            raise PeerFault(Code.NOT_FOUND, "No such lot on the best chain", id=question.id)
        return found

    async def retirements(self, question: GetRetirements) -> Retirements:
        """A page of what was claimed as used."""
        return await self._reader.ask(lambda database: lot_reads.retirements(database, question))

    async def orders(self, question: GetOrders) -> Orders:
        """Open orders."""
        found = await self._reader.ask(
            lambda database: market_reads.open_orders(database, question.member, question.limit)
        )
        return Orders(orders=found)

    async def trades(self, question: GetTrades) -> Trades:
        """The newest trades."""
        return Trades(trades=await self._reader.ask(lambda db: market_reads.newest_trades(db, question.limit)))

    async def market(self, question: GetMarket) -> MarketView:
        """The order book by price, and what was paid last."""
        slot, _ = await self._worker.run(lambda chain: chain.market_slot())
        return await self._reader.ask(lambda database: price_reads.market_view(database, slot, question.levels))

    async def clearings(self, question: GetClearings) -> Clearings:
        """What auctions decided."""
        return Clearings(clearings=await self._reader.ask(lambda db: price_reads.clearings(db, question)))

    async def volumes(self, question: GetVolumes) -> Volumes:
        """What was traded in each slot."""
        _, slot_ms = await self._worker.run(lambda chain: chain.market_slot())
        found = await self._reader.ask(lambda database: price_reads.volumes(database, slot_ms, question))
        return Volumes(slot_ms=slot_ms, volumes=found)

    async def obligations(self, _: GetObligations) -> Obligations:
        """Who owes whom."""
        return Obligations(obligations=await self._reader.ask(market_reads.obligations))

    async def meters(self, question: GetMeters) -> Meters:
        """Registered meters, and what their channels have minted."""
        return await self._reader.ask(lambda database: market_reads.meters(database, question.member))

    async def channel_registers(self, _: GetChannelRegisters) -> ChannelRegisters:
        """Our own meters and registers, in the state at the tip."""
        return await self._worker.run(lambda chain: chain.channel_registers(self._member))
