"""What each kind of transaction may do, asked in one place (design section 5).

* `check_alone`: what needs only genesis; the answer never changes.
* `check_in_state`: what needs the state before the transaction; changes nothing.
* `apply_in_state`: carries out what was checked.
* `claims_of`: what only one transaction can have at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minervas_core import membership
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Genesis
from minervas_core.governance import recovery
from minervas_core.governance import rules as governance
from minervas_core.governance.parameters import active_parameters
from minervas_core.governance.records import ChangeAuthority, ChangeParameters
from minervas_core.market import generation, lots, orders, settling, slots
from minervas_core.market.records import Bid, Cancel, MarketBody, Merge, Offer, Retire
from minervas_core.market.settlement_records import CreditNote, Payment
from minervas_core.market.state import BlockContext
from minervas_core.metering import Generation
from minervas_core.transactions import Membership, Transaction, Veto

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def check_alone(transaction: Transaction, genesis: Genesis) -> None:
    """Check what can be judged without the state; the signature is checked elsewhere.

    Raises:
        InvalidTransaction: a code of `check_membership_alone`, `check_statement_alone` or `governance.rules`.
    """
    body = transaction.body
    match body:
        case Membership():
            membership.check_membership_alone(transaction, genesis)
        case ChangeAuthority() | ChangeParameters():
            governance.check_alone(transaction.id, body, genesis)
        case Generation():
            generation.check_statement_alone(transaction.id, body)


def begin_block(state: ChainState, height: int, genesis: Genesis) -> BlockContext:
    """What happens before a block's own transactions: wallets are recovered, slots end, orders expire or go on."""
    parameters = active_parameters(state.governance, genesis)
    context = BlockContext(height=height, fills_left=parameters.max_fills_per_block)
    recovery.recover_wallets(state, genesis.parameters.recovery_wait_ms)
    slot = slots.current_slot(state.market, genesis)
    slots.pass_time(state.market, slot, state.time_ms, parameters, context)
    return context


def check_in_state(state: ChainState, transaction: Transaction, latest_ms: int, genesis: Genesis) -> None:
    """Check a transaction against the state before it.

    Args:
        state: the state.
        transaction: the transaction.
        latest_ms: time of the block that carries it (or, in the queue, the latest that a block could have).
        genesis: the consortium's genesis.

    Raises:
        InvalidTransaction: a code of the kind's rules, with the transaction's id among the values.
    """
    try:
        _check(state, transaction, latest_ms, genesis)
    except InvalidTransaction as error:
        if "tx" in error.values:
            raise
        raise InvalidTransaction(error.code, error.message, tx=transaction.id, **error.values) from error


def apply_in_state(state: ChainState, transaction: Transaction, context: BlockContext) -> None:
    """Carry out a checked transaction."""
    body, market = transaction.body, state.market
    match body:
        case Membership():
            membership.apply_membership(state, transaction, context.height)
        case ChangeAuthority() | ChangeParameters():
            governance.apply_in_state(state.governance, transaction.id, body, context.height)
        case Generation():
            minted = generation.apply_statement(market, transaction.id, body)
            if minted is not None:
                context.lots[transaction.id] = minted
        case Payment() | CreditNote():
            settling.apply_settling(market, body)
        case _:
            _apply_of_wallet(state, transaction.id, body, context)


def claims_of(transaction: Transaction) -> tuple[str, ...]:
    """What only one transaction can have at a time: of two that share a claim, one at most applies to a state."""
    body = transaction.body
    match body:
        case Membership():
            return membership.claims_of(transaction)
        case ChangeAuthority() | ChangeParameters():
            return governance.claims_of(body)
        case Generation():
            return (f"statement {generation.channel_key(body)} {body.start.time_ms}",)
        case Offer() | Cancel() | Bid() | Merge() | Retire():
            return orders.claims_of(body)
        case Payment() | CreditNote():
            return ()
        case Veto():
            return (f"veto {body.recovery}",)


def sender_of(state: ChainState, body: MarketBody) -> str:
    """The active member whose wallet signed.

    Raises:
        InvalidTransaction: ``member_unknown``.
    """
    record = state.roster.active_by_wallet(body.sender)
    if record is None:
        raise InvalidTransaction(Code.MEMBER_UNKNOWN, "Not the wallet of an active member", sender=body.sender)
    return record.member


def _apply_of_wallet(
    state: ChainState, tx_id: str, body: Offer | Bid | Cancel | Merge | Retire | Veto, context: BlockContext
) -> None:
    market = state.market
    match body:
        case Offer():
            orders.place_offer(market, tx_id, body, sender_of(state, body), context)
        case Bid():
            orders.place_bid(market, tx_id, body, sender_of(state, body), context)
        case Cancel():
            orders.close_order(market, body.order)
        case Merge():
            lots.merge_lots(market, tx_id, body, context)
        case Retire():
            lots.retire_lots(market, tx_id, body, context)
        case Veto():
            state.governance.end_recovery(sender_of(state, body))


def _check(state: ChainState, transaction: Transaction, latest_ms: int, genesis: Genesis) -> None:
    body, market = transaction.body, state.market
    if isinstance(body, Membership | ChangeParameters):
        _check_sent_by_authority(state, body.sender, genesis)
    match body:
        case Membership():
            membership.check_membership(state, transaction)
        case ChangeAuthority() | ChangeParameters():
            governance.check_in_state(state, body, genesis)
        case Generation():
            if state.roster.active(body.member) is None:
                raise InvalidTransaction(Code.MEMBER_UNKNOWN, "Not an active member", member=body.member)
            generation.check_statement_alone(transaction.id, body)
            generation.check_statement(market, body, latest_ms)
        case Payment() | CreditNote():
            _check_sent_for_seller(state, body, genesis)
            settling.check_settling(market, body, state.time_ms, genesis)
        case _:
            _check_of_wallet(state, body, genesis)


def _check_of_wallet(state: ChainState, body: Offer | Bid | Cancel | Merge | Retire | Veto, genesis: Genesis) -> None:
    market, member, parameters = state.market, sender_of(state, body), active_parameters(state.governance, genesis)
    match body:
        case Offer():
            orders.check_offer(market, body, member, state.time_ms, parameters)
        case Bid():
            orders.check_bid(market, body, member, state.time_ms, parameters)
        case Cancel():
            orders.check_cancel(market, body, member)
        case Merge():
            lots.check_merge(market, body, member)
        case Retire():
            lots.check_retire(market, body, member)
        case Veto():
            recovery.check_veto(state, body, member)


def _check_sent_by_authority(state: ChainState, sender: str, genesis: Genesis) -> None:
    current = state.governance.authority_key(genesis)
    if sender != current:
        raise InvalidTransaction(
            Code.TX_WRONG_SENDER, "Not signed by the authority's key of today", sender=sender, current=current
        )


def _check_sent_for_seller(state: ChainState, body: Payment | CreditNote, genesis: Genesis) -> None:
    """An active seller's wallet signs; for one that was revoked or left, the authority does."""
    record = state.roster.get(body.seller)
    if record is None:
        raise InvalidTransaction(Code.MEMBER_UNKNOWN, "No such member", member=body.seller)
    if record.status != "active":
        _check_sent_by_authority(state, body.sender, genesis)
    elif body.sender != record.keys.wallet:
        raise InvalidTransaction(
            Code.TX_WRONG_SENDER, "Not the seller's wallet", sender=body.sender, seller=body.seller
        )
