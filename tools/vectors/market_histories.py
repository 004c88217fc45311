"""Histories of metering and trading without faults."""

from __future__ import annotations

from itertools import pairwise

from minervas_core.blocks import Block
from minervas_core.market.fills import derived_lot_id
from minervas_core.transactions import Membership, Revoke, Transaction
from tools.vectors.chain_blocks import revoke, upon
from tools.vectors.chain_cases import Step
from tools.vectors.fixtures import AUTHORITY, BLOCK_1, HAENAM, INTERVAL_MS, KIM, MEMBERS, MOKPO, MemberKeys
from tools.vectors.market_fixtures import (
    BALCONY_OF_MOKPO,
    BID,
    CANCEL,
    CLAIM,
    CREDIT_NOTE,
    FIRST_STATEMENT,
    MERGE,
    OFFER,
    PAYMENT,
    RETIRE,
    ROOF_OF_HAENAM,
    SECOND_STATEMENT,
    bid,
    cancel,
    merge,
    offer,
    pay,
    retire,
    statement,
)

METERS = upon(BLOCK_1, HAENAM, ROOF_OF_HAENAM, BALCONY_OF_MOKPO)
"""Block 2: both meters are registered."""

LOTS = upon(METERS, MOKPO, FIRST_STATEMENT, SECOND_STATEMENT)
"""Block 3: two lots of Haenam, of 900 and 500 Wh."""

FIRST_LOT, SECOND_LOT = FIRST_STATEMENT.id, SECOND_STATEMENT.id
BOUGHT = derived_lot_id(OFFER.id, BID.id, 0)
OCTOBER_MS = 1_790_864_000_000
"""2026-10-01, 14:13:20 UTC: September is over everywhere."""


def grown(*contents: tuple[Transaction, ...], on: Block = LOTS) -> list[Block]:
    """A block for each list of transactions, one upon the other, mined in turn."""
    blocks, revoked = [on], set[str]()
    for transactions in contents:
        changes = [each.body.change for each in transactions if isinstance(each.body, Membership)]
        revoked |= {change.member for change in changes if isinstance(change, Revoke)}
        blocks.append(upon(blocks[-1], _next_miner(blocks[-1], revoked), *transactions))
    return blocks[1:]


def _next_miner(last: Block, revoked: set[str]) -> MemberKeys:
    """The active members in turn; nobody mines two blocks in a row."""
    in_turn = [MEMBERS[(last.header.height + 1 + n) % 3] for n in range(3)]
    return next(who for who in in_turn if who.member not in revoked | {last.header.miner})


def line(*contents: tuple[Transaction, ...]) -> list[Step]:
    """Blocks that connect, after those with the meters and the lots."""
    return [Step(block, "connected") for block in (BLOCK_1, METERS, LOTS, *grown(*contents))]


def trading_histories() -> dict[str, list[Step]]:
    """Histories by name."""
    return {
        "a statement, an offer and a bid in blocks of their own": line((OFFER,), (BID,)),
        "an offer and a bid in one block": line((OFFER, BID)),
        "a resting bid pays its own price": line((BID,), (OFFER,)),
        **_prices(),
        **_terms(),
        **_ends(),
        **_uses(),
        **_payments(),
        **_meters(),
        **_branches(),
    }


def _prices() -> dict[str, list[Step]]:
    points = [(2_500 + 100 * n, 2_400 + 50 * n) for n in range(4)]
    minted = [statement(HAENAM, *span) for span in pairwise(points)]
    offers = [offer(HAENAM, [lot.id], price) for lot, price in zip(minted, (12, 10, 11), strict=True)]
    two_bids = (bid(KIM, 60, 10), bid(MOKPO, 60, 12))
    return {
        "a bid takes the cheapest first, two fills a block, the rest waits": line(
            tuple(minted), tuple(offers), (bid(KIM, 160, 12),), (), ()
        ),
        "an offer takes the dearest bid first": line(two_bids, (offer(HAENAM, [SECOND_LOT], 10),)),
        "at one price the older order goes first": line(
            (bid(KIM, 300, 10),), (bid(MOKPO, 300, 10),), (offer(HAENAM, [SECOND_LOT], 10),)
        ),
        "two lots are sold in the order of the offer": line(
            (offer(HAENAM, [SECOND_LOT, FIRST_LOT], 10),), (bid(KIM, 300, 10),), (bid(MOKPO, 600, 10),)
        ),
    }


def _terms() -> dict[str, list[Step]]:
    own = (offer(HAENAM, [FIRST_LOT], 10), bid(HAENAM, 300, 10))
    limited = offer(HAENAM, [FIRST_LOT], 10, smallest_wh=500)
    return {
        "a personal deal": line(
            (offer(HAENAM, [FIRST_LOT], 10, buyer=KIM.member),), (bid(MOKPO, 50, 20), bid(KIM, 50, 10))
        ),
        "the smallest fill, and the last remainder": line(
            (limited,), (bid(KIM, 499, 10),), (bid(MOKPO, 500, 10),), (bid(MOKPO, 400, 10),)
        ),
        "nobody trades with itself": line(own),
        "a gift": line((offer(HAENAM, [FIRST_LOT], 0),), (bid(KIM, 900, 0),)),
        "energy is sold on and keeps its origin": line(
            (OFFER,), (BID,), (offer(KIM, [BOUGHT], 200_000),), (bid(MOKPO, 100, 200_000),)
        ),
    }


