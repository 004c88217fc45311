"""Blocks with the one fault that their name says, upon block 3 of the trading histories."""

from __future__ import annotations

from minervas_core.market.records import Channel, MeterDeclaration
from minervas_core.transactions import Transaction
from tools.vectors.chain_blocks import revoke
from tools.vectors.chain_cases import Step
from tools.vectors.fixtures import AUTHORITY, BLOCK_1, HAENAM, KIM, MOKPO, OUTSIDER
from tools.vectors.market_fixtures import (
    FIRST_STATEMENT,
    MERGE,
    OFFER,
    PANELS,
    PAYMENT,
    RETIRE,
    bid,
    cancel,
    gateway_key,
    merge,
    offer,
    pay,
    register_meter,
    retire,
    statement,
)
from tools.vectors.market_histories import (
    BOUGHT,
    FIRST_LOT,
    LOTS,
    METERS,
    SECOND_LOT,
    a_month_later,
    grown,
    in_october,
)

Contents = dict[str, tuple[list[tuple[Transaction, ...]], str]]
"""Transactions of each block, of which the last is refused, and its code."""

LARGEST = 2**53 - 1


def market_faults() -> dict[str, list[Step]]:
    """Histories by name; the last block of each is refused."""
    found: dict[str, list[Step]] = {}
    for name, (contents, code) in (
        _meters() | _statements() | _offers() | _bids() | _cancellations() | _uses()
    ).items():
        *good, bad = grown(*contents)
        steps = [Step(block, "connected") for block in (BLOCK_1, METERS, LOTS, *good)]
        found[f"refused: {name}"] = [*steps, Step(bad, "refused", code)]
    for name, (contents, code) in _payments().items():
        *before, last = in_october(a_month_later(*contents))
        found[f"refused: {name}"] = [*before, Step(last.block, "refused", code, last.now_ms)]
    return found


def _payments() -> Contents:
    return {
        "a payment of more than is owed": ([(pay(HAENAM, KIM, 43_780_001),)], "payment_too_large"),
        "a second payment of the whole bill": (
            [(PAYMENT,), (pay(HAENAM, KIM, 42_000_000, name="again"),)],
            "payment_too_large",
        ),
        "the same payment again": ([(PAYMENT,), (PAYMENT,)], "tx_duplicate"),
        "a payment where nothing is owed": ([(pay(HAENAM, MOKPO, 1),)], "payment_too_large"),
        "a payment the other way round": ([(pay(KIM, HAENAM, 1),)], "payment_too_large"),
        "a payment for a month that is not over": ([(pay(HAENAM, KIM, 1, month="2026-10"),)], "bill_not_final"),
        "a payment for a month before the consortium": ([(pay(HAENAM, KIM, 1, month="2026-08"),)], "bill_not_final"),
        "a payment that the buyer signs": ([(pay(HAENAM, KIM, 1, key=KIM.wallet),)], "tx_wrong_sender"),
        "a payment that the authority signs for an active member": (
            [(pay(HAENAM, KIM, 1, key=AUTHORITY),)],
            "tx_wrong_sender",
        ),
        "a payment that a revoked member signs": ([(revoke(HAENAM, "p"),), (PAYMENT,)], "tx_wrong_sender"),
        "a payment of a stranger": ([(pay(OUTSIDER, KIM, 1),)], "member_unknown"),
    }


def _meters() -> Contents:
    barn = MeterDeclaration(meter="barn", model="sdm630", channels=PANELS.channels, register_step_wh=1)
    twins = MeterDeclaration(
        meter="barn", model="sdm630", channels=[Channel(name="x", rated_w=1)] * 2, register_step_wh=1
    )
    return {
        "a meter is registered twice": ([(register_meter(MOKPO, PANELS, name="again"),)], "meter_exists"),
        "a meter of nobody": ([(register_meter(OUTSIDER, barn),)], "member_unknown"),
        "a meter of a revoked member": ([(revoke(KIM, "m"),), (register_meter(KIM, barn),)], "member_unknown"),
        "two channels of one name": ([(register_meter(KIM, twins),)], "channel_twice"),
        "a gateway key of another member": (
            [(register_meter(KIM, barn, gateway=gateway_key(MOKPO).public),)],
            "key_reused",
        ),
        "a wallet as gateway key": ([(register_meter(KIM, barn, gateway=KIM.wallet.public),)], "key_reused"),
        "the authority as gateway": ([(register_meter(KIM, barn, gateway=AUTHORITY.public),)], "key_reused"),
        "a gateway key of small order": ([(register_meter(KIM, barn, gateway="00" * 32),)], "bad_key"),
    }


