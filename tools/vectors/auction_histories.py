"""Histories of a consortium with auctions: one price for each slot, fills that wait, bids that repeat."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Block
from minervas_core.genesis import Genesis, sign_genesis
from minervas_core.transactions import Membership, Revoke, Transaction
from tools.vectors.chain_blocks import revoke, upon
from tools.vectors.chain_cases import Step
from tools.vectors.fixtures import (
    ADMISSIONS,
    AUTHORITY,
    GENESIS_BODY,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MEMBERS,
    MOKPO,
    PARAMETERS,
    START_MS,
    draft,
    mine,
    ordered,
)
from tools.vectors.market_fixtures import (
    BALCONY_OF_MOKPO,
    FIRST_STATEMENT,
    ROOF_OF_HAENAM,
    SECOND_STATEMENT,
    bid,
    cancel,
    offer,
    register_meter,
    statement,
)

SLOT_MS = PARAMETERS.slot_ms

AUCTION_GENESIS: Genesis = sign_genesis(
    msgspec.structs.replace(
        GENESIS_BODY,
        parameters=msgspec.structs.replace(
            PARAMETERS, market_mode="auction", max_open_orders=5, credit_limit_micro=100_000
        ),
    ),
    AUTHORITY,
)
"""The vectors' consortium with auctions, two fills a block, and a credit limit."""

FIRST = mine(
    draft(1, AUCTION_GENESIS.hash, ordered(*ADMISSIONS), time_ms=START_MS + INTERVAL_MS, miner=MOKPO.member),
    ordered(*ADMISSIONS),
    MOKPO,
)
METERED = upon(FIRST, HAENAM, ROOF_OF_HAENAM, BALCONY_OF_MOKPO, register_meter(KIM))
"""Block 2: three meters."""

MINTED_BY_KIM = statement(KIM, (500, 0), (1_500, 400))
MINTED = upon(METERED, MOKPO, FIRST_STATEMENT, SECOND_STATEMENT, MINTED_BY_KIM)
"""Block 3: lots of 900 and 500 Wh of Haenam, one of 400 Wh of Kim."""

FIRST_LOT, SECOND_LOT, KIMS_LOT = FIRST_STATEMENT.id, SECOND_STATEMENT.id, MINTED_BY_KIM.id


