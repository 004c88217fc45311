"""The API as an application: its paths, and nothing of where the answers come from."""

from __future__ import annotations

from typing import Annotated

import prometheus_client
from fastapi import FastAPI, Path, Query, Response

from minervas_core.encoding import MAX_INTEGER
from minervas_peer import __version__
from minervas_peer.api import models
from minervas_peer.api.addition_paths import Notary, add_addition_path
from minervas_peer.api.bill_paths import add_bill_paths
from minervas_peer.api.bill_view import BillView
from minervas_peer.api.errors import READ_ERRORS, add_error_handlers
from minervas_peer.api.renewal_paths import add_renewal_paths
from minervas_peer.api.request_limits import RequestLimits
from minervas_peer.api.rule_paths import add_rule_paths
from minervas_peer.api.trade_paths import add_trade_paths
from minervas_peer.api.trade_view import TradeView
from minervas_peer.api.view import NodeView
from minervas_peer.renewal.collector import RenewalCollector
from minervas_peer.standing_rules.keeper import RulesKeeper

DESCRIPTION = (
    "What one member's node knows: its state, the other members, the chain, the market; and the member's orders. "
    "Every error has a stable code; 503 means that the same request may work later."
)
_LOOKUP_ERRORS = {**READ_ERRORS, 404: {"model": models.Error, "description": "There is no such thing on this node."}}

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Below = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Only blocks below this height; 0: from the tip.")]
BlockReference = Annotated[
    str, Path(pattern=r"^([0-9a-f]{64}|0|[1-9][0-9]{0,14})$", description="Hash, or height on the best chain.")
]
TransactionId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Id of the transaction.")]


def build_app(
    view: NodeView,
    names: frozenset[str] | None,
    *,
    trade: TradeView | None = None,
    bills: BillView | None = None,
    notary: Notary | None = None,
    renewals: RenewalCollector | None = None,
    rules: RulesKeeper | None = None,
    token: str = "",
) -> FastAPI:
    """Make the application.

    Args:
        view: where the answers come from.
        names: host names to answer under, or None for any.
        trade: metering and trading, if they are served.
        bills: bills and evidence, if they are served.
        notary: signs additions, if they are signed here.
        renewals: renewing certificates, if it is served.
        rules: standing rules, if they are served.
        token: what requests must carry that change something.
    """
    # The interactive pages of FastAPI load their scripts from elsewhere: only the description itself is served.
    app = FastAPI(title="Minervas peer", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.add_middleware(RequestLimits, names=names)
    add_error_handlers(app)
    _add_chain_paths(app, view)
    _add_service_paths(app, view)
    if trade is not None:
        add_trade_paths(app, trade, token)
    if bills is not None:
        add_bill_paths(app, bills, token)
    if notary is not None:
        add_addition_path(app, notary, token)
    if renewals is not None:
        add_renewal_paths(app, renewals, token)
    if rules is not None:
        add_rule_paths(app, rules, token)
    return app


def _add_chain_paths(app: FastAPI, view: NodeView) -> None:
    @app.get("/v1/status", responses=READ_ERRORS, summary="The node at a glance")
    async def status() -> models.Status:
        return await view.status()

    @app.get("/v1/members", responses=READ_ERRORS, summary="Members on our tip")
    async def members() -> models.Members:
        return await view.members()

    @app.get("/v1/blocks", responses=READ_ERRORS, summary="Blocks of the best chain, newest first")
    async def blocks(below_height: Below = 0, limit: Limit = 20) -> models.Blocks:
        return await view.blocks(below_height, limit)

    @app.get("/v1/blocks/{block}", responses=_LOOKUP_ERRORS, summary="One block with its transactions")
    async def block(block: BlockReference) -> models.Block:
        return await view.block(block)

    @app.get("/v1/transactions/{transaction}", responses=_LOOKUP_ERRORS, summary="One transaction")
    async def transaction(transaction: TransactionId) -> models.Transaction:
        return await view.transaction(transaction)

    @app.get("/v1/finality", responses=READ_ERRORS, summary="How far finality has come, and whom it waits for")
    async def finality() -> models.Finality:
        return await view.finality()

    @app.get("/v1/abandoned", responses=READ_ERRORS, summary="Abandoned searches of this node's miner, newest first")
    async def abandoned(limit: Limit = 20) -> models.AbandonedSearches:
        return await view.abandoned(limit)

    @app.get("/v1/side-branches", responses=READ_ERRORS, summary="Branches beside the best chain, most work first")
    async def side_branches(limit: Limit = 20) -> models.SideBranches:
        return await view.side_branches(limit)


def _add_service_paths(app: FastAPI, view: NodeView) -> None:
    @app.get("/healthz", summary="Whether the peer works", responses={503: {"model": models.Health}})
    async def healthz(response: Response) -> models.Health:
        health = view.health()
        response.status_code = 503 if health.status == "failing" else 200
        return health

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)
