"""Collects what the API shows of metering and trading, and has orders and the like signed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UnsetType

from minervas_core.errors import Code, PeerFault
from minervas_core.node_market_messages import (
    Clearings,
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
    LotDetail,
    Lots,
    MarketView,
    Meters,
    Obligations,
    Orders,
    Readings,
    Retirements,
    Trades,
    Volumes,
)
from minervas_core.transactions import Transaction
from minervas_peer.api import trade_models as models
from minervas_peer.api.view import plain
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.trader import Terms, Trader


class TradeView:
    """The market as the API shows it. Every method raises what the ledger or the way to it raises."""

    def __init__(self, ledger: LedgerLink, trader: Trader) -> None:
        self._ledger = ledger
        self._trader = trader

    async def lots(self, question: GetLots) -> models.Lots:
        """A page of the unspent lots."""
        answer = await self._ledger.ask("lots", question, Lots)
        lots = [models.Lot(id=entry.id, **plain(entry.lot)) for entry in answer.lots]
        return models.Lots(lots=lots, more=answer.more)

    async def lot(self, lot_id: str) -> models.LotDetail:
        """One lot, traced.

        Raises:
            PeerFault: ``not_found``.
        """
        found = await self._ledger.ask("lot_detail", GetLot(id=lot_id), LotDetail)
        return models.LotDetail(
            id=found.id,
            owner=found.lot.owner,
            energy_wh=found.lot.energy_wh,
            parent=found.lot.parent,
            offer=found.lot.offer,
            joined=found.joined,
            origins=[models.TracedOrigin(**plain(origin)) for origin in found.origins],
            created_height=found.created_height,
            spent_height=None if isinstance(found.spent_height, UnsetType) else found.spent_height,
            retired_by=found.retired_by,
        )

    async def retirements(self, question: GetRetirements) -> models.Retirements:
        """A page of the retirements."""
        answer = await self._ledger.ask("retirements", question, Retirements)
        retirements = [
            models.Retirement(**{**plain(entry.retirement), "origins": [plain(origin) for origin in entry.origins]})
            for entry in answer.retirements
        ]
        return models.Retirements(retirements=retirements, more=answer.more)

    async def orders(self, member: str, limit: int) -> models.Orders:
        """Open orders of one member, or of all."""
        answer = await self._ledger.ask("orders", GetOrders(member=member, limit=limit), Orders)
        return models.Orders(orders=[models.Order(id=entry.id, **plain(entry.order)) for entry in answer.orders])

    async def trades(self, limit: int) -> models.Trades:
        """Trades, newest first."""
        answer = await self._ledger.ask("trades", GetTrades(limit=limit), Trades)
        return models.Trades(
            trades=[models.Trade(meters=entry.meters, **plain(entry.trade)) for entry in answer.trades]
        )

    async def market(self, levels: int) -> models.Market:
        """The order book by price, and what was paid last."""
        answer = await self._ledger.ask("market", GetMarket(levels=levels), MarketView)
        return models.Market(**{"spread_micro": None, "last": None, **plain(answer)})

    async def clearings(self, question: GetClearings) -> models.Clearings:
        """What auctions decided, newest first."""
        return models.Clearings(**plain(await self._ledger.ask("clearings", question, Clearings)))

    async def volumes(self, question: GetVolumes) -> models.Volumes:
        """What was traded in each slot, newest first."""
        return models.Volumes(**plain(await self._ledger.ask("volumes", question, Volumes)))

    async def obligations(self) -> models.Obligations:
        """Who owes whom."""
        answer = await self._ledger.ask("obligations", GetObligations(), Obligations)
        return models.Obligations(
            obligations=[
                models.Obligation(debtor=entry.debtor, creditor=entry.creditor, **plain(entry.owed))
                for entry in answer.obligations
            ]
        )

    async def meters(self, member: str) -> models.Meters:
        """Registered meters of one member, or of all."""
        answer = await self._ledger.ask("meters", GetMeters(member=member), Meters)
        return models.Meters(**plain(answer))

    async def readings(self, meter: str, channel: str, limit: int) -> models.Readings:
        """The newest readings of our own channels."""
        question = GetReadings(meter=meter, channel=channel, limit=limit)
        answer = await self._ledger.ask("readings", question, Readings)
        readings = [
            {**plain(entry.reading), "spool": entry.spool, "stored_ms": entry.stored_ms} for entry in answer.readings
        ]
        return models.Readings(readings=readings, stored=answer.stored, conflicts=answer.conflicts)

    async def offer(self, order: models.NewOffer) -> models.Placed:
        """Sell: named lots, or an amount.

        Raises:
            PeerFault: ``wrong_shape`` unless exactly one of the two is given.
        """
        if bool(order.lots) == bool(order.energy_wh):
            raise PeerFault(Code.WRONG_SHAPE, "Give either energy_wh or lots", lots=len(order.lots))
        terms = Terms(order.price_micro, order.valid_ms)
        if order.lots:
            placed = await self._trader.offer_lots(order.lots, terms, smallest_wh=order.smallest_wh, buyer=order.buyer)
        else:
            placed = await self._trader.offer_energy(
                order.energy_wh, terms, smallest_wh=order.smallest_wh, buyer=order.buyer
            )
        return _placed(placed)

    async def bid(self, order: models.NewBid) -> models.Placed:
        """Buy."""
        return _placed(
            await self._trader.bid(order.energy_wh, Terms(order.price_micro, order.valid_ms), repeats=order.repeats)
        )

    async def cancel(self, order: str) -> models.Placed:
        """Take an own order back."""
        return _placed(await self._trader.cancel(order))

    async def merge(self, lots: Sequence[str]) -> models.Placed:
        """Join lots."""
        return _placed(await self._trader.merge(lots))

    async def retire(self, lots: Sequence[str]) -> models.Placed:
        """Claim lots as used."""
        return _placed(await self._trader.retire(lots))

    async def veto(self, recovery: str) -> models.Placed:
        """Object to a recovery of our wallet."""
        return _placed(await self._trader.veto(recovery))


def _placed(transaction: Transaction) -> models.Placed:
    return models.Placed(id=transaction.id, type=transaction.kind)
