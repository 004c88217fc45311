"""Replacing the authority key (design section 5, transactions).

`check_authority_alone` judges all signatures, which need no state; `check_authority` whether the keys are those of the
state.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidTransaction, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.key_owners import owner_of_key
from minervas_core.governance.records import ChangeAuthority
from minervas_core.governance.state import AuthorityRecord, Governance
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_core.keys import SigningKey, check_public_key, verify
from minervas_core.roster import Roster

if TYPE_CHECKING:
    from minervas_core.state import ChainState

PURPOSE = "authority"
"""Of the signatures by the new key and by approving wallets."""


def check_authority_alone(tx_id: str, body: ChangeAuthority) -> None:
    """Check keys and signatures, except the sender's, which is checked as of every transaction.

    Raises:
        InvalidTransaction: ``bad_key``, ``key_reused``, ``tx_wrong_sender``, ``authority_approvals`` or
            ``bad_signature``.
    """
    try:
        check_public_key(body.authority)
    except PeerFault as error:
        raise InvalidTransaction(error.code, error.message, tx=tx_id, **error.values) from error
    if body.authority == body.previous:
        raise InvalidTransaction(Code.KEY_REUSED, "The new key is the old one", tx=tx_id, key=body.authority)
    if body.sender not in (body.previous, body.authority):
        raise InvalidTransaction(
            Code.TX_WRONG_SENDER, "Only the old or the new authority replaces the key", tx=tx_id, sender=body.sender
        )
    if bool(body.approvals) != body.is_recovery or not _rise([each.wallet for each in body.approvals]):
        raise InvalidTransaction(
            Code.AUTHORITY_APPROVALS,
            "The members' approvals stand by wallet, without the old key's signature only",
            tx=tx_id,
            approvals=len(body.approvals),
        )
    signed = encode(body.statement)
    signatures = [(body.authority, body.proof), *((each.wallet, each.signature) for each in body.approvals)]
    for key, signature in signatures:
        if not verify(key, PURPOSE, body.network, signed, signature):
            raise InvalidTransaction(Code.BAD_SIGNATURE, "Not signed by the new key or a wallet", tx=tx_id, key=key)


def check_authority(state: ChainState, body: ChangeAuthority, genesis: Genesis) -> None:
    """Check a replacement against the state before it.

    Raises:
        InvalidTransaction: ``authority_not_current``, ``key_reused``, or ``authority_approvals`` (not the wallets of
            more than two thirds of the active members).
    """
    current = state.governance.authority_key(genesis)
    if body.previous != current:
        raise InvalidTransaction(
            Code.AUTHORITY_NOT_CURRENT, "Replaces a key that is not the authority's", key=body.previous, current=current
        )
    key = body.authority
    owner = owner_of_key(state, key)
    if owner is not None or key == genesis.body.authority:
        raise InvalidTransaction(
            Code.KEY_REUSED, "A key is registered only once, for ever", key=key, owner=owner or RESERVED_MEMBER
        )
    if body.is_recovery:
        _check_approvals(body, state.roster)


def _check_approvals(body: ChangeAuthority, roster: Roster) -> None:
    for approval in body.approvals:
        if roster.active_by_wallet(approval.wallet) is None:
            raise InvalidTransaction(
                Code.AUTHORITY_APPROVALS, "An approval by nobody's active wallet", wallet=approval.wallet
            )
    if 3 * len(body.approvals) <= 2 * roster.active_count:
        raise InvalidTransaction(
            Code.AUTHORITY_APPROVALS,
            "Not approved by more than two thirds of the members",
            approvals=len(body.approvals),
            members=roster.active_count,
        )


def apply_authority(governance: Governance, tx_id: str, body: ChangeAuthority, height: int) -> None:
    """Carry out a checked replacement in the block at `height`."""
    governance.use_up(body.authority, RESERVED_MEMBER)
    governance.put_authority(AuthorityRecord(key=body.authority, since_height=height, transaction=tx_id))


def sign_statement(body: ChangeAuthority, key: SigningKey) -> str:
    """The signature of the new key, or of an approving wallet."""
    return key.sign(PURPOSE, body.network, encode(body.statement))


def _rise(texts: list[str]) -> bool:
    return all(before < after for before, after in pairwise(texts))
