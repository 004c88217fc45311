"""Whose signature counts as the authority's, as far as we know (design section 5, `authority`).

Our own chain says it for its tip. A newcomer starts from genesis, and from the changes of the authority's key which
admission granted with its membership: those came over a connection that was checked by a fingerprint, so they count
even where the members replaced a lost key, which nobody can verify without the chain.
"""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.records import ChangeAuthority
from minervas_core.rules import check_alone
from minervas_core.transactions import Transaction, check_signature, decode_transaction


class AuthorityKeys:
    """Keys of the authority from our tip on.

    Args:
        genesis: the consortium's genesis.
        issued: authority-signed transactions that admission granted us, oldest first.
    """

    def __init__(self, genesis: Genesis, issued: Sequence[bytes] = ()) -> None:
        self._genesis = genesis
        self._chain = granted_authorities(issued, genesis)
        self.on_tip = genesis.body.authority
        """The authority's key on our own tip."""

    def tell_tip(self, key: str) -> None:
        """Our ledger says which key signs for the authority on its tip; empty for that of genesis."""
        self.on_tip = key or self._genesis.body.authority

    @property
    def trusted(self) -> frozenset[str]:
        """The key on our tip, and those that followed it when we joined."""
        known = self._chain.index(self.on_tip) if self.on_tip in self._chain else len(self._chain)
        return frozenset([self.on_tip, *self._chain[known:]])


def granted_authorities(issued: Sequence[bytes], genesis: Genesis) -> list[str]:
    """The authority's keys from genesis on, as admission granted them; what does not follow is left out."""
    chain = [genesis.body.authority]
    for raw in issued:
        body = decode_transaction(raw).body
        if isinstance(body, ChangeAuthority) and body.previous == chain[-1]:
            chain.append(body.authority)
    return chain


def check_by_itself(raw: bytes, genesis: Genesis) -> Transaction:
    """Decode a transaction and check all that needs neither the chain nor to know the authority.

    Raises:
        InvalidEncoding: if the bytes are not a transaction.
        InvalidTransaction: ``wrong_network``, ``bad_signature``, or a code of `check_alone`.
    """
    transaction = decode_transaction(raw)
    check_alone(transaction, genesis)
    check_signature(transaction, genesis.network)
    return transaction


def check_sender(transaction: Transaction, trusted: frozenset[str]) -> None:
    """Check that a transaction is signed by a key that counts as the authority's.

    Raises:
        PeerFault: ``tx_wrong_sender``.
    """
    if transaction.body.sender not in trusted:
        raise PeerFault(
            Code.TX_WRONG_SENDER, "Not signed by the authority", tx=transaction.id, sender=transaction.body.sender
        )


def follow_authority(body: ChangeAuthority, trusted: frozenset[str]) -> frozenset[str]:
    """What is trusted after a change of the authority's key that was checked by itself.

    Raises:
        PeerFault: ``authority_not_current`` if it does not replace a trusted key; ``authority_approvals`` for a
            replacement without the old key, for only the chain can tell who the members are.
    """
    if body.authority in trusted:
        return trusted
    if body.previous not in trusted:
        raise PeerFault(
            Code.AUTHORITY_NOT_CURRENT, "Replaces a key that we do not know as the authority's", key=body.previous
        )
    if body.is_recovery:
        raise PeerFault(
            Code.AUTHORITY_APPROVALS, "Only the chain can tell whether the members agreed", key=body.authority
        )
    return trusted | {body.authority}
