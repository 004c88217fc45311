"""Transactions that change parameters and replace the authority's key, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from minervas_core.governance.authority import sign_statement
from minervas_core.governance.records import Approval, ChangeAuthority, ChangeParameters
from minervas_core.keys import SigningKey
from minervas_core.transactions import Transaction, sign_transaction
from tests.support.builders import AUTHORITY, NETWORK, seed_bytes, signing_key

UNSIGNED = "0" * 128


def change_parameters(
    activation_height: int,
    changes: Mapping[str, int | str] | None = None,
    *,
    rule_version: int = 0,
    expires: int = 5,
    key: SigningKey = AUTHORITY,
    salt: str = "",
) -> Transaction:
    """Other parameters from a height on, by the authority unless told otherwise."""
    body = ChangeParameters(
        network=NETWORK,
        sender=key.public,
        salt=seed_bytes(f"parameters {salt}", 16).hex(),
        expires_height=expires,
        activation_height=activation_height,
        changes=dict(changes or {}),
        rule_version=rule_version,
    )
    return sign_transaction(body, key)


def authority_body(
    new: SigningKey, *, previous: SigningKey = AUTHORITY, sender: SigningKey | None = None, expires: int = 5
) -> ChangeAuthority:
    """A replacement with the new key's proof and no approvals; sent by the previous key unless told otherwise."""
    body = ChangeAuthority(
        network=NETWORK,
        sender=(sender or previous).public,
        salt=seed_bytes(f"authority {new.public}", 16).hex(),
        expires_height=expires,
        previous=previous.public,
        authority=new.public,
        proof=UNSIGNED,
        approvals=[],
    )
    return msgspec.structs.replace(body, proof=sign_statement(body, new))


def change_authority(new: SigningKey, *, previous: SigningKey = AUTHORITY, expires: int = 5) -> Transaction:
    """Another authority key, signed by the previous one."""
    return sign_transaction(authority_body(new, previous=previous, expires=expires), previous)


def recover_authority(
    new: SigningKey, wallets: Sequence[SigningKey], *, previous: SigningKey = AUTHORITY, expires: int = 5
) -> Transaction:
    """Another authority key without the previous one, approved by these wallets."""
    body = authority_body(new, previous=previous, sender=new, expires=expires)
    approvals = [Approval(wallet=wallet.public, signature=sign_statement(body, wallet)) for wallet in wallets]
    approvals.sort(key=lambda each: each.wallet)
    return sign_transaction(msgspec.structs.replace(body, approvals=approvals), new)


def wallet(member: str) -> SigningKey:
    """A member's wallet key."""
    return signing_key(f"{member}.peer")
