"""Transactions of governance: what the authority changes for everybody, and how it is replaced (design section 5)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import Count, FieldName, NetworkId, PublicKey, Record, Salt, Signature
from minervas_core.genesis import Positive

MAX_CHANGES = 32
"""Parameters in one change: more than there are."""

MAX_APPROVALS = 280
"""Approvals of a new authority key; they fit into a transaction. So many are enough for 419 members."""

ParameterValue = Count | Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
"""A value as `Parameters` has it; its bounds are judged by name."""


class ChangeParameters(Record, frozen=True, kw_only=True, tag_field="type", tag="parameters"):
    """Other parameters, or another rule version, from a height on; signed by the authority."""

    network: NetworkId
    sender: PublicKey
    salt: Salt
    expires_height: Count
    """Last height whose block may carry it."""
    activation_height: Positive
    """First block that is judged by them. Replaces what an earlier transaction set for this height."""
    changes: Annotated[dict[FieldName, ParameterValue], msgspec.Meta(max_length=MAX_CHANGES)]
    """New value by name."""
    rule_version: Count
    """Version of the rules from then on; 0 leaves it as it is."""


class Approval(Record, frozen=True, kw_only=True):
    """A member's consent to a new authority key."""

    wallet: PublicKey
    signature: Signature
    """By the wallet, over the `AuthorityStatement`."""


class AuthorityStatement(Record, frozen=True, kw_only=True):
    """What the new key and the approving wallets sign; the network is part of the signed bytes."""

    previous: PublicKey
    authority: PublicKey
    salt: Salt
    expires_height: Count


class ChangeAuthority(Record, frozen=True, kw_only=True, tag_field="type", tag="authority"):
    """Another authority key, signed by the old one; or, if that is lost, by the new one with the members' consent."""

    network: NetworkId
    sender: PublicKey
    """`previous`, or `authority` if the old key is lost."""
    salt: Salt
    expires_height: Count
    """Last height whose block may carry it."""
    previous: PublicKey
    authority: PublicKey
    """The new key."""
    proof: Signature
    """By the new key, over the `AuthorityStatement`: somebody holds it."""
    approvals: Annotated[list[Approval], msgspec.Meta(max_length=MAX_APPROVALS)]
    """By wallet; empty if the old key signed."""

    @property
    def statement(self) -> AuthorityStatement:
        """What the new key and the approving wallets sign."""
        return AuthorityStatement(
            previous=self.previous, authority=self.authority, salt=self.salt, expires_height=self.expires_height
        )

    @property
    def is_recovery(self) -> bool:
        """Whether it does without the old key."""
        return self.sender != self.previous