class End:
    """An empty block so many slots after the last one's; the next block clears the book."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots


Content = tuple[Transaction, ...] | End


def grown(*contents: Content, on: Block = MINTED) -> list[Block]:
    """A block for each content, one upon the other, mined in turn."""
    blocks, revoked = [on], set[str]()
    for content in contents:
        transactions = () if isinstance(content, End) else content
        changes = [each.body.change for each in transactions if isinstance(each.body, Membership)]
        revoked |= {change.member for change in changes if isinstance(change, Revoke)}
        last = blocks[-1]
        in_turn = [MEMBERS[(last.header.height + 1 + n) % 3] for n in range(3)]
        miner = next(who for who in in_turn if who.member not in revoked | {last.header.miner})
        time_ms = (last.header.time_ms // SLOT_MS + content.slots) * SLOT_MS if isinstance(content, End) else 0
        blocks.append(upon(last, miner, *transactions, time_ms=time_ms))
    return blocks[1:]


def line(*contents: Content, refused: str = "") -> list[Step]:
    """Blocks that connect, but for the last one if it is to be refused with a code."""
    steps = [Step(block, "connected") for block in (FIRST, METERED, MINTED, *grown(*contents))]
    return [*steps[:-1], Step(steps[-1].block, "refused", refused)] if refused else steps


def auction_histories() -> dict[str, list[Step]]:
    """Histories by name."""
    return {**_prices(), **_terms(), **_fills(), **_repeating(), **_ends(), **_refused(), **_branches()}


def _prices() -> dict[str, list[Step]]:
    first, second = offer(HAENAM, [FIRST_LOT], 10), offer(HAENAM, [SECOND_LOT], 20)
    return {
        "orders rest until the slot ends, and all trade at one price": line(
            (first, second, bid(KIM, 600, 30), bid(MOKPO, 500, 15)), (), End(), (), ()
        ),
        "the dearest offer that sells sets the price if it sells in part": line(
            (first, second, bid(KIM, 1_000, 30)), End(), (), ()
        ),
        "the dearest bid that gets nothing holds the price up": line(
            (second, bid(KIM, 500, 31), bid(MOKPO, 300, 26)), End(), ()
        ),
        "between two prices the middle, rounded down": line((first, bid(KIM, 900, 15)), End(), ()),
        "at one price the older order goes first": line((bid(MOKPO, 300, 20),), (bid(KIM, 300, 20), second), End(), ()),
        "no offer meets a bid": line((second, bid(KIM, 100, 19)), End(), ()),
        "an empty book": line(End(), ()),
        "a gift": line((offer(HAENAM, [FIRST_LOT], 0), bid(KIM, 900, 0)), End(), ()),
    }


def _terms() -> dict[str, list[Step]]:
    whole = offer(HAENAM, [FIRST_LOT], 1, smallest_wh=900)
    return {
        "an offer whose smallest fill is not met is passed over": line(
            (whole, offer(KIM, [KIMS_LOT], 10), bid(MOKPO, 500, 14)), End(), ()
        ),
        "the smallest fill counts all that an offer sells in the auction": line(
            (offer(HAENAM, [FIRST_LOT], 10, smallest_wh=500), bid(KIM, 300, 12), bid(MOKPO, 300, 12)), End(), ()
        ),
        "what a member could sell to itself sits out": line(
            (offer(KIM, [KIMS_LOT], 10), bid(KIM, 150, 12), bid(MOKPO, 400, 11)), End(), ()
        ),
        "an offer that this leaves below its smallest fill sits out": line(
            (offer(KIM, [KIMS_LOT], 10, smallest_wh=300), bid(KIM, 150, 12), bid(MOKPO, 400, 11)), End(), ()
        ),
        "a personal deal has its own price": line(
            (
                offer(HAENAM, [FIRST_LOT], 3, buyer=MOKPO.member),
                offer(KIM, [KIMS_LOT], 10),
                bid(MOKPO, 700, 20),
            ),
            End(),
            (),
        ),
        "a personal deal of less than its smallest fill does not happen": line(
            (offer(HAENAM, [FIRST_LOT], 3, buyer=MOKPO.member, smallest_wh=400), bid(MOKPO, 399, 20)), End(), ()
        ),
    }


def _crowd() -> tuple[Transaction, ...]:
    """Four bids that share an offer: more than two fills."""
    wishes = [bid(who, 100, 20, name=str(n)) for n, who in enumerate((KIM, MOKPO, KIM, MOKPO, KIM))]
    return (offer(HAENAM, [FIRST_LOT], 10), *wishes)


def _fills() -> dict[str, list[Step]]:
    crowd = _crowd()
    late = (bid(MOKPO, 50, 90, name="late"), offer(KIM, [KIMS_LOT], 1))
    return {
        "fills beyond two wait, in order and at the same price": line(crowd, End(), (), (), (), ()),
        "orders that come while fills wait are of the next slot": line(crowd, End(), (), late, (), End(), (), ()),
        "fills of a revoked member lapse": line(crowd, End(), (), (revoke(KIM, "auction"),), (), ()),
        "refused: a cancellation of an order whose fills wait": line(
            crowd, End(), (), (cancel(HAENAM, crowd[0].id),), refused="order_cleared"
        ),
    }


def _repeating() -> dict[str, list[Step]]:
    again = bid(KIM, 200, 20, repeats=True)
    sale = offer(HAENAM, [FIRST_LOT], 10)
    return {
        "a bid that repeats wants its energy of every slot": line(
            (sale, again), End(), (), End(), (), (cancel(KIM, again.id),), End(), ()
        ),
        "however many slots passed, once": line((sale, again), End(4), (), (), End(), ()),
        "a bid that repeats ends": line(
            (sale, bid(KIM, 200, 20, repeats=True, valid_until_ms=START_MS + SLOT_MS)), End(), (), End(), ()
        ),
        "a bid that repeats comes again only while the credit suffices": line(
            (offer(HAENAM, [FIRST_LOT], 200), bid(KIM, 200, 200, repeats=True)), End(), (), End(), (), End(), ()
        ),
    }


def _ends() -> dict[str, list[Step]]:
    end_ms = START_MS + SLOT_MS
    sale = offer(HAENAM, [FIRST_LOT], 10)
    return {
        "valid to the slot's end is enough, to a moment before is not": line(
            (sale, bid(KIM, 100, 20, valid_until_ms=end_ms), bid(MOKPO, 100, 20, valid_until_ms=end_ms - 1)), End(), ()
        ),
        "an order is cancelled before its slot ends": line(
            (sale, bid(KIM, 100, 20)), (cancel(HAENAM, sale.id),), End(), ()
        ),
    }


def _refused() -> dict[str, list[Step]]:
    half = bid(KIM, 500, 100)
    return {
        "refused: a bid beyond the credit": line((bid(KIM, 501, 200),), refused="credit_limit"),
        "refused: a bid that with the open ones is beyond the credit": line(
            (half,), (bid(KIM, 501, 100),), refused="credit_limit"
        ),
        "refused: a bid that with the debts is beyond the credit": line(
            (offer(HAENAM, [FIRST_LOT], 100), half), End(), (), (bid(KIM, 501, 100),), refused="credit_limit"
        ),
    }


def _branches() -> dict[str, list[Step]]:
    orders = (offer(HAENAM, [FIRST_LOT], 10), bid(KIM, 300, 20))
    left = grown(orders, End(), ())
    right = grown(orders, (bid(MOKPO, 700, 30),), End(), ())
    steps = [Step(block, "connected") for block in (FIRST, METERED, MINTED, *left)]
    steps += [Step(block, "side_branch") for block in right[1:3]]
    return {
        "an auction is undone by a better branch, and decided otherwise there": [*steps, Step(right[3], "connected")]
    }
