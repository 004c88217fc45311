"""Questions about bills: trades of months, what was settled, and sums over a member's blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minervas_core.billing.bills import BilledTrade
from minervas_core.billing.records import BillPeriod
from minervas_core.billing.statements import MonthOfMember
from minervas_core.market.records import Trade
from minervas_core.market.settlement_records import Settlement
from minervas_core.node_bill_messages import GetSettlements, SettlementEntry
from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.market_rows import TRADES, trade_of
from minervas_ledger.store.settlement_rows import PAYMENTS, payment_of

PERIOD = """
SELECT
    coalesce((SELECT min(height) FROM blocks WHERE best_chain AND time_ms >= %(from)s AND time_ms < %(until)s), 0),
    coalesce((SELECT max(height) FROM blocks WHERE best_chain AND time_ms >= %(from)s AND time_ms < %(until)s), 0),
    coalesce((
        SELECT b.time_ms >= %(until)s FROM blocks b, node_state n WHERE b.best_chain AND b.height = n.final_height
    ), false)
"""

PAIRS = """
SELECT DISTINCT seller, buyer FROM trades
WHERE height BETWEEN %(first)s AND %(last)s AND (%(member)s = '' OR seller = %(member)s OR buyer = %(member)s)
    AND (seller, buyer) > (%(seller)s, %(buyer)s)
ORDER BY seller, buyer LIMIT %(limit)s
"""

BUYERS = "SELECT DISTINCT buyer FROM trades WHERE seller = %s AND height BETWEEN %s AND %s"

OF_PAIR = f"""
SELECT {", ".join(f"t.{column}" for column in TRADES.columns)}, b.time_ms, r.measured, r.substituted, r.missing
FROM trades t
JOIN blocks b ON b.hash = t.block
CROSS JOIN LATERAL (
    SELECT coalesce(sum(s.measured), 0)::bigint AS measured, coalesce(sum(s.substituted), 0)::bigint AS substituted,
        coalesce(sum(s.missing), 0)::bigint AS missing
    FROM (
        SELECT DISTINCT o.statement FROM lots l CROSS JOIN unnest(l.origins) AS o (statement) WHERE l.id = ANY(t.lots)
    ) AS d JOIN statements s ON s.id = d.statement
) AS r
WHERE t.seller = %s AND t.buyer = %s AND t.height BETWEEN %s AND %s ORDER BY t.height, t.position
"""  # noqa: S608 - names are constants

SETTLED = "SELECT paid_micro, credited_micro FROM settlements WHERE debtor = %s AND creditor = %s AND month = %s"

NEWEST_PAYMENTS = f"""
{PAYMENTS.select_statement} WHERE %(member)s = '' OR seller = %(member)s OR buyer = %(member)s
ORDER BY height DESC, position DESC LIMIT %(limit)s
"""

ONE_TRADE = f"{TRADES.select_statement} WHERE height = %s AND position = %s"

PRODUCED = """
SELECT coalesce(sum(end_wh - start_wh), 0)::bigint, coalesce(sum(measured), 0)::bigint,
    coalesce(sum(substituted), 0)::bigint, coalesce(sum(missing), 0)::bigint
FROM statements WHERE member = %s AND height BETWEEN %s AND %s
"""
TRADED = """
SELECT coalesce(sum(energy_wh) FILTER (WHERE seller = %(member)s), 0)::bigint,
    coalesce(sum(amount_micro) FILTER (WHERE seller = %(member)s), 0)::bigint,
    coalesce(sum(energy_wh) FILTER (WHERE buyer = %(member)s), 0)::bigint,
    coalesce(sum(amount_micro) FILTER (WHERE buyer = %(member)s), 0)::bigint
FROM trades WHERE height BETWEEN %(first)s AND %(last)s AND (seller = %(member)s OR buyer = %(member)s)
"""
RETIRED = """
SELECT coalesce(sum(o.energy_wh), 0)::bigint, coalesce(sum(o.energy_wh) FILTER (WHERE s.member = %(member)s), 0)::bigint
FROM retirements r CROSS JOIN unnest(r.origins, r.origin_wh) AS o (statement, energy_wh)
JOIN statements s ON s.id = o.statement
WHERE r.owner = %(member)s AND r.height BETWEEN %(first)s AND %(last)s
"""
UNSOLD = """
SELECT coalesce(sum(o.energy_wh), 0)::bigint
FROM lots l CROSS JOIN unnest(l.origins, l.origin_wh) AS o (statement, energy_wh)
JOIN statements s ON s.id = o.statement
WHERE l.owner = %(member)s AND s.member = %(member)s AND l.created_height <= %(last)s
    AND (l.spent_height IS NULL OR l.spent_height > %(last)s)