def _panel(start: tuple[int, int], end: tuple[int, int], *, reset: bool = False) -> Transaction:
    """A statement of a panel of 120 W."""
    return statement(MOKPO, start, end, meter="balcony", channel="ch2", reset=reset)


def _statements() -> Contents:
    end = (2_500, 2_400)
    wrong_key = statement(HAENAM, end, (3_000, 2_500), key=gateway_key(MOKPO))
    by_wallet = statement(HAENAM, end, (3_000, 2_500), key=HAENAM.wallet)
    two_steps = (
        _panel((1_000, 5), (1_001, 6)),
        _panel((1_001, 6), (1_002, 7)),
    )
    two_resets = (
        _panel((1_000, 5), (1_001, 6)),
        _panel((1_001, 0), (1_002, 1), reset=True),
    )
    return {
        "above rated power": ([(statement(HAENAM, end, (2_600, 2_400 + 121)),)], "statement_rated_power"),
        "a register step for each of two statements": ([two_steps], "statement_rated_power"),
        "a register step for each of two resets": ([two_resets], "statement_rated_power"),
        "overlapping in time": ([(statement(HAENAM, (2_499, 2_400), (3_000, 2_500)),)], "statement_overlap"),
        "stated twice": ([(statement(HAENAM, (1_500, 1_900), end, name="again"),)], "statement_overlap"),
        "a reset back in time": (
            [(statement(HAENAM, (2_000, 0), (3_000, 100), reset=True),)],
            "statement_overlap",
        ),
        "before registration": ([(_panel((-1, 0), (1_000, 0)),)], "statement_overlap"),
        "a gap in time": ([(statement(HAENAM, (2_501, 2_400), (3_000, 2_500)),)], "statement_gap"),
        "a gap in the register": ([(statement(HAENAM, (2_500, 2_401), (3_000, 2_500)),)], "statement_gap"),
        "of the future": ([(statement(HAENAM, end, (6_001, 2_500)),)], "statement_future"),
        "time stands still": ([(statement(HAENAM, end, (2_500, 2_401)),)], "statement_order"),
        "a falling register": ([(statement(HAENAM, end, (3_000, 2_399)),)], "statement_order"),
        "by the gateway of another member": ([(wrong_key,)], "tx_wrong_sender"),
        "by the owner's wallet": ([(by_wallet,)], "tx_wrong_sender"),
        "of an unknown meter": ([(statement(HAENAM, end, (3_000, 2_500), meter="barn"),)], "meter_unknown"),
        "of an unknown channel": ([(statement(HAENAM, end, (3_000, 2_500), channel="ac"),)], "channel_unknown"),
        "of a revoked member": (
            [(revoke(HAENAM, "s"),), (statement(HAENAM, end, (3_000, 2_500)),)],
            "member_unknown",
        ),
        "the same transaction again": ([(FIRST_STATEMENT,)], "tx_duplicate"),
    }


