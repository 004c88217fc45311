"""What our ledger shows of one tip, as the standing rules need it."""

from __future__ import annotations

from minervas_core.market.records import Order
from minervas_core.node_bill_messages import GetSettlements, Settlements
from minervas_core.node_market_messages import (
    GetLots,
    GetMarket,
    GetObligations,
    GetOrders,
    Lots,
    MarketView,
    Obligations,
    Orders,
)
from minervas_core.node_messages import GetStatus, LedgerStatus
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.standing_rules.decision import Situation

PAGE = 1_000
MAX_SETTLEMENTS = 200


async def read_situation(ledger: LedgerLink, member: str) -> Situation | None:
    """Ask for everything; None if the ledger syncs, or its tip moved meanwhile: answers of two tips do not fit.

    Raises:
        MinervasError: if the ledger is away or refuses.
    """
    before = await ledger.ask("status", GetStatus(), LedgerStatus)
    if before.syncing:
        return None
    market = await ledger.ask("market", GetMarket(levels=1), MarketView)
    free = await free_lots(ledger, member)
    orders = await _own_orders(ledger, member)
    owed_micro = await _owed_micro(ledger, member) if before.parameters.credit_limit_micro else 0
    after = await ledger.ask("status", GetStatus(), LedgerStatus)
    if after.tip.hash != before.tip.hash:
        return None
    return Situation(
        height=after.tip.height,
        time_ms=after.tip_time_ms,
        slot=market.slot,
        parameters=after.parameters,
        free=free,
        orders=orders,
        owed_micro=owed_micro,
    )


async def free_lots(ledger: LedgerLink, member: str) -> dict[str, int]:
    """Energy of all lots of a member that no offer holds, by id.

    Raises:
        MinervasError: if the ledger is away or refuses.
    """
    free: dict[str, int] = {}
    after, more = "", True
    while more:
        page = await ledger.ask("lots", GetLots(owner=member, free=True, after=after, limit=PAGE), Lots)
        free.update((entry.id, entry.lot.energy_wh) for entry in page.lots)
        more = page.more and bool(page.lots)
        after = page.lots[-1].id if page.lots else after
    return free


async def _own_orders(ledger: LedgerLink, member: str) -> dict[str, Order]:
    answer = await ledger.ask("orders", GetOrders(member=member, limit=PAGE), Orders)
    return {entry.id: entry.order for entry in answer.orders}


async def _owed_micro(ledger: LedgerLink, member: str) -> int:
    """What we owe and have not paid. Payments older than the newest 200 are not counted: then we bid less."""
    owed = await ledger.ask("obligations", GetObligations(), Obligations)
    open_micro = {each.creditor: each.owed.amount_micro for each in owed.obligations if each.debtor == member}
    question = GetSettlements(member=member, limit=MAX_SETTLEMENTS)
    for each in (await ledger.ask("settlements", question, Settlements)).settlements:
        if each.buyer == member and each.seller in open_micro:
            open_micro[each.seller] -= each.amount_micro
    return sum(max(0, amount_micro) for amount_micro in open_micro.values())
