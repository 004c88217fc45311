"""Transactions that change parameters and replace the authority's key, right or with one fault."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from minervas_core.encoding import Record
from minervas_core.governance.authority import sign_statement
from minervas_core.governance.records import Approval, ChangeAuthority, ChangeParameters
from minervas_core.governance.state import ActiveParameters, AuthorityRecord, ScheduledChange
from minervas_core.keys import SigningKey
from minervas_core.transactions import Transaction, TransactionForm, sign_transaction
from tools.vectors.fixtures import AUTHORITY, HAENAM, KIM, MOKPO, NETWORK, PARAMETERS, MemberKeys, seed

NEW_AUTHORITY = SigningKey(seed("new authority"))
EARLIEST = 14
"""First height at which a change that stands in block 2 can apply."""


def parameters(
    activation_height: int,
    changes: dict[str, int | str],
    *,
    rule_version: int = 0,
    key: SigningKey = AUTHORITY,
    name: str = "",
    expires_height: int = 50,
) -> Transaction:
    """A change of parameters by the authority; `name` makes its salt."""
    body = ChangeParameters(
        network=NETWORK,
        sender=key.public,
        salt=seed(f"salt parameters {name}", 16).hex(),
        expires_height=expires_height,
        activation_height=activation_height,
        changes=changes,
        rule_version=rule_version,
    )
    return sign_transaction(body, key)


def authority_body(
    new: SigningKey = NEW_AUTHORITY, *, previous: SigningKey = AUTHORITY, sender: SigningKey = AUTHORITY
) -> ChangeAuthority:
    """A replacement with the proof of the new key."""
    body = ChangeAuthority(
        network=NETWORK,
        sender=sender.public,
        salt=seed(f"salt authority {new.public}", 16).hex(),
        expires_height=50,
        previous=previous.public,
        authority=new.public,
        proof="00" * 64,
        approvals=[],
    )
    return msgspec.structs.replace(body, proof=sign_statement(body, new))


def authority(new: SigningKey = NEW_AUTHORITY, *, previous: SigningKey = AUTHORITY) -> Transaction:
    """A new authority key, signed by the old one."""
    return sign_transaction(authority_body(new, previous=previous, sender=previous), previous)


def recovered_authority(approving: Sequence[MemberKeys], *, ordered: bool = True) -> Transaction:
    """A new authority key without the old one, approved by these members."""
    body = authority_body(sender=NEW_AUTHORITY)
    wallets = [who.wallet for who in approving]
    wallets.sort(key=lambda each: each.public, reverse=not ordered)
    approvals = [Approval(wallet=each.public, signature=sign_statement(body, each)) for each in wallets]
    return sign_transaction(msgspec.structs.replace(body, approvals=approvals), NEW_AUTHORITY)


PARAMETERS_CHANGE = parameters(EARLIEST, {"market_mode": "continuous", "max_block_transactions": 2, "slot_ms": 900_000})
VERSION_CHANGE = parameters(EARLIEST, {}, rule_version=2, name="version")
AUTHORITY_CHANGE = authority()
AUTHORITY_RECOVERY = recovered_authority((MOKPO, HAENAM, KIM))

GOVERNANCE = {
    "parameters": PARAMETERS_CHANGE,
    "parameters, another rule version": VERSION_CHANGE,
    "authority": AUTHORITY_CHANGE,
    "authority, by the members": AUTHORITY_RECOVERY,
}
"""Transactions of these types, by name."""


def governance_samples() -> dict[str, Record]:
    """Documents by name of the sample."""
    forms = {
        f"TransactionForm, {name}": TransactionForm(body=each.body, signature=each.signature)
        for name, each in GOVERNANCE.items()
    }
    return forms | {
        "AuthorityStatement": authority_body().statement,
        "ActiveParameters": ActiveParameters(values=PARAMETERS, rule_version=1, since_height=EARLIEST),
        "ScheduledChange": ScheduledChange(
            changes={"slot_ms": 900_000}, rule_version=0, transaction=PARAMETERS_CHANGE.id
        ),
        "AuthorityRecord": AuthorityRecord(key=NEW_AUTHORITY.public, since_height=2, transaction=AUTHORITY_CHANGE.id),
    }
