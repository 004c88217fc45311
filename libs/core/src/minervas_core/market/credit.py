"""What a member may owe: the optional credit limit (design section 5).

What is owed and what open bids could still cost stay below the parameter ``credit_limit_micro`` in all. A fill turns
part of a bid into a debt of at most the same amount, so only a new bid needs a check.
"""

from __future__ import annotations

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.settling import settled_micro
from minervas_core.market.state import Market


def owed_micro(market: Market, member: str) -> int:
    """What a member owes to all others and has not paid, in millionths of the currency."""
    pairs = [str(entry[-1]) for entry in market.obligations.listed_under("debtor", member)]
    return sum(_open_micro(market, pair) for pair in pairs)


def _open_micro(market: Market, pair: str) -> int:
    """What a pair's trades come to, less what was paid and credited: more than that may have been, with tax."""
    owed = market.obligations.get(pair)
    return max(0, owed.amount_micro - settled_micro(market, pair)) if owed is not None else 0


def open_bids_micro(market: Market, member: str) -> int:
    """What a member's open bids could cost at most, in millionths of the currency."""
    own = (order for _, order in market.orders_of(member))
    return sum(order.energy_wh * order.price_micro for order in own if order.side == "bid")


def has_credit(market: Market, member: str, more_micro: int, limit_micro: int) -> bool:
    """Whether a member may bid for another amount; a limit of 0 is none."""
    if limit_micro == 0:
        return True
    return owed_micro(market, member) + open_bids_micro(market, member) + more_micro <= limit_micro


def check_credit(market: Market, member: str, more_micro: int, limit_micro: int) -> None:
    """As `has_credit`.

    Raises:
        InvalidTransaction: ``credit_limit``.
    """
    if not has_credit(market, member, more_micro, limit_micro):
        raise InvalidTransaction(
            Code.CREDIT_LIMIT,
            "What the member owes and its open bids would exceed the credit limit",
            member=member,
            owed_micro=str(owed_micro(market, member)),
            open_bids_micro=str(open_bids_micro(market, member)),
            bid_micro=more_micro,
            limit_micro=limit_micro,
        )
