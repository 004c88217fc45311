"""Paths of the API about metering and trading."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query

from minervas_core.encoding import MAX_INTEGER
from minervas_core.node_market_messages import GetClearings, GetLots, GetRetirements, GetVolumes
from minervas_peer.api import models
from minervas_peer.api import trade_models as trade
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.errors import READ_ERRORS
from minervas_peer.api.trade_view import TradeView

WRITES: dict[int | str, dict[str, Any]] = {
    **READ_ERRORS,
    401: {"model": models.Error, "description": "The token of the peer's data directory is missing or wrong."},
    409: {"model": models.Error, "description": "The chain's rules refuse it; the code says which."},
}

LOOKUP_ERRORS = {**READ_ERRORS, 404: {"model": models.Error, "description": "The best chain has no such lot."}}

Member = Annotated[
    str, Query(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$", description="Only this member's; empty: all.")
]
Name = Annotated[str, Query(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$", description="Empty: all.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
After = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$", description="Only ids above this one.")]
Place = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Only those before this place in the chain.")]
LongLimit = Annotated[int, Query(ge=1, le=1_000, description="How many at most.")]


def add_trade_paths(app: FastAPI, view: TradeView, token: str) -> None:
    """Add the paths to an application; those that trade ask for `token`."""
    _add_readable(app, view)
    _add_prices(app, view)
    _add_writable(app, view, TokenCheck(token))


def _add_prices(app: FastAPI, view: TradeView) -> None:
    @app.get("/v1/market", responses=READ_ERRORS, summary="The order book by price, and the last price")
    async def market(levels: Limit = 20) -> trade.Market:
        return await view.market(levels)

    @app.get("/v1/clearings", responses=READ_ERRORS, summary="Results of auctions, newest first")
    async def clearings(before_height: Place = MAX_INTEGER, limit: Limit = 50) -> trade.Clearings:
        return await view.clearings(GetClearings(before_height=before_height, limit=limit))

    @app.get("/v1/volumes", responses=READ_ERRORS, summary="What was traded in each slot, newest first")
    async def volumes(before_ms: Place = MAX_INTEGER, limit: Limit = 50) -> trade.Volumes:
        return await view.volumes(GetVolumes(before_ms=before_ms, limit=limit))


def _add_readable(app: FastAPI, view: TradeView) -> None:
    @app.get("/v1/lots", responses=READ_ERRORS, summary="Unspent lots of energy")
    async def lots(*, owner: Member = "", free: bool = False, after: After = "", limit: LongLimit = 200) -> trade.Lots:
        return await view.lots(GetLots(owner=owner, free=free, after=after, limit=limit))

    @app.get("/v1/lots/{lot}", responses=LOOKUP_ERRORS, summary="One lot, traced to its meters")
    async def lot(lot: Annotated[str, Path(pattern=trade.HASH_PATTERN)]) -> trade.LotDetail:
        return await view.lot(lot)

    @app.get("/v1/retirements", responses=READ_ERRORS, summary="Lots claimed as used, newest first")
    async def retirements(
        owner: Member = "", before_height: Place = MAX_INTEGER, before_position: Place = MAX_INTEGER, limit: Limit = 50
    ) -> trade.Retirements:
        return await view.retirements(
            GetRetirements(owner=owner, before_height=before_height, before_position=before_position, limit=limit)
        )

    @app.get("/v1/orders", responses=READ_ERRORS, summary="Open offers and bids")
    async def orders(member: Member = "", limit: LongLimit = 200) -> trade.Orders:
        return await view.orders(member, limit)

    @app.get("/v1/trades", responses=READ_ERRORS, summary="Trades, newest first")
    async def trades(limit: Limit = 50) -> trade.Trades:
        return await view.trades(limit)

    @app.get("/v1/obligations", responses=READ_ERRORS, summary="Who owes whom")
    async def obligations() -> trade.Obligations:
        return await view.obligations()

    @app.get("/v1/meters", responses=READ_ERRORS, summary="Registered meters and what they minted")
    async def meters(member: Member = "") -> trade.Meters:
        return await view.meters(member)

    @app.get("/v1/readings", responses=READ_ERRORS, summary="The newest readings of our own channels")
    async def readings(meter: Name = "", channel: Name = "", limit: Limit = 60) -> trade.Readings:
        return await view.readings(meter, channel, limit)


def _add_writable(app: FastAPI, view: TradeView, check: TokenCheck) -> None:
    guard = [Depends(check)]

    @app.post("/v1/offers", responses=WRITES, dependencies=guard, status_code=202, summary="Put energy on sale")
    async def offer(order: trade.NewOffer) -> trade.Placed:
        return await view.offer(order)

    @app.post("/v1/bids", responses=WRITES, dependencies=guard, status_code=202, summary="Ask for energy")
    async def bid(order: trade.NewBid) -> trade.Placed:
        return await view.bid(order)

    @app.post("/v1/cancellations", responses=WRITES, dependencies=guard, status_code=202, summary="Take an order back")
    async def cancel(order: trade.Cancellation) -> trade.Placed:
        return await view.cancel(order.order)

    @app.post("/v1/merges", responses=WRITES, dependencies=guard, status_code=202, summary="Join own lots into one")
    async def merge(merge: trade.NewMerge) -> trade.Placed:
        return await view.merge(merge.lots)

    @app.post("/v1/retirements", responses=WRITES, dependencies=guard, status_code=202, summary="Claim lots as used")
    async def retire(retirement: trade.NewRetirement) -> trade.Placed:
        return await view.retire(retirement.lots)

    @app.post("/v1/vetoes", responses=WRITES, dependencies=guard, status_code=202, summary="Keep our wallet")
    async def veto(veto: trade.NewVeto) -> trade.Placed:
        return await view.veto(veto.recovery)
