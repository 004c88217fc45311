"""Check the membership transactions that somebody shows of itself against the authority's keys that we know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.records import ChangeAuthority
from minervas_core.governance.rotation import check_consent
from minervas_core.membership import membership_of
from minervas_core.messages import MAX_HELLO_TRANSACTIONS
from minervas_core.transactions import (
    Admit,
    Leave,
    Membership,
    Recover,
    Revoke,
    Rotate,
    ServiceKeys,
    Transaction,
    decode_transaction,
)
from minervas_peer.authority_keys import check_by_itself, check_sender, follow_authority, granted_authorities

MAX_SHOWN_AUTHORITIES = 6
"""Newest changes of the authority's key in a Hello: newcomers know those up to their own admission."""


@dataclass(frozen=True, slots=True)
class ProvenKeys:
    """What membership transactions prove."""

    keys: ServiceKeys
    """The newest keys."""
    earlier_wallets: tuple[str, ...]
    """Wallets that were rotated away, oldest first."""


def prove_keys(
    member: str, shown: Sequence[bytes], genesis: Genesis, trusted: frozenset[str], *, recovered: bool = False
) -> ProvenKeys:
    """The keys of `member`, as the transactions it shows of itself prove them: its admission, then its rotations.

    Before them may stand changes of the authority's key that lead from a trusted one to the one that admitted it. Each
    new wallet must have the consent of the one before. A recovery proves nothing here: only the chain can tell that
    nobody objected to it.

    Args:
        member: who shows them.
        shown: canonical bytes, oldest first.
        genesis: the consortium's genesis.
        trusted: keys that count as the authority's.
        recovered: whether recoveries count as if they had taken effect: of ourselves, whom admission granted them.

    Raises:
        PeerFault: ``member_unknown`` if there is no admission before the rotations, ``member_exists`` if there are two,
            ``member_revoked`` or ``member_left`` if the membership ends, ``bad_consent`` if a wallet did not agree to
            the next, ``tx_wrong_sender`` if one concerns somebody else or is not the authority's, or as
            `check_by_itself` and `follow_authority`.
    """
    proven: ProvenKeys | None = None
    for raw in shown:
        transaction = check_by_itself(raw, genesis)
        if isinstance(transaction.body, ChangeAuthority):
            trusted = follow_authority(transaction.body, trusted)
            continue
        check_sender(transaction, trusted)
        if membership_of(transaction).change.member != member:
            of = membership_of(transaction).change.member
            raise PeerFault(Code.TX_WRONG_SENDER, "A membership of somebody else", member=member, of=of)
        proven = _recovered(proven, transaction) if recovered else proven
        proven = _after(proven, transaction)
    if proven is None:
        raise PeerFault(Code.MEMBER_UNKNOWN, "No admission among the membership transactions", member=member)
    return proven


def _recovered(proven: ProvenKeys | None, transaction: Transaction) -> ProvenKeys | None:
    """What is proven once a recovery counts; anything else changes nothing."""
    change = membership_of(transaction).change
    if proven is None or not isinstance(change, Recover):
        return proven
    keys = msgspec.structs.replace(proven.keys, wallet=change.wallet)
    return ProvenKeys(keys, (*proven.earlier_wallets, proven.keys.wallet))


def _after(proven: ProvenKeys | None, transaction: Transaction) -> ProvenKeys | None:
    """What is proven once one more transaction of the member was seen."""
    change = membership_of(transaction).change
    match change:
        case Admit() if proven is None:
            return ProvenKeys(change.keys, ())
        case Admit():
            raise PeerFault(Code.MEMBER_EXISTS, "Two admissions of one member", member=change.member)
        case Rotate() if proven is not None:
            check_consent(change, proven.keys.wallet, membership_of(transaction), transaction.id)
            given = change.keys.given()
            gone = (proven.keys.wallet,) if "wallet" in given else ()
            return ProvenKeys(msgspec.structs.replace(proven.keys, **given), (*proven.earlier_wallets, *gone))
        case Rotate():
            raise PeerFault(Code.MEMBER_UNKNOWN, "A rotation before the admission", member=change.member)
        case Revoke():
            raise PeerFault(Code.MEMBER_REVOKED, "The member shows its own revocation", member=change.member)
        case Leave():
            raise PeerFault(Code.MEMBER_LEFT, "The member shows that it left", member=change.member)
    return proven


def prove_membership(member: str, granted: Sequence[bytes], genesis: Genesis) -> ServiceKeys:
    """The newest keys of our own `member`, as the transactions prove them that admission granted.

    The wallet of a recovery is among them: it is ours, even while the recovery waits.

    Raises:
        PeerFault: as `prove_keys`.
    """
    return prove_keys(member, granted, genesis, frozenset(granted_authorities(granted, genesis)), recovered=True).keys


def worth_showing(membership: Sequence[bytes]) -> tuple[bytes, ...]:
    """What a Hello shows of the transactions that prove a membership, as many as fit.

    These are the newest changes of the authority's key, the member's admission and its newest rotations.
    A replacement without the old key convinces nobody who does not know it anyway, so only what came after is shown. If
    a member has rotated its keys so often that they do not fit, newcomers wait for their own chain to tell them.
    """
    authorities: list[bytes] = []
    admissions: list[bytes] = []
    rotations: list[bytes] = []
    for raw in membership:
        match decode_transaction(raw).body:
            case ChangeAuthority(is_recovery=True):
                authorities.clear()
            case ChangeAuthority():
                authorities.append(raw)
            case Membership(change=Admit()):
                admissions.append(raw)
            case Membership(change=Rotate() as change) if change.keys.given():
                rotations.append(raw)
    first = [*authorities[-MAX_SHOWN_AUTHORITIES:], *admissions]
    return (*first, *rotations[-(MAX_HELLO_TRANSACTIONS - len(first)) :])
