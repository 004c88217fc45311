"""What membership transactions may do and what they change (design section 5, transactions).

Rules come in two halves: `check_membership_alone` needs only genesis, so its answer never changes and may be
remembered; `check_membership` needs the state before the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from minervas_core.box import load_box_public
from minervas_core.errors import Code, InvalidTransaction, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.key_owners import check_unused, reused
from minervas_core.governance.recovery import announce_recovery, check_recovery
from minervas_core.governance.rotation import check_rotation, rotate_keys
from minervas_core.identifiers import check_member_id
from minervas_core.keys import check_public_key
from minervas_core.market import meters
from minervas_core.market.orders import close_orders_of
from minervas_core.roster import MemberRecord, Roster, key_texts
from minervas_core.transactions import (
    Admit,
    Change,
    Leave,
    Membership,
    Recover,
    RegisterMeter,
    Resume,
    Revoke,
    Rotate,
    Suspend,
    Transaction,
)

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def check_membership_alone(transaction: Transaction, genesis: Genesis) -> None:
    """Check what can be judged without the state: whether the keys can be used at all. Who may sign, the state tells.

    Raises:
        InvalidTransaction: ``bad_member_id``, ``bad_key`` or ``key_reused``.
    """
    body = membership_of(transaction)
    exclusive, gateways, box = _keys_of(body.change)
    try:
        check_member_id(body.change.member)
        for key in (*exclusive, *gateways):
            check_public_key(key)
        if box:
            load_box_public(box)
    except PeerFault as error:
        raise InvalidTransaction(error.code, error.message, tx=transaction.id, **error.values) from error
    _check_keys_differ(transaction, [*exclusive, *([box] if box else [])], set(gateways), genesis)


def membership_of(transaction: Transaction) -> Membership:
    """The body of a membership transaction.

    Raises:
        InvalidTransaction: ``tx_wrong_sender`` for any other kind: the authority signs nothing else.
    """
    if not isinstance(transaction.body, Membership):
        raise InvalidTransaction(
            Code.TX_WRONG_SENDER, "Not a membership transaction", tx=transaction.id, kind=transaction.kind
        )
    return transaction.body


def check_membership(state: ChainState, transaction: Transaction) -> None:
    """Check a change of the roster against the state before it.

    Raises:
        InvalidTransaction: ``member_exists``, ``member_unknown``, ``member_revoked``, ``member_left``,
            ``member_suspended``, ``member_not_suspended``, or a code of `check_registration`, `check_rotation` or
            `check_recovery`.
    """
    body, tx_id = membership_of(transaction), transaction.id
    match body.change:
        case Admit() as change:
            _check_admission(state, change, tx_id)
        case Suspend(member=member) | Resume(member=member):
            _check_voting(_member(state.roster, member, tx_id), body.change, tx_id)
        case Revoke(member=member) | Leave(member=member):
            _member(state.roster, member, tx_id)
        case RegisterMeter() as change:
            meters.check_registration(state, tx_id, change)
        case Rotate() as change:
            record = _member(state.roster, change.member, tx_id)
            check_rotation(state, change, record, body, tx_id)
        case Recover() as change:
            _member(state.roster, change.member, tx_id)
            check_recovery(state, change, tx_id)


def apply_membership(state: ChainState, transaction: Transaction, height: int) -> None:
    """Change the state as a checked transaction in the block at `height` says."""
    change = membership_of(transaction).change
    if isinstance(change, Admit):
        record = MemberRecord(
            member=change.member,
            keys=change.keys,
            status="active",
            admitted_height=height,
            admitted_by=transaction.id,
        )
        state.roster.put(record)
        return
    record = _member(state.roster, change.member, transaction.id)
    match change:
        case Suspend():
            state.roster.put(msgspec.structs.replace(record, suspended_height=height))
        case Resume():
            state.roster.put(msgspec.structs.replace(record, suspended_height=0))
        case Revoke() | Leave():
            status = "revoked" if isinstance(change, Revoke) else "left"
            state.roster.put(msgspec.structs.replace(record, status=status, ended_height=height))
            state.governance.end_recovery(change.member)
            close_orders_of(state.market, change.member)
        case RegisterMeter():
            meters.register_meter(state.market, change, state.time_ms)
        case Rotate():
            rotate_keys(state, change, record)
        case Recover():
            announce_recovery(state, change, transaction.id, height)


def claims_of(transaction: Transaction) -> tuple[str, ...]:
    """What only one transaction can have at a time: of two that share a claim, one at most applies to a state."""
    match membership_of(transaction).change:
        case Admit(member=member, keys=keys):
            return (f"admit {member}", *_key_claims(key_texts(keys)))
        case Revoke(member=member) | Leave(member=member):
            return (f"end {member}",)
        case RegisterMeter(member=member, meter=meter):
            return (f"meter {member}/{meter.meter}",)
        case Suspend(member=member) | Resume(member=member):
            return (f"voting {member}",)
        case Rotate(keys=new_keys):
            return _key_claims(new_keys.given().values())
        case Recover(member=member, wallet=wallet):
            return (f"recover {member}", *_key_claims([wallet]))


def _check_admission(state: ChainState, change: Admit, tx_id: str) -> None:
    if state.roster.get(change.member) is not None:
        raise InvalidTransaction(Code.MEMBER_EXISTS, "A member id is never used twice", tx=tx_id, member=change.member)
    for key in key_texts(change.keys):
        check_unused(state, key, tx_id)


def _check_voting(record: MemberRecord, change: Suspend | Resume, tx_id: str) -> None:
    if isinstance(change, Suspend) and record.suspended_height:
        raise InvalidTransaction(Code.MEMBER_SUSPENDED, "Its vote is suspended already", tx=tx_id, member=record.member)
    if isinstance(change, Resume) and not record.suspended_height:
        raise InvalidTransaction(Code.MEMBER_NOT_SUSPENDED, "It has its vote", tx=tx_id, member=record.member)


def _member(roster: Roster, member: str, tx_id: str) -> MemberRecord:
    """The record of an active member.

    Raises:
        InvalidTransaction: ``member_unknown``, ``member_revoked`` or ``member_left``.
    """
    record = roster.get(member)
    if record is None:
        raise InvalidTransaction(Code.MEMBER_UNKNOWN, "Nobody was admitted under this id", tx=tx_id, member=member)
    if record.status != "active":
        code = Code.MEMBER_REVOKED if record.status == "revoked" else Code.MEMBER_LEFT
        raise InvalidTransaction(code, "The membership has ended already", tx=tx_id, member=member)
    return record


def _keys_of(change: Change) -> tuple[list[str], list[str], str]:
    """Keys that a change brings: signing keys that nobody else may have, gateway keys, and a box key or nothing."""
    match change:
        case Admit(keys=keys):
            return [keys.wallet, keys.block, keys.vote], [], keys.box
        case RegisterMeter(gateway=gateway):
            return [], [gateway], ""
        case Rotate(keys=new_keys, meters=meter_keys):
            given = new_keys.given()
            box = given.pop("box", "")
            return list(given.values()), [each.gateway for each in meter_keys], box
        case Recover(wallet=wallet):
            return [wallet], [], ""
        case _:
            return [], [], ""


def _check_keys_differ(transaction: Transaction, exclusive: list[str], gateways: set[str], genesis: Genesis) -> None:
    """Check that no key stands for two things; meters may share a gateway key."""
    member = membership_of(transaction).change.member
    seen = {genesis.body.authority: "consortium"}
    for key in (*exclusive, *sorted(gateways)):
        if key in seen:
            raise reused(transaction.id, key, seen[key])
        seen[key] = member


def _key_claims(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"key {key}" for key in keys)