def _ends() -> dict[str, list[Step]]:
    again = offer(HAENAM, [FIRST_LOT], 150_000)
    brief = offer(HAENAM, [FIRST_LOT], 10, valid_until_ms=LOTS.header.time_ms + 2_000)
    return {
        "an order is cancelled and its lot offered anew in one block": line((OFFER,), (CANCEL, again)),
        "a partly filled offer is cancelled": line((OFFER,), (BID,), (CANCEL,)),
        "an order is open in the block of its last moment and gone in the next": line((brief,), (), ()),
        "an order that expired does not trade": line((brief,), (bid(KIM, 50, 10),)),
        "a revocation closes orders and freezes lots": line(
            (OFFER, bid(KIM, 50, 5)), (bid(KIM, 100, 142_600),), (revoke(HAENAM, "market"),)
        ),
    }


def _uses() -> dict[str, list[Step]]:
    sale = offer(HAENAM, [MERGE.id], 10)
    first_bid, second_bid = bid(KIM, 700, 10), bid(MOKPO, 500, 10)
    parts = [derived_lot_id(sale.id, first_bid.id, 0), derived_lot_id(sale.id, second_bid.id, 2)]
    resale = offer(MOKPO, parts[1:], 10)
    back = bid(KIM, 500, 10, name="back")
    rest = bid(KIM, 600, 142_600)
    of_one_origin = [BOUGHT, derived_lot_id(OFFER.id, rest.id, 2)]
    return {
        "lots are merged": line((MERGE,)),
        "a merged lot is divided by origin, and its parts joined again": line(
            (MERGE,),
            (sale,),
            (first_bid,),
            (second_bid,),
            (resale,),
            (back,),
            (merge(KIM, [parts[0], derived_lot_id(resale.id, back.id, 0)]),),
        ),
        "two parts of one origin are merged": line((OFFER,), (BID,), (rest,), (merge(KIM, of_one_origin),)),
        "a lot is retired": line((RETIRE,)),
        "a lot is retired with a claim of what is in it": line((CLAIM,)),
        "two lots are retired with a claim of both": line(
            (retire(HAENAM, [SECOND_LOT, FIRST_LOT], claim=sorted([(FIRST_LOT, 900), (SECOND_LOT, 500)])),)
        ),
        "a merged lot is retired": line((MERGE,), (retire(HAENAM, [MERGE.id]),)),
        "two lots are retired at once": line((retire(HAENAM, [SECOND_LOT, FIRST_LOT]),)),
        "a lot of a cancelled offer is retired in its block": line((OFFER,), (CANCEL, RETIRE)),
        "a bought lot is retired in the block that sells it": line((OFFER,), (BID, retire(KIM, [BOUGHT]))),
    }


def a_month_later(*contents: tuple[Transaction, ...], traded: tuple[Transaction, ...] = (OFFER, BID)) -> list[Block]:
    """Blocks with a trade in September and, from an empty block in October on, others."""
    sold = upon(LOTS, HAENAM, *traded)
    blocks = [sold, upon(sold, KIM, time_ms=OCTOBER_MS)]
    return [*blocks, *grown(*contents, on=blocks[-1])]


def in_october(blocks: list[Block]) -> list[Step]:
    """Blocks that connect, after those with the meters and the lots."""
    return [
        Step(block, "connected", now_ms=OCTOBER_MS + 20 * INTERVAL_MS) for block in (BLOCK_1, METERS, LOTS, *blocks)
    ]


def _payments() -> dict[str, list[Step]]:
    half = pay(HAENAM, KIM, 21_000_000, name="half")
    return {
        "a bill is paid": in_october(a_month_later((PAYMENT,))),
        "a bill is paid in two parts of one block": in_october(
            a_month_later((half, pay(HAENAM, KIM, 21_000_000, name="the other half")))
        ),
        "a bill is corrected and the rest paid": in_october(a_month_later((CREDIT_NOTE,), (PAYMENT,))),
        "a bill is paid with what rounding can add": in_october(a_month_later((pay(HAENAM, KIM, 43_780_000),))),
        "the authority confirms what a revoked member was paid": in_october(
            a_month_later((revoke(HAENAM, "paid"),), (pay(HAENAM, KIM, 42_000_000, key=AUTHORITY),))
        ),
        "a revoked member pays": in_october(a_month_later((revoke(KIM, "pays"),), (PAYMENT,))),
    }


def _meters() -> dict[str, list[Step]]:
    return {
        "a statement without energy, and one after a reset": line(
            (statement(HAENAM, (2_500, 2_400), (3_000, 2_400)),),
            (statement(HAENAM, (3_200, 0), (3_300, 40), reset=True),),
        ),
        "panels of 120 W": line(
            (statement(MOKPO, (0, 129), (6_000, 130), meter="balcony", channel="ch2"),),
            (statement(MOKPO, (1_000, 77), (6_000, 77), meter="balcony", channel="ch3"),),
        ),
    }


def _branches() -> dict[str, list[Step]]:
    left = grown((OFFER,), (BID,))
    right = [upon(LOTS, KIM, BID)]
    right.append(upon(right[-1], HAENAM))
    right.append(upon(right[-1], MOKPO, OFFER))
    right.append(upon(right[-1], KIM, cancel(HAENAM, OFFER.id, "right")))
    steps = [Step(block, "connected") for block in (BLOCK_1, METERS, LOTS, *left)]
    steps += [Step(right[0], "side_branch"), Step(right[1], "side_branch"), Step(right[2], "connected")]
    return {
        "the same orders trade otherwise on a better branch": [*steps, Step(right[3], "connected")],
        "a retirement is undone by a better branch": _retired_or_merged(),
    }


def _retired_or_merged() -> list[Step]:
    left = grown((RETIRE,))
    right = [upon(LOTS, KIM), upon(upon(LOTS, KIM), HAENAM, MERGE)]
    steps = [Step(block, "connected") for block in (BLOCK_1, METERS, LOTS, *left)]
    return [*steps, Step(right[0], "side_branch"), Step(right[1], "connected")]
