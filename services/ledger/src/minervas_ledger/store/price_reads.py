"""Questions about prices and volumes of the committed market. Every function is one statement, or one moment's."""

from __future__ import annotations

from msgspec import UNSET

from minervas_core.encoding import MAX_INTEGER
from minervas_core.market.records import Clearing, Slot
from minervas_core.node_market_messages import GetClearings, GetVolumes, MarketView, PriceLevel, SlotVolume
from minervas_ledger.store.auction_rows import CLEARINGS, clearing_of
from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.market_rows import TRADES, trade_of

LEVELS = {
    "offer": """
        SELECT price_micro, least(sum(energy_wh), %(most)s)::bigint, count(*) FROM orders
        WHERE side = 'offer' AND buyer IS NULL GROUP BY price_micro ORDER BY price_micro LIMIT %(limit)s
        """,
    "bid": """
        SELECT price_micro, least(sum(energy_wh), %(most)s)::bigint, count(*) FROM orders
        WHERE side = 'bid' AND energy_wh > 0 GROUP BY price_micro ORDER BY price_micro DESC LIMIT %(limit)s
        """,
}
"""Open orders of each side by price, best first."""

VOLUMES = """
    SELECT b.time_ms / %(slot_ms)s * %(slot_ms)s AS start_ms, count(*), least(sum(t.energy_wh), %(most)s)::bigint,
        least(sum(t.amount_micro), %(most)s)::bigint, min(t.price_micro), max(t.price_micro),
        (array_agg(t.price_micro ORDER BY t.height DESC, t.position DESC))[1]
    FROM trades t JOIN blocks b ON b.hash = t.block
    WHERE b.time_ms / %(slot_ms)s * %(slot_ms)s < %(before_ms)s
    GROUP BY start_ms ORDER BY start_ms DESC LIMIT %(limit)s
    """


def market_view(connection: Connection, slot: Slot, limit: int) -> MarketView:
    """The order book by price, and the newest trade."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        offers, bids = _levels(connection, "offer", limit), _levels(connection, "bid", limit)
        query = f"{TRADES.select_statement} ORDER BY height DESC, position DESC LIMIT 1"
        last = connection.execute(query.encode(), binary=True).fetchone()
    return MarketView(
        slot=slot,
        offers=offers,
        bids=bids,
        spread_micro=offers[0].price_micro - bids[0].price_micro if offers and bids else UNSET,
        last=UNSET if last is None else trade_of(last),
    )


def clearings(connection: Connection, question: GetClearings) -> list[Clearing]:
    """What auctions decided, newest first."""
    query = f"{CLEARINGS.select_statement} WHERE height < %s ORDER BY height DESC LIMIT %s"
    rows = connection.execute(query.encode(), (question.before_height, question.limit), binary=True).fetchall()
    return [clearing_of(row) for row in rows]


def volumes(connection: Connection, slot_ms: int, question: GetVolumes) -> list[SlotVolume]:
    """What was traded in each slot, newest first."""
    asked = {"slot_ms": slot_ms, "before_ms": question.before_ms, "limit": question.limit, "most": MAX_INTEGER}
    rows = connection.execute(VOLUMES, asked, binary=True).fetchall()
    return [
        SlotVolume(
            start_ms=as_int(start_ms),
            trades=as_int(trades),
            energy_wh=as_int(energy_wh),
            amount_micro=as_int(amount_micro),
            lowest_micro=as_int(lowest),
            highest_micro=as_int(highest),
            last_micro=as_int(last),
        )
        for start_ms, trades, energy_wh, amount_micro, lowest, highest, last in rows
    ]


def _levels(connection: Connection, side: str, limit: int) -> list[PriceLevel]:
    rows = connection.execute(LEVELS[side], {"most": MAX_INTEGER, "limit": limit}, binary=True).fetchall()
    return [
        PriceLevel(price_micro=as_int(price_micro), energy_wh=as_int(energy_wh), orders=as_int(orders))
        for price_micro, energy_wh, orders in rows
    ]
