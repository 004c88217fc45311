"""Check the membership transactions that somebody shows of itself against the genesis authority."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.membership import check_membership_alone, membership_of
from minervas_core.transactions import Admit, Revoke, ServiceKeys, Transaction, check_signature, decode_transaction


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


def prove_membership(member: str, shown: Sequence[bytes], genesis: Genesis) -> ServiceKeys:
    """The registered keys of `member`, as the transactions it shows of itself prove them.

    Raises:
        PeerFault: ``member_unknown`` if no admission is among them, ``member_exists`` if there are two,
            ``member_revoked`` if a revocation is, ``tx_wrong_sender`` if one concerns somebody else, or as
            `check_authority`.
    """
    keys: ServiceKeys | None = None
    for raw in shown:
        change = membership_of(check_authority(raw, genesis)).change
        if change.member != member:
            raise PeerFault(Code.TX_WRONG_SENDER, "A membership of somebody else", member=member, of=change.member)
        match change:
            case Admit() if keys is None:
                keys = change.keys
            case Admit():
                raise PeerFault(Code.MEMBER_EXISTS, "Two admissions of one member", member=member)
            case Revoke():
                raise PeerFault(Code.MEMBER_REVOKED, "The member shows its own revocation", member=member)
    if keys is None:
        raise PeerFault(Code.MEMBER_UNKNOWN, "No admission among the membership transactions", member=member)
    return keys
