"""Whose a public key is: a key is registered once, for one purpose, for ever (design section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minervas_core.errors import Code, InvalidTransaction

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def owner_of_key(state: ChainState, key: str) -> str | None:
    """The member to whom a public key (hex) belongs, whether or not it is in use."""
    return state.roster.owner_of_key(key) or state.market.owner_of_gateway(key) or state.governance.owner_of_used(key)


def check_unused(state: ChainState, key: str, tx_id: str) -> None:
    """Check that nobody has or had a key.

    Raises:
        InvalidTransaction: ``key_reused``.
    """
    owner = owner_of_key(state, key)
    if owner is not None:
        raise reused(tx_id, key, owner)


def check_gateway(state: ChainState, key: str, member: str, tx_id: str) -> None:
    """Check that a meter of `member` may get a gateway key: a new one, or one that other meters of it have now.

    Raises:
        InvalidTransaction: ``key_reused``.
    """
    if state.market.owner_of_gateway(key) != member:
        check_unused(state, key, tx_id)


def reused(tx_id: str, key: str, owner: str) -> InvalidTransaction:
    """The refusal of a key that somebody has."""
    return InvalidTransaction(
        Code.KEY_REUSED, "A key is registered only once, for ever", tx=tx_id, key=key[:80], owner=owner
    )
