"""The whole chain played again, as far as a bill needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minervas_core.audit import replay
from minervas_core.billing.records import Bill
from minervas_core.errors import Code, InvalidProof
from minervas_core.evidence.trades import ReplayedMarket
from minervas_core.genesis import Genesis
from minervas_core.market.records import Lot, Trade


def replay_for_bill(
    genesis: Genesis, blocks: Iterable[bytes], bill: Bill, progress: Callable[[int], None]
) -> ReplayedMarket:
    """Check every block from genesis on, and keep what the bill's pair traded in its month.

    Args:
        genesis: the consortium's genesis.
        blocks: canonical bytes from block 1 on.
        bill: whose trades are kept.
        progress: told each height.

    Raises:
        InvalidEncoding, InvalidBlock: the first block that breaks a rule.
        LocalFault: ``software_too_old``.
    """
    trades: dict[tuple[int, int], Trade] = {}
    lots: dict[str, Lot] = {}
    hashes: dict[int, str] = {}
    final_height = 0
    for each in replay(genesis, blocks):
        progress(each.height)
        final_height = each.state.finality.head(genesis.hash).final.height
        if not bill.period.from_ms <= each.block.header.time_ms < bill.period.until_ms:
            continue
        for trade in each.trades:
            if (trade.seller, trade.buyer) == (bill.seller, bill.buyer):
                trades[trade.height, trade.position] = trade
                lots.update({lot: each.lots[lot] for lot in trade.lots})
                hashes[each.height] = each.block.hash
    return ReplayedMarket(trades, lots, hashes, final_height)


def check_complete(bill: Bill, places: list[tuple[int, int]], replayed: ReplayedMarket) -> str:
    """Check that a bill has every trade of its pair and month, and no other.

    Raises:
        InvalidProof: ``bill_wrong``.
    """
    if places != sorted(replayed.trades):
        raise InvalidProof(
            Code.BILL_WRONG,
            "The chain has other trades of this pair and month",
            lines=len(places),
            trades=len(replayed.trades),
        )
    return f"the chain has just these {len(places)} trades of {bill.seller} and {bill.buyer} in {bill.period.month}"