def _offers() -> Contents:
    too_many = [FIRST_LOT, SECOND_LOT, "01" * 32, "02" * 32]
    small = statement(HAENAM, (2_500, 2_400), (3_000, 2_409))
    ended = LOTS.header.time_ms
    return {
        "an offer of a lot that does not exist": ([(offer(HAENAM, ["00" * 32], 10),)], "lot_unknown"),
        "an offer of a lot of another member": ([(offer(KIM, [FIRST_LOT], 10),)], "lot_not_owned"),
        "an offer of a lot already sold": (
            [(OFFER,), (bid(KIM, 900, 142_600),), (offer(HAENAM, [FIRST_LOT], 10),)],
            "lot_unknown",
        ),
        "an offer of a lot that was bought in part": (
            [(OFFER,), (bid(KIM, 300, 150_000),), (offer(HAENAM, [BOUGHT], 10),)],
            "lot_not_owned",
        ),
        "a lot in two offers": ([(OFFER,), (offer(HAENAM, [FIRST_LOT], 10),)], "lot_offered"),
        "a lot twice in an offer": ([(offer(HAENAM, [FIRST_LOT, FIRST_LOT], 10),)], "lot_twice"),
        "an offer of four lots where three are allowed": ([(offer(HAENAM, too_many, 10),)], "order_too_large"),
        "an offer of 9 Wh": ([(small, offer(HAENAM, [small.id], 10))], "order_too_small"),
        "an offer at a huge price": ([(offer(HAENAM, [FIRST_LOT], LARGEST // 900 + 1),)], "order_too_large"),
        "an offer whose validity is over": (
            [(offer(HAENAM, [FIRST_LOT], 10, valid_until_ms=ended),)],
            "order_expired",
        ),
        "an offer of a stranger": ([(offer(OUTSIDER, [FIRST_LOT], 10),)], "member_unknown"),
        "an offer of a revoked member": ([(revoke(HAENAM, "o"),), (OFFER,)], "member_unknown"),
    }


def _bids() -> Contents:
    three = tuple(bid(KIM, 10, 1, name=str(n)) for n in range(3))
    return {
        "a bid for 9 Wh": ([(bid(KIM, 9, 10),)], "order_too_small"),
        "a bid that reaches 2^53": ([(bid(KIM, 2**50, 8),)], "order_too_large"),
        "a bid whose validity is over": (
            [(bid(KIM, 10, 10, valid_until_ms=LOTS.header.time_ms),)],
            "order_expired",
        ),
        "a fourth open order where three are allowed": ([three, (bid(KIM, 10, 1, name="3"),)], "order_limit"),
        "a bid of a stranger": ([(bid(OUTSIDER, 10, 10),)], "member_unknown"),
    }


def _cancellations() -> Contents:
    return {
        "a cancellation of nothing": ([(cancel(HAENAM, "00" * 32),)], "order_unknown"),
        "a cancellation of another's order": ([(OFFER,), (cancel(KIM, OFFER.id),)], "order_not_owned"),
        "a cancellation of a filled order": (
            [(OFFER,), (bid(KIM, 900, 142_600),), (cancel(HAENAM, OFFER.id),)],
            "order_unknown",
        ),
        "a second cancellation": (
            [(OFFER,), (cancel(HAENAM, OFFER.id),), (cancel(HAENAM, OFFER.id, "again"),)],
            "order_unknown",
        ),
    }


def _uses() -> Contents:
    both = [FIRST_LOT, SECOND_LOT]
    found: Contents = {
        "a merge of a retired lot": ([(RETIRE,), (MERGE,)], "lot_unknown"),
        "a retirement of a merged lot's part": ([(MERGE,), (RETIRE,)], "lot_unknown"),
        "a lot retired twice": ([(RETIRE,), (retire(HAENAM, [FIRST_LOT], "again"),)], "lot_unknown"),
        "an offer of a retired lot": ([(RETIRE,), (OFFER,)], "lot_unknown"),
        "a lot merged and retired in one block": ([(MERGE, RETIRE)], "lot_unknown"),
        "a lot offered and retired in one block": ([(OFFER, RETIRE)], "lot_offered"),
        "a retirement that claims too much": (
            [(retire(HAENAM, [FIRST_LOT], claim=[(FIRST_LOT, 901)]),)],
            "retire_claim",
        ),
        "a retirement that claims another origin": (
            [(retire(HAENAM, [FIRST_LOT], claim=[(SECOND_LOT, 900)]),)],
            "retire_claim",
        ),
    }
    for what, use in (("merge", merge), ("retirement", retire)):
        found |= {
            f"a {what} of a lot that does not exist": ([(use(HAENAM, [FIRST_LOT, "00" * 32]),)], "lot_unknown"),
            f"a {what} of another's lots": ([(use(KIM, both),)], "lot_not_owned"),
            f"a {what} of a lot on sale": ([(OFFER,), (use(HAENAM, both),)], "lot_offered"),
            f"a {what} that names a lot twice": ([(use(HAENAM, [FIRST_LOT, FIRST_LOT]),)], "lot_twice"),
            f"a {what} of a stranger": ([(use(OUTSIDER, both),)], "member_unknown"),
            f"a {what} of a revoked member": ([(revoke(HAENAM, what), use(HAENAM, both))], "member_unknown"),
        }
    return found
