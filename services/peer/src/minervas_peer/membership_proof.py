"""Check the membership transactions that somebody shows of itself against the genesis authority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.rotation import check_consent
from minervas_core.membership import check_membership_alone, membership_of
from minervas_core.messages import MAX_HELLO_TRANSACTIONS
from minervas_core.transactions import (
    Admit,
    Leave,
    Revoke,
    Rotate,
    ServiceKeys,
    Transaction,
    check_signature,
    decode_transaction,
)


def check_authority(raw: bytes, genesis: Genesis) -> Transaction:
    """Decode a membership transaction and check that the consortium's authority signed it.

    Raises:
        InvalidEncoding: if the bytes are not a transaction.
        InvalidTransaction: ``tx_wrong_sender``, ``wrong_network``, ``bad_signature``, or for unusable keys.
    """
    transaction = decode_transaction(raw)
    check_membership_alone(transaction, genesis)
    check_signature(transaction, genesis.network)
    return transaction


@dataclass(frozen=True, slots=True)
class ProvenKeys:
    """What membership transactions prove."""

    keys: ServiceKeys
    """The newest keys."""
    earlier_wallets: tuple[str, ...]
    """Wallets that were rotated away, oldest first."""


def prove_keys(member: str, shown: Sequence[bytes], genesis: Genesis) -> ProvenKeys:
    """The keys of `member`, as the transactions it shows of itself prove them: its admission, then its rotations.

    Each new wallet must have the consent of the one before. A recovery proves nothing here: only the chain can tell
    that nobody objected to it.

    Raises:
        PeerFault: ``member_unknown`` if there is no admission before the rotations, ``member_exists`` if there are two,
            ``member_revoked`` or ``member_left`` if the membership ends, ``bad_consent`` if a wallet did not agree to
            the next, ``tx_wrong_sender`` if one concerns somebody else, or as `check_authority`.
    """
    keys: ServiceKeys | None = None
    earlier: list[str] = []
    for raw in shown:
        transaction = check_authority(raw, genesis)
        change = membership_of(transaction).change
        if change.member != member:
            raise PeerFault(Code.TX_WRONG_SENDER, "A membership of somebody else", member=member, of=change.member)
        match change:
            case Admit() if keys is None:
                keys = change.keys
            case Admit():
                raise PeerFault(Code.MEMBER_EXISTS, "Two admissions of one member", member=member)
            case Rotate() if keys is not None:
                check_consent(change, keys.wallet, membership_of(transaction), transaction.id)
                given = change.keys.given()
                earlier += [keys.wallet] if "wallet" in given else []
                keys = msgspec.structs.replace(keys, **given)
            case Revoke():
                raise PeerFault(Code.MEMBER_REVOKED, "The member shows its own revocation", member=member)
            case Leave():
                raise PeerFault(Code.MEMBER_LEFT, "The member shows that it left", member=member)
    if keys is None:
        raise PeerFault(Code.MEMBER_UNKNOWN, "No admission among the membership transactions", member=member)
    return ProvenKeys(keys, tuple(earlier))


def prove_membership(member: str, shown: Sequence[bytes], genesis: Genesis) -> ServiceKeys:
    """The newest keys of `member`, as `prove_keys`."""
    return prove_keys(member, shown, genesis).keys


def worth_showing(membership: Sequence[bytes]) -> tuple[bytes, ...]:
    """What a Hello shows of a member's own transactions: its admission and its newest rotations, as many as fit.

    If a member has rotated its keys so often that they do not fit, newcomers wait for their own chain to tell them.
    """
    changes = [(raw, membership_of(decode_transaction(raw)).change) for raw in membership]
    admissions = [raw for raw, change in changes if isinstance(change, Admit)]
    rotations = [raw for raw, change in changes if isinstance(change, Rotate) and change.keys.given()]
    room = MAX_HELLO_TRANSACTIONS - len(admissions)
    return (*admissions, *rotations[-room:])