"""
MINED = """
SELECT miner, count(*) FROM blocks, node_state n
WHERE best_chain AND height BETWEEN %s AND %s AND height <= n.final_height GROUP BY miner
"""
MEMBERS_AT = """
SELECT member FROM roster WHERE admitted_height <= %(at)s AND (ended_height = 0 OR ended_height > %(at)s)
"""


def find_period(connection: Connection, month: str, bounds: tuple[int, int], zone: str) -> BillPeriod:
    """The blocks of a month; it is final once the last final block is after it."""
    row = connection.execute(PERIOD, {"from": bounds[0], "until": bounds[1]}, binary=True).fetchone() or (0, 0, False)
    return BillPeriod(
        month=month,
        from_ms=bounds[0],
        until_ms=bounds[1],
        time_zone=zone,
        first_height=as_int(row[0]),
        last_height=as_int(row[1]),
        is_final=bool(row[2]),
    )


def pairs_of_month(
    connection: Connection, period: BillPeriod, member: str, after: tuple[str, str], limit: int
) -> list[tuple[str, str]]:
    """Sellers and buyers who traded in a month, in order."""
    asked = {
        "first": period.first_height,
        "last": period.last_height,
        "member": member,
        "seller": after[0],
        "buyer": after[1],
        "limit": limit,
    }
    return [(str(seller), str(buyer)) for seller, buyer in connection.execute(PAIRS, asked, binary=True).fetchall()]


def buyers_of(connection: Connection, seller: str, period: BillPeriod) -> list[str]:
    """Everybody who bought from a seller in a month."""
    rows = connection.execute(BUYERS, (seller, period.first_height, period.last_height), binary=True).fetchall()
    return [str(buyer) for (buyer,) in rows]


def trades_of_pair(connection: Connection, seller: str, buyer: str, period: BillPeriod) -> list[BilledTrade]:
    """A pair's trades of a month in the order of the chain."""
    asked = (seller, buyer, period.first_height, period.last_height)
    return [
        BilledTrade(trade_of(row[:-4]), *_numbers(row[-4:], 4))
        for row in connection.execute(OF_PAIR.encode(), asked, binary=True).fetchall()
    ]


def settled(connection: Connection, seller: str, buyer: str, month: str) -> Settlement:
    """What was settled of a bill."""
    row = connection.execute(SETTLED, (buyer, seller, month), binary=True).fetchone() or (0, 0)
    return Settlement(paid_micro=as_int(row[0]), credited_micro=as_int(row[1]))


def newest_settlements(connection: Connection, question: GetSettlements) -> list[SettlementEntry]:
    """The newest payments and credit notes."""
    asked = {"member": question.member, "limit": question.limit}
    return [payment_of(row) for row in connection.execute(NEWEST_PAYMENTS.encode(), asked, binary=True).fetchall()]


def trade_at(connection: Connection, height: int, position: int) -> Trade | None:
    """One trade, or None."""
    row = connection.execute(ONE_TRADE.encode(), (height, position), binary=True).fetchone()
    return None if row is None else trade_of(row)


def month_of_member(connection: Connection, member: str, period: BillPeriod) -> MonthOfMember:
    """Sums over a month's blocks."""
    asked = {"member": member, "first": period.first_height, "last": period.last_height}
    heights = (member, period.first_height, period.last_height)
    produced, measured, by_hand, missing = _numbers(connection.execute(PRODUCED, heights, binary=True).fetchone(), 4)
    sold, revenue, bought, cost = _numbers(connection.execute(TRADED, asked, binary=True).fetchone(), 4)
    retired, own_use = _numbers(connection.execute(RETIRED, asked, binary=True).fetchone(), 2)
    [unsold] = _numbers(connection.execute(UNSOLD, asked, binary=True).fetchone(), 1)
    return MonthOfMember(
        produced_wh=produced,
        sold_wh=sold,
        revenue_micro=revenue,
        bought_wh=bought,
        cost_micro=cost,
        retired_wh=retired,
        own_use_wh=own_use,
        unsold_wh=unsold,
        measured=measured,
        substituted=by_hand,
        missing=missing,
    )


def mined_in(connection: Connection, period: BillPeriod) -> Mapping[str, int]:
    """Final blocks of a month by miner."""
    rows = connection.execute(MINED, (period.first_height, period.last_height), binary=True).fetchall()
    return {str(miner): as_int(count) for miner, count in rows}


def members_at(connection: Connection, height: int) -> list[str]:
    """Who was a member after the block at a height."""
    return [str(member) for (member,) in connection.execute(MEMBERS_AT, {"at": height}, binary=True).fetchall()]


def _numbers(row: Sequence[object] | None, count: int) -> list[int]:
    return [as_int(value) for value in row or (0,) * count]
