"""Paths of the API about bills, payments, certificates of origin and evidence."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query

from minervas_core.encoding import MAX_INTEGER
from minervas_core.node_bill_messages import GetBillLines, GetBills, GetSettlements
from minervas_peer.api import bill_models as models
from minervas_peer.api import trade_models
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.bill_view import BillView
from minervas_peer.api.errors import READ_ERRORS
from minervas_peer.api.trade_paths import LOOKUP_ERRORS, WRITES

Month = Annotated[str, Path(pattern=models.MONTH_PATTERN, description="As 2026-03, in the consortium's time zone.")]
Member = Annotated[str, Path(pattern=models.MEMBER_PATTERN)]
OptionalMember = Annotated[str, Query(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$", description="Empty: all.")]
Hash = Annotated[str, Path(pattern=trade_models.HASH_PATTERN)]
Count = Annotated[int, Query(ge=0, le=MAX_INTEGER)]
Height = Annotated[int, Path(ge=1, le=MAX_INTEGER)]
Position = Annotated[int, Path(ge=0, le=MAX_INTEGER)]


def add_bill_paths(app: FastAPI, view: BillView, token: str) -> None:
    """Add the paths to an application; those that sign ask for `token`."""
    _add_bills(app, view)
    _add_evidence(app, view)
    _add_writable(app, view, TokenCheck(token))


def _add_bills(app: FastAPI, view: BillView) -> None:
    @app.get("/v1/bills/{month}", responses=READ_ERRORS, summary="A month's bills")
    async def bills(
        month: Month,
        member: OptionalMember = "",
        after_seller: OptionalMember = "",
        after_buyer: OptionalMember = "",
        limit: Annotated[int, Query(ge=1, le=50)] = 20,
    ) -> models.Bills:
        return await view.bills(
            GetBills(month=month, member=member, after_seller=after_seller, after_buyer=after_buyer, limit=limit)
        )

    @app.get("/v1/bills/{month}/{seller}/{buyer}", responses=LOOKUP_ERRORS, summary="One bill with its lines")
    async def bill(
        month: Month,
        seller: Member,
        buyer: Member,
        after_line: Count = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> models.BillLines:
        return await view.bill(
            GetBillLines(month=month, seller=seller, buyer=buyer, after_line=after_line, limit=limit)
        )

    @app.get("/v1/statements/{month}", responses=READ_ERRORS, summary="A member's month at a glance")
    async def statement(month: Month, member: OptionalMember = "") -> models.Statement:
        return await view.statement(month, member)

    @app.get("/v1/settlements", responses=READ_ERRORS, summary="Payments and credit notes, newest first")
    async def settlements(
        member: OptionalMember = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> models.Settlements:
        return await view.settlements(GetSettlements(member=member, limit=limit))


def _add_evidence(app: FastAPI, view: BillView) -> None:
    @app.get("/v1/genesis", responses=READ_ERRORS, summary="The genesis file of this node")
    async def genesis() -> models.GenesisOfNode:
        return view.genesis()

    @app.get("/v1/certificates/{transaction}", responses=LOOKUP_ERRORS, summary="The certificate of a retirement")
    async def certificate(transaction: Hash) -> models.Evidence:
        return await view.certificate(transaction)

    @app.get(
        "/v1/evidence/trades/{height}/{position}", responses=LOOKUP_ERRORS, summary="What stands behind a bill's line"
    )
    async def trade(
        height: Height, position: Position, line: Annotated[int, Query(ge=1, le=MAX_INTEGER)] = 1
    ) -> models.Evidence:
        return await view.trade(line, height, position)

    @app.get("/v1/evidence/statements/{statement}", responses=LOOKUP_ERRORS, summary="A metering statement, signed")
    async def raw_statement(statement: Hash) -> models.Evidence:
        return await view.raw_statement(statement)

    @app.get(
        "/v1/evidence/statements/{statement}/readings",
        responses=LOOKUP_ERRORS,
        summary="Readings behind energy that we have or had, from the seller's node",
    )
    async def readings(statement: Hash, skip: Count = 0) -> models.Readings:
        return await view.readings(statement, skip)


def _add_writable(app: FastAPI, view: BillView, check: TokenCheck) -> None:
    guard = [Depends(check)]

    @app.post("/v1/payments", responses=WRITES, dependencies=guard, status_code=202, summary="Confirm a payment")
    async def pay(payment: models.NewPayment) -> trade_models.Placed:
        return await view.pay(payment)

    @app.post("/v1/credit-notes", responses=WRITES, dependencies=guard, status_code=202, summary="Correct a bill")
    async def credit(note: models.NewCreditNote) -> trade_models.Placed:
        return await view.credit(note)
