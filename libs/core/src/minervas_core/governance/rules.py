"""What transactions that change parameters or replace the authority's key may do, asked in one place.

The four questions are those of `minervas_core.rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minervas_core.genesis import Genesis
from minervas_core.governance import authority, parameters
from minervas_core.governance.records import ChangeAuthority, ChangeParameters
from minervas_core.governance.state import Governance

if TYPE_CHECKING:
    from minervas_core.state import ChainState

GovernanceBody = ChangeAuthority | ChangeParameters


def check_alone(tx_id: str, body: GovernanceBody, genesis: Genesis) -> None:
    """Check what can be judged without the state.

    Raises:
        InvalidTransaction: a code of `check_authority_alone` or `check_change_alone`.
    """
    if isinstance(body, ChangeAuthority):
        authority.check_authority_alone(tx_id, body)
    else:
        parameters.check_change_alone(tx_id, body, genesis)


def check_in_state(state: ChainState, body: GovernanceBody, genesis: Genesis) -> None:
    """Check against the state before the transaction, for the block after it.

    Raises:
        InvalidTransaction: a code of `check_authority` or `check_change`.
    """
    if isinstance(body, ChangeAuthority):
        authority.check_authority(state, body, genesis)
    else:
        parameters.check_change(state.governance, body, state.height + 1, genesis)


def apply_in_state(governance: Governance, tx_id: str, body: GovernanceBody, height: int) -> None:
    """Carry out what was checked in the block at `height`."""
    if isinstance(body, ChangeAuthority):
        authority.apply_authority(governance, tx_id, body, height)
    else:
        parameters.schedule_change(governance, tx_id, body)


def claims_of(body: GovernanceBody) -> tuple[str, ...]:
    """What only one transaction can have at a time."""
    return ("authority",) if isinstance(body, ChangeAuthority) else (f"parameters {body.activation_height}",)
