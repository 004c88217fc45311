"""What membership transactions may do and what they change (design section 5, transactions).

Rules come in two halves: `check_membership_alone` needs only genesis, so its answer never changes and may be
remembered; `check_membership` needs the state before the transaction.
"""

from __future__ import annotations

import msgspec

from minervas_core.box import load_box_public
from minervas_core.errors import Code, InvalidTransaction, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.identifiers import check_member_id
from minervas_core.keys import check_public_key
from minervas_core.market.state import Market
from minervas_core.roster import MemberRecord, Roster, key_texts
from minervas_core.transactions import Admit, Membership, RegisterMeter, Revoke, Transaction


def check_membership_alone(transaction: Transaction, genesis: Genesis) -> None:
    """Check what can be judged without the state: whether the keys can be used at all. Who may sign, the state tells.

    Raises:
        InvalidTransaction: ``bad_member_id``, ``bad_key`` or ``key_reused``.
    """
    body = membership_of(transaction)
    try:
        check_member_id(body.change.member)
        if isinstance(body.change, Admit):
            keys = body.change.keys
            for key in (keys.wallet, keys.block, keys.vote):
                check_public_key(key)
            load_box_public(keys.box)
        elif isinstance(body.change, RegisterMeter):
            check_public_key(body.change.gateway)
    except PeerFault as error:
        raise InvalidTransaction(error.code, error.message, tx=transaction.id, **error.values) from error
    if isinstance(body.change, Admit):
        _check_keys_differ(transaction, body.change, genesis)
    elif isinstance(body.change, RegisterMeter) and body.change.gateway == genesis.body.authority:
        raise _reused(transaction, body.change.gateway, "consortium")


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


def check_membership(transaction: Transaction, roster: Roster, market: Market) -> None:
    """Check an admission or a revocation against the state before it.

    Raises:
        InvalidTransaction: ``member_exists``, ``key_reused``, ``member_unknown`` or ``member_revoked``.
    """
    match membership_of(transaction).change:
        case Admit(member=member, keys=keys):
            if roster.get(member) is not None:
                raise InvalidTransaction(
                    Code.MEMBER_EXISTS, "A member id is never used twice", tx=transaction.id, member=member
                )
            for key in key_texts(keys):
                owner = roster.owner_of_key(key) or market.owner_of_gateway(key)
                if owner is not None:
                    raise _reused(transaction, key, owner)
        case Revoke(member=member):
            record = roster.get(member)
            if record is None:
                raise InvalidTransaction(
                    Code.MEMBER_UNKNOWN, "Nobody was admitted under this id", tx=transaction.id, member=member
                )
            if record.status == "revoked":
                raise InvalidTransaction(
                    Code.MEMBER_REVOKED, "The membership has ended already", tx=transaction.id, member=member
                )


def apply_membership(transaction: Transaction, roster: Roster, height: int) -> None:
    """Change the roster as a checked transaction in the block at `height` says."""
    match membership_of(transaction).change:
        case Admit(member=member, keys=keys):
            roster.put(
                MemberRecord(
                    member=member,
                    keys=keys,
                    status="active",
                    admitted_height=height,
                    admitted_by=transaction.id,
                )
            )
        case Revoke(member=member):
            record = roster.get(member)
            if record is None:
                raise KeyError(member)
            roster.put(msgspec.structs.replace(record, status="revoked", revoked_height=height))


def claims_of(transaction: Transaction) -> tuple[str, ...]:
    """What only one transaction of a chain can have: two that share a claim never both apply."""
    match membership_of(transaction).change:
        case Admit(member=member, keys=keys):
            return (f"admit {member}", *(f"key {key}" for key in key_texts(keys)))
        case Revoke(member=member):
            return (f"revoke {member}",)
        case RegisterMeter(member=member, meter=meter):
            return (f"meter {member}/{meter.meter}",)


def _check_keys_differ(transaction: Transaction, change: Admit, genesis: Genesis) -> None:
    seen = {genesis.body.authority: "consortium"}
    for key in key_texts(change.keys):
        if key in seen:
            raise _reused(transaction, key, seen[key])
        seen[key] = change.member


def _reused(transaction: Transaction, key: str, owner: str) -> InvalidTransaction:
    return InvalidTransaction(
        Code.KEY_REUSED, "A key is registered only once, for ever", tx=transaction.id, key=key[:80], owner=owner
    )
